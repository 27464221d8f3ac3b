//! Tags that files bring into a stream: ID3, versions 1 and 2, and APE. Pure.
//!
//! Sources: <https://id3.org/id3v2.4.0-structure> §3, <https://id3.org/ID3v1>, <https://wiki.hydrogenaud.io/index.php?title=APE_Tags_Header>.

use autoradio_common::limits::STREAM_TAG_BYTES_MAX;

/// What stands at the front of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tag {
    /// No tag.
    None,
    /// Perhaps a tag: more bytes are needed to say.
    Short,
    /// A tag of so many bytes.
    Bytes(usize),
}

/// Bytes of the header of an ID3 tag of version 2, and of its footer.
const ID3_HEADER_BYTES: usize = 10;
const ID3V1_BYTES: usize = 128;
/// Bytes of an APE tag's header, and of its footer.
const APE_HEADER_BYTES: usize = 32;

/// The tag at the front of `bytes`. One that claims to be larger than `STREAM_TAG_BYTES_MAX` is none.
pub(super) fn tag(bytes: &[u8]) -> Tag {
    let found = match () {
        () if bytes.starts_with(b"ID3") => id3(bytes),
        () if bytes.starts_with(b"TAG") => Tag::Bytes(ID3V1_BYTES),
        () if bytes.starts_with(b"APETAGEX") => ape(bytes),
        () if [&b"ID3"[..], b"TAG", b"APETAGEX"].iter().any(|name| name.starts_with(bytes)) => {
            Tag::Short
        }
        () => Tag::None,
    };
    if matches!(found, Tag::Bytes(bytes) if bytes > STREAM_TAG_BYTES_MAX) {
        Tag::None
    } else {
        found
    }
}

fn id3(bytes: &[u8]) -> Tag {
    let Some(&[_, _, _, major, minor, flags, ref size @ ..]) =
        bytes.first_chunk::<ID3_HEADER_BYTES>()
    else {
        return Tag::Short;
    };
    if major == 0xff || minor == 0xff || size.iter().any(|byte| byte & 0x80 != 0) {
        return Tag::None;
    }
    let body = size.iter().fold(0, |sum, &byte| sum << 7 | usize::from(byte));
    let footer = if flags & 0x10 == 0 { 0 } else { ID3_HEADER_BYTES };
    Tag::Bytes(ID3_HEADER_BYTES + body + footer)
}

fn ape(bytes: &[u8]) -> Tag {
    let Some(header) = bytes.first_chunk::<APE_HEADER_BYTES>() else {
        return Tag::Short;
    };
    let number = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|byte| header[at + byte]));
    // A footer without a header comes after what belongs to it.
    let is_header = number(20) & 1 << 29 != 0;
    Tag::Bytes(APE_HEADER_BYTES + if is_header { number(12) as usize } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The front of an APE tag of `bytes` after its header.
    fn ape_header(bytes: u32, flags: u32) -> Vec<u8> {
        let numbers = [2_000, bytes, 1, flags, 0, 0];
        [b"APETAGEX".to_vec(), numbers.iter().flat_map(|n: &u32| n.to_le_bytes()).collect()]
            .concat()
    }

    #[test]
    fn a_tag_tells_how_long_it_is() {
        for (why, bytes, want) in [
            ("ID3v2", b"ID3\x04\0\0\0\0\x02\x01".to_vec(), Tag::Bytes(10 + 257)),
            ("ID3v2 with a footer", b"ID3\x04\0\x10\0\0\0\x05".to_vec(), Tag::Bytes(25)),
            ("ID3v2 of no such size", b"ID3\x04\0\0\0\0\x80\x01".to_vec(), Tag::None),
            ("ID3v2 of 256 MiB", b"ID3\x04\0\0\x7f\x7f\x7f\x7f".to_vec(), Tag::None),
            ("ID3v2, cut", b"ID3\x04\0\0\0\0\x02".to_vec(), Tag::Short),
            ("ID3v1", b"TAGTitle".to_vec(), Tag::Bytes(128)),
            ("APE", ape_header(100, 0xa000_0000), Tag::Bytes(132)),
            ("APE's footer", ape_header(100, 0x8000_0000), Tag::Bytes(32)),
            ("APE of 4 GiB", ape_header(u32::MAX, 0xa000_0000), Tag::None),
            ("APE, cut", ape_header(100, 0xa000_0000)[..31].to_vec(), Tag::Short),
            ("one letter of a name", b"A".to_vec(), Tag::Short),
            ("no byte", Vec::new(), Tag::Short),
            ("a frame", vec![0xff, 0xfb, 0x90, 0], Tag::None),
            ("another name", b"APPLE".to_vec(), Tag::None),
        ] {
            assert_eq!(tag(&bytes), want, "{why}");
        }
    }
}
