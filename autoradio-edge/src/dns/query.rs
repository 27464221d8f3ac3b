//! Reads a DNS query strictly. Pure; never panics on any bytes.

use autoradio_common::wire::{HEADER_BYTES, TYPE_OPT};

/// Longest wire name (RFC 1035 §2.3.4).
const NAME_BYTES_MAX: usize = 255;

/// The header's fixed part (RFC 1035 §4.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The client's number for this query.
    pub id: u16,
    /// QR, opcode, AA, TC, RD, RA, Z, AD, CD, RCODE.
    pub flags: u16,
    /// Questions, answers, authorities, additionals.
    pub counts: [u16; 4],
}

impl Header {
    /// Reads the first twelve bytes, `None` where there are fewer.
    pub fn read(message: &[u8]) -> Option<Self> {
        let word = |offset: usize| {
            Some(u16::from_be_bytes([*message.get(offset)?, *message.get(offset + 1)?]))
        };
        let counts = [word(4)?, word(6)?, word(8)?, word(10)?];
        Some(Self { id: word(0)?, flags: word(2)?, counts })
    }

    /// The operation, 0: query.
    pub fn opcode(self) -> u16 {
        (self.flags & autoradio_common::wire::MASK_OPCODE) >> 11
    }
}

/// A name of a question in lower case, on the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LowerName {
    bytes: [u8; NAME_BYTES_MAX],
    length: u8,
}

impl LowerName {
    /// Takes a wire name of 255 bytes at most. Lengths of labels are below every letter, so all bytes are treated alike.
    fn new(wire: &[u8]) -> Self {
        let mut bytes = [0; NAME_BYTES_MAX];
        let name = &mut bytes[..wire.len()];
        name.copy_from_slice(wire);
        name.make_ascii_lowercase();
        Self { bytes, length: wire.len() as u8 }
    }

    /// The wire name, root label included; empty where there is no question.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

/// A query's OPT record (RFC 6891 §6.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edns<'a> {
    /// Largest UDP reply the client takes, in bytes, as it says.
    pub udp_bytes: u16,
    /// EDNS version.
    pub version: u8,
    /// The options, not read yet: another version may have others.
    pub options: &'a [u8],
}

/// One question, or none, and the EDNS that came with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query<'a> {
    /// The name.
    pub name: LowerName,
    /// The type; 0 where there is no question.
    pub qtype: u16,
    /// The class; 0 where there is no question.
    pub qclass: u16,
    /// Where the question ends in the message.
    pub question_end: usize,
    /// The OPT record, if there is one.
    pub edns: Option<Edns<'a>>,
}

/// The message cannot be read (FORMERR).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed DNS message")]
pub struct Malformed;

/// A place in the message that moves forward only.
pub(super) struct Reader<'a> {
    message: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    /// At the start of `message`.
    pub(super) fn new(message: &'a [u8]) -> Self {
        Self { message, offset: 0 }
    }

    /// Whether all has been read.
    pub(super) fn is_at_end(&self) -> bool {
        self.offset == self.message.len()
    }

    /// The next `bytes` bytes.
    pub(super) fn take(&mut self, bytes: usize) -> Result<&'a [u8], Malformed> {
        let end = self.offset.checked_add(bytes).ok_or(Malformed)?;
        let taken = self.message.get(self.offset..end).ok_or(Malformed)?;
        self.offset = end;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        Ok(self.take(1)?[0])
    }

    /// The next two bytes as a number.
    pub(super) fn word(&mut self) -> Result<u16, Malformed> {
        let bytes = self.take(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// Reads an uncompressed name: there is nothing before the question that it could point at.
    fn name(&mut self) -> Result<&'a [u8], Malformed> {
        let start = self.offset;
        loop {
            match self.byte()? {
                0 => break,
                length @ 1..=63 => self.take(usize::from(length))?,
                _ => return Err(Malformed),
            };
        }
        let name = &self.message[start..self.offset];
        if name.len() <= NAME_BYTES_MAX { Ok(name) } else { Err(Malformed) }
    }

    /// Skips a name that may end in a pointer; says whether it is the root.
    fn skip_name(&mut self) -> Result<bool, Malformed> {
        let start = self.offset;
        loop {
            match self.byte()? {
                0 => return Ok(self.offset == start + 1),
                length @ 1..=63 => {
                    self.take(usize::from(length))?;
                }
                0xc0..=0xff => return self.byte().map(|_| false),
                _ => return Err(Malformed),
            }
        }
    }
}

