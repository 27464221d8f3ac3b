//! Ogg for the probers: numbered pages of Opus, and a listener's judgement of the chain that it gets. Pure.
//!
//! Sources: RFC 3533 (pages, chains), RFC 7845 (Opus in them). Written anew and not taken from the daemon, which is what is judged.

use std::collections::HashSet;

use super::frames::{self, Number};

const FIRST: u8 = 2;
const LAST: u8 = 4;
const HEADER_BYTES: usize = 27;
/// Bytes of one packet of audio: 128 kbit/s.
const PACKET_BYTES: usize = 320;
/// A frame of 20 ms in CELT, mono, alone in its packet (RFC 6716 §3.1).
const TOC: u8 = 31 << 3;
/// Samples of it at 48 kHz.
const SAMPLES: u64 = 960;
/// Pages of headers before the audio.
const HEADERS: u32 = 2;

/// Begin of a session's stream.
pub(super) fn headers(session: u32) -> Vec<u8> {
    let head = b"OpusHead\x01\x01\0\0\x80\xbb\0\0\0\0\0";
    let tags = b"OpusTags\x06\0\0\0prober\0\0\0\0";
    [page(FIRST, 0, (session, 0), head), page(0, 0, (session, 1), tags)].concat()
}

/// One page of audio.
pub(super) fn audio((session, number): Number) -> Vec<u8> {
    let packet = frames::filled(&[TOC], (session, number), PACKET_BYTES);
    page(0, (u64::from(number) + 1) * SAMPLES, (session, number + HEADERS), &packet)
}

fn page(flags: u8, granule: u64, (serial, sequence): (u32, u32), packet: &[u8]) -> Vec<u8> {
    let mut page = b"OggS\0".to_vec();
    page.push(flags);
    page.extend(granule.to_le_bytes());
    page.extend(serial.to_le_bytes());
    page.extend(sequence.to_le_bytes());
    page.extend([0; 4]);
    let full = packet.len() / 255;
    page.push(full as u8 + 1);
    page.extend(std::iter::repeat_n(255, full));
    page.push((packet.len() % 255) as u8);
    page.extend(packet);
    let sum = crc(&page).to_le_bytes();
    page[22..26].copy_from_slice(&sum);
    page
}

/// Polynomial 0x04c11db7 from the highest bit down, beginning with 0 (RFC 3533 §6, field 7).
fn crc(bytes: &[u8]) -> u32 {
    static TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut at = 0;
        while at < 256 {
            let (mut word, mut bit) = ((at as u32) << 24, 0);
            while bit < 8 {
                word = (word << 1) ^ ((word >> 31) * 0x04c1_1db7);
                bit += 1;
            }
            table[at] = word;
            at += 1;
        }
        table
    };
    bytes.iter().fold(0, |sum, byte| sum << 8 ^ TABLE[(sum >> 24) as usize ^ usize::from(*byte)])
}

/// Bytes of the page at the front of `bytes`, once its whole header is there. `Err`: there is no page.
pub(super) fn page_bytes(bytes: &[u8]) -> Result<Option<usize>, String> {
    let start = &bytes[..bytes.len().min(5)];
    if !b"OggS\0".starts_with(start) {
        return Err(format!("no page where one begins: {start:?}"));
    }
    let Some(&segments) = bytes.get(HEADER_BYTES - 1) else { return Ok(None) };
    let lengths = bytes.get(HEADER_BYTES..HEADER_BYTES + usize::from(segments));
    Ok(lengths.map(|lengths| {
        HEADER_BYTES + lengths.len() + lengths.iter().map(|&it| usize::from(it)).sum::<usize>()
    }))
}

/// A chain as one listener has got it: links of one stream each, one after the other, each under a number of its own.
#[derive(Debug, Default)]
pub(super) struct Chain {
    serials: HashSet<u32>,
    playing: Option<Link>,
}

#[derive(Debug)]
struct Link {
    serial: u32,
    /// Header pages so far.
    headers: u32,
    /// Sequence number of the last page of audio.
    sequence: Option<u32>,
}

