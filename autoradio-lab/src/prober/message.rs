//! The two DNS messages that a prober knows: a question for A records, and its answer. Pure.

use std::net::Ipv4Addr;

const HEADER_BYTES: usize = 12;
const TYPE_A: u16 = 1;
const CLASS_IN: u16 = 1;

/// The question for the A records of `name`.
pub(super) fn question(id: u16, name: &str) -> Vec<u8> {
    let mut message = id.to_be_bytes().to_vec();
    message.extend([0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        message.push(u8::try_from(label.len()).unwrap_or(u8::MAX));
        message.extend(label.as_bytes());
    }
    message.push(0);
    message.extend(TYPE_A.to_be_bytes());
    message.extend(CLASS_IN.to_be_bytes());
    message
}

/// The addresses in an answer to such a question; `None` if it is not a whole answer.
///
/// Answers of autoradio name each record by a pointer (RFC 1035 §4.1.4) or spell it out.
pub(super) fn addresses(message: &[u8]) -> Option<Vec<Ipv4Addr>> {
    let records = word(message, 6)?;
    let is_answer = message.get(2)? & 0x80 != 0;
    let mut at = skip_name(message, HEADER_BYTES)? + 4;
    let mut found = Vec::new();
    for _ in 0..records {
        at = skip_name(message, at)?;
        let (kind, length) = (word(message, at)?, usize::from(word(message, at + 8)?));
        let data = message.get(at + 10..at + 10 + length)?;
        if kind == TYPE_A {
            found.push(Ipv4Addr::from(<[u8; 4]>::try_from(data).ok()?));
        }
        at += 10 + length;
    }
    is_answer.then_some(found)
}

/// Where the name that begins at `at` ends.
fn skip_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            pointer if pointer & 0xC0 == 0xC0 => return Some(at + 2),
            length => at += 1 + usize::from(length),
        }
    }
}

fn word(message: &[u8], at: usize) -> Option<u16> {
    let bytes = message.get(at..at + 2)?;
    Some(u16::from_be_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(addresses: &[[u8; 4]]) -> Vec<u8> {
        let mut message = question(7, "radio.example.com");
        message[2] = 0x84;
        message[7] = u8::try_from(addresses.len()).unwrap();
        for address in addresses {
            message.extend([0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 10, 0, 4]);
            message.extend(address);
        }
        message
    }

    #[test]
    fn all_addresses_of_an_answer_are_read() {
        let want = [Ipv4Addr::new(198, 18, 0, 11), Ipv4Addr::new(198, 18, 0, 12)];
        let message = answer(&[[198, 18, 0, 11], [198, 18, 0, 12]]);
        assert_eq!(addresses(&message).unwrap(), want);
        assert_eq!(addresses(&answer(&[])).unwrap(), [] as [Ipv4Addr; 0]);
    }

    #[test]
    fn what_is_no_whole_answer_is_none() {
        let whole = answer(&[[198, 18, 0, 11]]);
        for bytes in 0..whole.len() {
            assert_eq!(addresses(&whole[..bytes]), None, "cut to {bytes} bytes");
        }
        assert_eq!(addresses(&question(7, "radio.example.com")), None);
    }
}
