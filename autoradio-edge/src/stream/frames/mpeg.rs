//! Frames of MPEG audio: versions 1, 2 and 2.5, layers I to III. Pure.
//!
//! Source: ISO/IEC 11172-3 §2.4.1.3 and §2.4.3.1, ISO/IEC 13818-3 §2.4.2; version 2.5 is Fraunhofer's extension of it.
//! Never here: free format (a bit rate that the header does not tell): such a stream is passed on as it comes.

use super::sync::Head;

/// Bit rates by index, less one, in kbit/s: of version 1 in layers I, II and III, of the other versions in layer I and above.
const KBIT_PER_S: [[u16; 14]; 5] = [
    [32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448],
    [32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384],
    [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
    [32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256],
    [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
];
/// Sampling rates of version 1 by index, in Hz; version 2 has half of them, version 2.5 a quarter.
const HZ: [usize; 3] = [44_100, 48_000, 32_000];

/// Bits that all frames of a stream have in common: sync, version, layer, sampling rate.
const KEY: u32 = 0xfffe_0c00;

/// What the header at the front of `bytes` says, or `None` if it is none.
///
/// ```text
/// 11111111 111VVLLP BBBBSSpx CCXXcoEE   V version, L layer, B bit rate, S sampling rate, p padding, E emphasis
/// ```
pub(super) fn head(bytes: &[u8]) -> Option<Head> {
    let word = u32::from_be_bytes(*bytes.first_chunk()?);
    let field = |shift: u32, bits: u32| (word >> shift & ((1 << bits) - 1)) as usize;
    let (version, layer) = (field(19, 2), 4 - field(17, 2));
    // Reserved, in this order: version 01, layer 00, emphasis 10.
    if word >> 21 != 0x7ff || version == 1 || layer == 4 || field(0, 2) == 2 {
        return None;
    }
    let version_1 = version == 3;
    let rates = if version_1 { layer - 1 } else { 3 + usize::from(layer > 1) };
    // Index 0 is free format, 15 is reserved.
    let kbit_per_s = *KBIT_PER_S[rates].get(field(12, 4).checked_sub(1)?)?;
    let divisor = [4, 1, 2, 1][version];
    let hz = HZ.get(field(10, 2))? / divisor;
    let bit_per_s = usize::from(kbit_per_s) * 1_000;
    let padding = field(9, 1);
    let bytes = match layer {
        1 => (12 * bit_per_s / hz + padding) * 4,
        3 if !version_1 => 72 * bit_per_s / hz + padding,
        _ => 144 * bit_per_s / hz + padding,
    };
    Some(Head { bytes, key: word & KEY })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_tells_the_length_of_its_frame() {
        for (why, header, want) in [
            ("MPEG-1 III, 128 kbit/s, 44.1 kHz", [0xff, 0xfb, 0x90, 0x00], Some(417)),
            ("the same with padding", [0xff, 0xfb, 0x92, 0x00], Some(418)),
            ("the same with a checksum", [0xff, 0xfa, 0x90, 0x00], Some(417)),
            ("MPEG-1 III, 320 kbit/s, 48 kHz", [0xff, 0xfb, 0xe4, 0x00], Some(960)),
            ("MPEG-2 III, 64 kbit/s, 22.05 kHz", [0xff, 0xf3, 0x80, 0xc0], Some(208)),
            ("MPEG-2.5 III, 8 kbit/s, 8 kHz", [0xff, 0xe3, 0x18, 0xc0], Some(72)),
            ("MPEG-1 II, 192 kbit/s, 48 kHz", [0xff, 0xfd, 0xa4, 0x00], Some(576)),
            ("MPEG-2 II, 160 kbit/s, 24 kHz", [0xff, 0xf5, 0xe4, 0x00], Some(960)),
            ("MPEG-1 I, 384 kbit/s, 48 kHz", [0xff, 0xff, 0xc4, 0x00], Some(384)),
            ("MPEG-1 I, 32 kbit/s, 44.1 kHz, padding", [0xff, 0xff, 0x12, 0x00], Some(36)),
            ("free format", [0xff, 0xfb, 0x00, 0x00], None),
            ("reserved bit rate", [0xff, 0xfb, 0xf0, 0x00], None),
            ("reserved sampling rate", [0xff, 0xfb, 0x9c, 0x00], None),
            ("reserved version", [0xff, 0xeb, 0x90, 0x00], None),
            ("reserved layer, or ADTS", [0xff, 0xf1, 0x90, 0x00], None),
            ("reserved emphasis", [0xff, 0xfb, 0x90, 0x02], None),
            ("no sync", [0xff, 0xdb, 0x90, 0x00], None),
        ] {
            assert_eq!(head(&header).map(|head| head.bytes), want, "{why}");
        }
        assert_eq!(head(&[0xff, 0xfb, 0x90]), None, "cut");
    }

    #[test]
    fn the_key_is_of_the_stream_not_of_the_frame() {
        let key = |header: [u8; 4]| head(&header).expect("a header").key;
        let first = key([0xff, 0xfb, 0x90, 0x00]);
        for (why, header, same) in [
            ("another bit rate", [0xff, 0xfb, 0xb0, 0x00], true),
            ("padding, mono, a checksum", [0xff, 0xfa, 0x92, 0xc4], true),
            ("another sampling rate", [0xff, 0xfb, 0x94, 0x00], false),
            ("another layer", [0xff, 0xfd, 0x90, 0x00], false),
            ("another version", [0xff, 0xf3, 0x90, 0x00], false),
        ] {
            assert_eq!(key(header) == first, same, "{why}");
        }
    }
}