/// Reads the question and the OPT record; every other record is checked for its form and skipped.
///
/// No question at all is well-formed: a client may ask for a cookie alone (RFC 7873 §5.4).
pub fn parse(message: &[u8], header: Header) -> Result<Query<'_>, Malformed> {
    let mut reader = Reader { message, offset: HEADER_BYTES };
    let [questions, answers, authorities, additionals] = header.counts;
    let (name, qtype, qclass) = match questions {
        0 => (LowerName::new(&[]), 0, 0),
        1 => (LowerName::new(reader.name()?), reader.word()?, reader.word()?),
        _ => return Err(Malformed),
    };
    let question_end = reader.offset;
    for _ in 0..u32::from(answers) + u32::from(authorities) {
        if skip_record(&mut reader)?.is_some() {
            return Err(Malformed); // OPT belongs to the additional section (RFC 6891 §6.1.1).
        }
    }
    let mut edns = None;
    for _ in 0..additionals {
        if let Some(opt) = skip_record(&mut reader)?
            && edns.replace(opt).is_some()
        {
            return Err(Malformed); // More than one OPT (RFC 6891 §6.1.1).
        }
    }
    if !reader.is_at_end() {
        return Err(Malformed);
    }
    Ok(Query { name, qtype, qclass, question_end, edns })
}

/// Reads over one record. The result is its content if it is an OPT record.
fn skip_record<'a>(reader: &mut Reader<'a>) -> Result<Option<Edns<'a>>, Malformed> {
    let root = reader.skip_name()?;
    let (rtype, class) = (reader.word()?, reader.word()?);
    let ttl = reader.take(4)?;
    let version = ttl[1];
    let bytes = reader.word()?;
    let options = reader.take(usize::from(bytes))?;
    if rtype != TYPE_OPT {
        return Ok(None);
    }
    if !root {
        return Err(Malformed);
    }
    Ok(Some(Edns { udp_bytes: class, version, options }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A query for `radio.example.com A` with these counts and this after the question.
    fn message(counts: [u16; 4], after: &[u8]) -> Vec<u8> {
        let mut message = vec![0x12, 0x34, 0x01, 0x00];
        message.extend(counts.iter().flat_map(|count| count.to_be_bytes()));
        message.extend_from_slice(b"\x05radio\x07example\x03com\x00\x00\x01\x00\x01");
        message.extend_from_slice(after);
        message
    }

    fn read(message: &[u8]) -> Result<Query<'_>, Malformed> {
        parse(message, Header::read(message).ok_or(Malformed)?)
    }

    #[test]
    fn edns_is_read_wherever_it_stands_among_the_additional_records() {
        let opt = b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x04\x00\x03\x00\x00";
        let without = message([1, 0, 0, 0], b"");
        let plain = read(&without).expect("valid");
        assert_eq!((plain.qtype, plain.qclass, plain.edns), (1, 1, None));
        let with = message([1, 0, 0, 1], opt);
        let query = read(&with).expect("valid");
        assert_eq!(query.edns, Some(Edns { udp_bytes: 1232, version: 0, options: &opt[11..] }));
        let mut behind =
            b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x00\x00\x04\x7f\x00\x00\x01".to_vec();
        behind.extend_from_slice(opt);
        assert!(read(&message([1, 0, 0, 2], &behind)).expect("valid").edns.is_some());
    }

    #[test]
    fn messages_that_break_a_rule_are_malformed() {
        let opt = b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00";
        for (why, message) in [
            ("a question that is not counted", message([0, 0, 0, 0], b"")),
            ("two questions", message([2, 0, 0, 0], b"")),
            ("bytes behind the end", message([1, 0, 0, 0], b"\x00")),
            ("a promised record is missing", message([1, 0, 0, 1], b"")),
            ("two OPT records", message([1, 0, 0, 2], &[opt.as_slice(), opt].concat())),
            ("OPT in the answer section", message([1, 1, 0, 0], opt)),
            ("OPT with an owner", message([1, 0, 0, 1], &[b"\x01a".as_slice(), opt].concat())),
            (
                "options over the end",
                message([1, 0, 0, 1], b"\0\0\x29\x04\xd0\0\0\0\0\0\x04\0\x03\0"),
            ),
        ] {
            assert_eq!(read(&message), Err(Malformed), "{why}");
        }
        let mut pointer = message([1, 0, 0, 0], b"");
        pointer[12] = 0xc0;
        assert_eq!(read(&pointer), Err(Malformed), "compressed question");
    }

    #[test]
    fn the_name_is_read_in_lower_case_and_may_fill_255_bytes() {
        let named = |name: &[u8]| {
            let head = [0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
            [&head[..], name, &[0, 1, 0, 1]].concat()
        };
        let mixed = named(b"\x05RaDiO\x00");
        assert_eq!(read(&mixed).expect("valid").name.as_bytes(), b"\x05radio\x00");
        let labels = [[1, b'A']; 127].concat();
        let longest = named(&[labels.as_slice(), &[0]].concat());
        let lower = [&[[1, b'a']; 127].concat()[..], &[0]].concat();
        assert_eq!(read(&longest).expect("valid").name.as_bytes(), lower);
        let over = named(&[labels.as_slice(), b"\x01a\x00"].concat());
        assert_eq!(read(&over), Err(Malformed), "257 bytes");
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = read(&bytes);
        }

        #[test]
        fn a_truncated_query_is_malformed(cut in 0usize..45) {
            let whole = message([1, 0, 0, 1], b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00");
            prop_assert_eq!(whole.len(), 46);
            prop_assert_eq!(read(&whole[..cut]), Err(Malformed));
        }
    }
}
