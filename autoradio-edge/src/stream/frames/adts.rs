//! Frames of AAC in ADTS. Pure.
//!
//! Source: ISO/IEC 13818-7 §6.2 and ISO/IEC 14496-3 §1.A.2.2. Never here: AAC in LATM or ADIF: passed on as it comes.

use super::sync::Head;

/// Sampling rates that have an index.
const RATES: u8 = 13;

/// What the header at the front of `bytes` says, or `None` if it is none.
///
/// ```text
/// 11111111 1111I00P ooSSSSxc ccxxxxLL LLLLLLLL LLL…   I MPEG-2, P no checksum, o object, S sampling rate, c channels, L length
/// ```
pub(super) fn head(bytes: &[u8]) -> Option<Head> {
    let [sync, flags, rate, length @ ..]: [u8; 6] = *bytes.first_chunk()?;
    if sync != 0xff || flags & 0xf6 != 0xf0 || rate >> 2 & 0x0f >= RATES {
        return None;
    }
    let [high, middle, low] = length.map(usize::from);
    let bytes = (high & 0x03) << 11 | middle << 3 | low >> 5;
    let header_bytes = if flags & 1 == 1 { 7 } else { 9 };
    let key = u32::from_be_bytes([0, flags & 0xfe, rate & 0xfd, length[0] & 0xc0]);
    (bytes > header_bytes).then_some(Head { bytes, key })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_tells_the_length_of_its_frame() {
        for (why, header, want) in [
            ("AAC-LC, 44.1 kHz, stereo", [0xff, 0xf1, 0x50, 0x80, 0x2e, 0x7f], Some(371)),
            ("the same of MPEG-2", [0xff, 0xf9, 0x50, 0x80, 0x2e, 0x7f], Some(371)),
            ("the longest", [0xff, 0xf1, 0x50, 0x83, 0xff, 0xff], Some(8_191)),
            ("nothing but a header", [0xff, 0xf1, 0x50, 0x80, 0x00, 0xff], None),
            ("nothing but a header and a checksum", [0xff, 0xf0, 0x50, 0x80, 0x01, 0x3f], None),
            ("a layer", [0xff, 0xf3, 0x50, 0x80, 0x2e, 0x7f], None),
            ("no sync", [0xff, 0xe1, 0x50, 0x80, 0x2e, 0x7f], None),
            ("reserved sampling rate", [0xff, 0xf1, 0x74, 0x80, 0x2e, 0x7f], None),
        ] {
            assert_eq!(head(&header).map(|head| head.bytes), want, "{why}");
        }
        assert_eq!(head(&[0xff, 0xf1, 0x50, 0x80, 0x2e]), None, "cut");
    }
}