impl Chain {
    /// Takes the next page. Returns the number of a page of audio; `Err`: why it may not stand there.
    pub(super) fn take(&mut self, page: &[u8]) -> Result<Option<Number>, String> {
        let word =
            |at: usize| u32::from_le_bytes([page[at], page[at + 1], page[at + 2], page[at + 3]]);
        let (flags, serial, sequence) = (page[5], word(14), word(18));
        let mut unsummed = page.to_vec();
        unsummed[22..26].fill(0);
        if crc(&unsummed) != word(22) {
            return Err(format!("page {sequence}: its checksum is wrong"));
        }
        if flags & FIRST != 0 {
            return self.begin(serial).map(|()| None);
        }
        let link = self.playing.as_mut().filter(|link| link.serial == serial);
        let link = link.ok_or_else(|| format!("page {sequence} is of no stream that plays"))?;
        let body = &page[HEADER_BYTES + usize::from(page[HEADER_BYTES - 1])..];
        if flags & LAST != 0 && body.is_empty() {
            self.playing = None;
            return Ok(None);
        }
        if link.headers < HEADERS {
            link.headers += 1;
            let fits = body.starts_with(b"OpusTags");
            return fits.then_some(None).ok_or_else(|| "audio before its headers".to_owned());
        }
        link.audio(sequence, page, body).map(Some)
    }

    fn begin(&mut self, serial: u32) -> Result<(), String> {
        if self.playing.is_some() {
            return Err("a link begins before the one before it has ended".to_owned());
        }
        if !self.serials.insert(serial) {
            return Err(format!("serial number {serial} comes again"));
        }
        self.playing = Some(Link { serial, headers: 1, sequence: None });
        Ok(())
    }
}

impl Link {
    fn audio(&mut self, sequence: u32, page: &[u8], body: &[u8]) -> Result<Number, String> {
        let number = body.get(1..).and_then(frames::number);
        let number = number.ok_or_else(|| format!("page {sequence} is none that was sent"))?;
        let sent = audio(number);
        // Of what was sent, the serial number and with it the checksum may be others.
        let same = sent.len() == page.len()
            && [0..14, 18..22, 26..page.len()].into_iter().all(|it| sent[it.clone()] == page[it]);
        if !same {
            return Err(format!("page {sequence} was not sent like this"));
        }
        if self.sequence.is_some_and(|last| last + 1 != sequence) {
            return Err(format!("page {sequence} after page {:?}", self.sequence));
        }
        self.sequence = Some(sequence);
        Ok(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(chain: &mut Chain, mut bytes: &[u8]) -> Result<Vec<Number>, String> {
        let mut numbers = Vec::new();
        while !bytes.is_empty() {
            let (page, rest) = bytes.split_at(page_bytes(bytes)?.ok_or("cut")?);
            numbers.extend(chain.take(page)?);
            bytes = rest;
        }
        Ok(numbers)
    }

    #[test]
    fn a_proper_chain_is_taken_and_tells_its_numbers() {
        let end = page(LAST, 0, (1, 12), b"");
        let first = [headers(1), audio((1, 8)), audio((1, 9)), end].concat();
        let second = [headers(2), audio((2, 0))].concat();
        let mut chain = Chain::default();
        assert_eq!(take(&mut chain, &first).unwrap(), [(1, 8), (1, 9)]);
        assert_eq!(take(&mut chain, &second).unwrap(), [(2, 0)]);
    }

    #[test]
    fn what_is_no_proper_chain_is_refused() {
        let mut damaged = audio((1, 0));
        damaged[100] ^= 1;
        for (why, bytes) in [
            ("no headers", audio((1, 0))),
            ("no end", [headers(1), headers(2)].concat()),
            ("one header", [headers(1)[..47].to_vec(), audio((1, 0))].concat()),
            ("a page is missing", [headers(1), audio((1, 0)), audio((1, 2))].concat()),
            ("a page comes again", [headers(1), audio((1, 0)), audio((1, 0))].concat()),
            ("of another stream", [headers(1), audio((2, 0))].concat()),
            ("damaged", [headers(1), damaged].concat()),
            ("a number again", [headers(1), page(LAST, 0, (1, 2), b""), headers(1)].concat()),
            ("after its end", [headers(1), page(LAST, 0, (1, 2), b""), audio((1, 0))].concat()),
        ] {
            assert!(take(&mut Chain::default(), &bytes).is_err(), "{why}");
        }
    }

    #[test]
    fn a_session_begins_with_two_headers_and_pages_have_oggs_checksum() {
        let headers = headers(7);
        let first = page_bytes(&headers).unwrap().unwrap();
        assert_eq!(first, 47);
        // CRC-32/CKSUM without its length and inversion; the check value of that form.
        assert_eq!(crc(b"123456789"), 0x89a1_897f);
        assert!(headers[first + HEADER_BYTES + 1..].starts_with(b"OpusTags"));
    }
}
