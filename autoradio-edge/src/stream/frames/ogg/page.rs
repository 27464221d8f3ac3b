//! One page of Ogg: found, checked, renamed, made. Pure.
//!
//! Source: RFC 3533 §6.
//!
//! ```text
//! 0 "OggS" │ 4 version 0 │ 5 flags │ 6 granule, 8 bytes │ 14 serial │ 18 sequence │ 22 CRC │ 26 segments │ 27 their lengths │ body
//! ```

use bytes::BytesMut;

use super::crc::crc;

const CAPTURE: &[u8] = b"OggS";
const HEADER_BYTES: usize = 27;
/// The page goes on with a packet that an earlier one began.
const CONTINUED: u8 = 1;
/// The page is the first of its logical stream.
const FIRST: u8 = 2;
/// The page is the last of its logical stream.
const LAST: u8 = 4;

/// What stands at the front of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Capture {
    /// Perhaps a page: more bytes are needed to say.
    Short,
    /// No page.
    None,
    /// A page of so many bytes, which are all there.
    Whole(usize),
    /// What looks like a page of so many bytes, but its checksum is another.
    Damaged(usize),
}

/// What stands at the front of `bytes`.
pub(super) fn capture(bytes: &[u8]) -> Capture {
    let start = &bytes[..bytes.len().min(CAPTURE.len())];
    // Version 0 is the only one, and of the flags three are known.
    let known = bytes.get(4).is_none_or(|&version| version == 0)
        && bytes.get(5).is_none_or(|flags| flags & !(CONTINUED | FIRST | LAST) == 0);
    if !CAPTURE.starts_with(start) || !known {
        return Capture::None;
    }
    let Some(whole) = page_bytes(bytes) else {
        return Capture::Short;
    };
    match bytes.get(..whole).map(Page) {
        None => Capture::Short,
        Some(page) if page.checksum() == page.crc() => Capture::Whole(whole),
        Some(_) => Capture::Damaged(whole),
    }
}

/// Bytes of the page whose header is at the front of `bytes`, or `None` if the header is not whole.
fn page_bytes(bytes: &[u8]) -> Option<usize> {
    let segments = usize::from(*bytes.get(HEADER_BYTES - 1)?);
    let lengths = bytes.get(HEADER_BYTES..HEADER_BYTES + segments)?;
    let body: usize = lengths.iter().map(|&length| usize::from(length)).sum();
    Some(HEADER_BYTES + segments + body)
}

/// A whole page.
#[derive(Clone, Copy, Debug)]
pub(super) struct Page<'a>(&'a [u8]);

/// What tells a page from any other: its serial and sequence numbers, and its checksum, as they were sent.
pub(super) type PageId = (u32, u32, u32);

impl<'a> Page<'a> {
    /// The page that `bytes` are, as [`capture`] has found it: the checksum is not looked at again.
    pub(super) fn of(bytes: &'a [u8]) -> Option<Self> {
        (page_bytes(bytes) == Some(bytes.len())).then_some(Self(bytes))
    }

    /// The pages that `bytes` are made of.
    pub(super) fn all(mut bytes: &'a [u8]) -> impl Iterator<Item = Self> {
        std::iter::from_fn(move || {
            let (page, rest) = bytes.split_at_checked(page_bytes(bytes)?)?;
            bytes = rest;
            Some(Self(page))
        })
    }

    pub(super) fn bytes(self) -> &'a [u8] {
        self.0
    }

    pub(super) fn continues(self) -> bool {
        self.0[5] & CONTINUED != 0
    }

    pub(super) fn is_first(self) -> bool {
        self.0[5] & FIRST != 0
    }

    pub(super) fn is_last(self) -> bool {
        self.0[5] & LAST != 0
    }

    /// Position in the unit of the stream after the last packet that ends here, or `None` if none does.
    pub(super) fn granule(self) -> Option<u64> {
        Some(u64::from_le_bytes(self.number(6))).filter(|&granule| granule != u64::MAX)
    }

    pub(super) fn serial(self) -> u32 {
        u32::from_le_bytes(self.number(14))
    }

    pub(super) fn sequence(self) -> u32 {
        u32::from_le_bytes(self.number(18))
    }

    pub(super) fn id(self) -> PageId {
        (self.serial(), self.sequence(), self.crc())
    }

    /// Packets that end here.
    pub(super) fn packets(self) -> u32 {
        let lengths = &self.0[HEADER_BYTES..][..usize::from(self.0[26])];
        lengths.iter().map(|&length| u32::from(length < 255)).sum()
    }

    pub(super) fn body(self) -> &'a [u8] {
        &self.0[HEADER_BYTES + usize::from(self.0[26])..]
    }

    /// Appends this page under another serial number.
    pub(super) fn write_as(self, serial: u32, out: &mut BytesMut) {
        let at = out.len();
        out.extend_from_slice(self.0);
        if serial != self.serial() {
            let page = &mut out[at..];
            page[14..18].copy_from_slice(&serial.to_le_bytes());
            seal(page);
        }
    }

    fn crc(self) -> u32 {
        u32::from_le_bytes(self.number(22))
    }

    /// What the checksum should be: it is made with zeros in its own place.
    fn checksum(self) -> u32 {
        let before = crc(0, &self.0[..22]);
        crc(crc(before, &[0; 4]), &self.0[26..])
    }

    fn number<const BYTES: usize>(self, at: usize) -> [u8; BYTES] {
        self.0[at..].first_chunk().copied().unwrap_or([0; BYTES])
    }
}

pub(super) fn seal(page: &mut [u8]) {
    let checksum = Page(page).checksum();
    page[22..26].copy_from_slice(&checksum.to_le_bytes());
}

/// A page without a packet that ends its logical stream.
pub(super) fn last_page(serial: u32, sequence: u32, granule: Option<u64>) -> [u8; HEADER_BYTES] {
    let mut page = [0; HEADER_BYTES];
    page[..4].copy_from_slice(CAPTURE);
    page[5] = LAST;
    page[6..14].copy_from_slice(&granule.unwrap_or(u64::MAX).to_le_bytes());
    page[14..18].copy_from_slice(&serial.to_le_bytes());
    page[18..22].copy_from_slice(&sequence.to_le_bytes());
    seal(&mut page);
    page
}
