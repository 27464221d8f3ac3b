//! Frames and pages to test with. Pure.

use bytes::BytesMut;

use super::ogg::testing::sealed;
use super::{Framed, Framer};

/// Bytes that differ from number to number and hold no header.
fn filling(number: u32, bytes: usize) -> impl Iterator<Item = u8> {
    let digits = number.to_le_bytes().map(|byte| [byte & 0x0f, byte >> 4]).concat();
    digits.into_iter().chain(std::iter::repeat(0x55)).take(bytes)
}

/// Frame `number` of MPEG-1 layer III, 128 kbit/s, 44.1 kHz: 417 bytes.
pub(super) fn mpeg(number: u32) -> Vec<u8> {
    [0xff, 0xfb, 0x90, 0x00].into_iter().chain(filling(number, 413)).collect()
}

/// Frame `number` of AAC-LC, 44.1 kHz, stereo, in ADTS: 371 bytes.
pub(super) fn adts(number: u32) -> Vec<u8> {
    [0xff, 0xf1, 0x50, 0x80, 0x2e, 0x7f, 0xfc].into_iter().chain(filling(number, 364)).collect()
}

/// Frames of these numbers.
pub(super) fn frames(frame: fn(u32) -> Vec<u8>, numbers: impl IntoIterator<Item = u32>) -> Vec<u8> {
    numbers.into_iter().flat_map(frame).collect()
}

/// Where a page stands and what it is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct At {
    pub(super) serial: u32,
    pub(super) sequence: u32,
    pub(super) granule: u64,
    /// 1 continued, 2 first, 4 last.
    pub(super) flags: u8,
}

/// A page with these packets, whole, or if `open` with the last one going on in the next page (it must fill its segments).
pub(super) fn page(at: At, packets: &[&[u8]], open: bool) -> Vec<u8> {
    let mut lengths = Vec::new();
    for packet in packets {
        lengths.extend(vec![255; packet.len() / 255]);
        lengths.push((packet.len() % 255) as u8);
    }
    if open {
        assert_eq!(lengths.pop(), Some(0), "an open packet fills its segments");
    }
    let mut page = BytesMut::new();
    page.extend_from_slice(b"OggS\0");
    page.extend_from_slice(&[at.flags]);
    page.extend_from_slice(&at.granule.to_le_bytes());
    page.extend_from_slice(&at.serial.to_le_bytes());
    page.extend_from_slice(&at.sequence.to_le_bytes());
    page.extend_from_slice(&[0; 4]);
    page.extend_from_slice(&[lengths.len() as u8]);
    page.extend_from_slice(&lengths);
    for packet in packets {
        page.extend_from_slice(packet);
    }
    sealed(&page)
}

/// The header pages of an Opus stream.
pub(super) fn opus_headers(serial: u32) -> Vec<u8> {
    let first = page(At { serial, flags: 2, ..At::default() }, &[b"OpusHead\x01\x02"], false);
    let second = page(At { serial, sequence: 1, ..At::default() }, &[b"OpusTags"], false);
    [first, second].concat()
}

/// A page of audio of a stream with two header pages.
pub(super) fn audio(serial: u32, sequence: u32) -> Vec<u8> {
    let granule = u64::from(sequence - 1) * 960;
    let packet: Vec<u8> = filling(sequence, 300).collect();
    page(At { serial, sequence, granule, flags: 0 }, &[&packet], false)
}

/// Pages of audio with these sequence numbers.
pub(super) fn audios(serial: u32, sequences: impl IntoIterator<Item = u32>) -> Vec<u8> {
    sequences.into_iter().flat_map(|sequence| audio(serial, sequence)).collect()
}

/// What a framer makes of these pieces.
pub(super) fn framed<'a>(
    content_type: &str,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Framer, Framed) {
    let (mut framer, mut out) = (Framer::new(content_type), Framed::default());
    pieces.into_iter().for_each(|piece| framer.push(piece, &mut out));
    (framer, out)
}

/// What a framer makes of upstreams one after the other.
pub(super) fn after_interruptions(upstreams: &[&[u8]]) -> Framed {
    let (mut framer, mut out) = (Framer::new("audio/mpeg"), Framed::default());
    for (number, upstream) in upstreams.iter().enumerate() {
        if number > 0 {
            framer.interrupt(&mut out);
        }
        framer.push(upstream, &mut out);
    }
    out
}
