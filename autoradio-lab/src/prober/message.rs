//! The two DNS messages that a prober knows: a question for A records, and its answer. Pure.

use std::net::Ipv4Addr;

use super::storm::Said;

const HEADER_BYTES: usize = 12;
const TYPE_A: u16 = 1;
const TYPE_SOA: u16 = 6;
/// What follows the two names of an SOA record, its serial number first (RFC 1035 §3.3.13).
const SOA_NUMBERS_BYTES: usize = 20;
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
    let is_answer = message.get(2)? & 0x80 != 0;
    let mut found = Vec::new();
    for (kind, data) in records(message, word(message, 6)?)? {
        if kind == TYPE_A {
            found.push(Ipv4Addr::from(<[u8; 4]>::try_from(data).ok()?));
        }
    }
    is_answer.then_some(found)
}

/// What an answer says to the question for `name`; `None` if it is not a whole answer to just that.
pub(super) fn said(message: &[u8], name: &str) -> Option<Said> {
    let question = question(0, name);
    let asked = message.get(HEADER_BYTES..question.len())? == &question[HEADER_BYTES..];
    let addresses = addresses(message)?;
    asked.then_some(Said { rcode: message[3] & 0x0f, addresses })
}

/// The serial number in the SOA record of an answer, if it has one.
pub(super) fn serial(message: &[u8]) -> Option<u32> {
    let records = records(message, word(message, 6)?.checked_add(word(message, 8)?)?)?;
    let (_, data) = records.into_iter().find(|(kind, _)| *kind == TYPE_SOA)?;
    let numbers = &data[data.len().checked_sub(SOA_NUMBERS_BYTES)?..];
    Some(u32::from_be_bytes([numbers[0], numbers[1], numbers[2], numbers[3]]))
}

/// Type and data of the first `count` records behind the question.
fn records(message: &[u8], count: u16) -> Option<Vec<(u16, &[u8])>> {
    let mut at = skip_name(message, HEADER_BYTES)? + 4;
    let mut found = Vec::new();
    for _ in 0..count {
        at = skip_name(message, at)?;
        let (kind, length) = (word(message, at)?, usize::from(word(message, at + 8)?));
        found.push((kind, message.get(at + 10..at + 10 + length)?));
        at += 10 + length;
    }
    Some(found)
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
    fn an_answer_says_something_only_to_its_own_question() {
        let message = answer(&[[198, 18, 0, 11]]);
        let want = Said { rcode: 0, addresses: vec![Ipv4Addr::new(198, 18, 0, 11)] };
        assert_eq!(said(&message, "radio.example.com"), Some(want));
        assert_eq!(said(&message, "audio.example.com"), None);
        assert_eq!(serial(&message), None);
    }

    #[test]
    fn the_serial_number_is_read_wherever_the_soa_stands() {
        let mut message = answer(&[[198, 18, 0, 11]]);
        message[9] = 1;
        message.extend([0xC0, 12, 0, 6, 0, 1, 0, 0, 0, 10, 0, 23, 1, b'a', 0]);
        message.extend([0, 0, 1, 2]);
        message.extend([0; 16]);
        assert_eq!(serial(&message), Some(258));
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
