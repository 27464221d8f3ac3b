//! ICY metadata: titles taken out of an upstream's audio, and blocks of them for listeners.
//!
//! In: an upstream's bytes in any pieces, and the interval it has announced (`icy-metaint`, in bytes of audio). Out: the audio
//! alone, and titles. Never here: sockets, what a title means.
//!
//! After each interval stands one byte, the length of a block in units of 16 bytes; the block is
//! `StreamTitle='…';StreamUrl='…';`, filled up with zero bytes. Nothing in it is escaped, and nothing says how it is encoded, so
//! a title stays the bytes that the source has sent: UTF-8 or Latin-1. An empty block means that nothing has changed.

use bytes::{BufMut, Bytes, BytesMut};

/// Bytes of audio between two blocks to a listener, as Icecast has it.
pub const METAINT: usize = 16_000;

/// Bytes in one unit of a block's length.
const UNIT_BYTES: usize = 16;
/// Bytes of the longest block, its length byte not included.
const BLOCK_BYTES_MAX: usize = 255 * UNIT_BYTES;

const TITLE: &[u8] = b"StreamTitle='";
const URL: &[u8] = b"StreamUrl='";
const END: &[u8] = b"';";

/// What a source says that it plays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Title {
    /// The text between `StreamTitle='` and its `';`: bytes as the source sent them.
    pub text: Bytes,
    /// The text between `StreamUrl='` and its `';`, if there is any.
    pub url: Option<Bytes>,
}

impl Title {
    /// A title without a URL.
    pub fn new(text: impl Into<Bytes>) -> Self {
        Self { text: text.into(), url: None }
    }

    /// The title in a block, or `None` if the block speaks of none.
    fn parse(block: &[u8]) -> Option<Self> {
        let text = Bytes::copy_from_slice(field(block, TITLE)?);
        let url = field(block, URL).filter(|url| !url.is_empty()).map(Bytes::copy_from_slice);
        Some(Self { text, url })
    }
}

/// The value of a field, which begins with the block or after another field's end. Quotes and semicolons may stand in it: it
/// ends where the next field or the filling begins, or else with the block.
fn field<'a>(block: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let text = &block[..block.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1)];
    let mut starts = (0..text.len()).filter(|&at| text[at..].starts_with(name));
    let start = starts.find(|&at| at == 0 || text[..at].ends_with(b";"))? + name.len();
    let value = &text[start..];
    let mut ends = (0..value.len()).filter(|&at| value[at..].starts_with(END));
    let end = ends.find(|&at| is_border(&value[at + END.len()..]));
    let end = end.unwrap_or(value.len() - usize::from(value.ends_with(b"'")));
    Some(&value[..end])
}

/// Whether what follows a `';` is another field (`Stream…=`), or nothing.
fn is_border(rest: &[u8]) -> bool {
    let Some(name) = rest.strip_prefix(b"Stream") else {
        return rest.iter().all(u8::is_ascii_whitespace);
    };
    name.iter().find(|byte| !byte.is_ascii_alphanumeric()) == Some(&b'=')
}

/// Takes the blocks out of an upstream's bytes.
#[derive(Clone, Debug)]
pub struct Stripper {
    /// Bytes of audio between two blocks; `None` if there are no blocks.
    metaint: Option<usize>,
    part: Part,
}

#[derive(Clone, Debug)]
enum Part {
    /// In audio, with so many bytes left to the next block.
    Audio { left: usize },
    /// In a block of so many bytes, of which these have come.
    Block { bytes: usize, come: Vec<u8> },
}

impl Stripper {
    /// For an upstream that has announced this interval. Without one, or with 0, all is audio.
    pub fn new(metaint: Option<usize>) -> Self {
        let metaint = metaint.filter(|&bytes| bytes > 0);
        Self { metaint, part: Part::Audio { left: metaint.unwrap_or(0) } }
    }

    /// Appends the audio in `bytes` to `audio`; the newest title whose block ends in `bytes`, if there is one.
    pub fn push(&mut self, mut bytes: &[u8], audio: &mut BytesMut) -> Option<Title> {
        let Some(metaint) = self.metaint else {
            audio.extend_from_slice(bytes);
            return None;
        };
        let mut newest = None;
        while let Some(&first) = bytes.first() {
            let taken = match &mut self.part {
                Part::Audio { left: 0 } => {
                    self.part = Part::of_length(first, metaint);
                    1
                }
                Part::Audio { left } => {
                    let taken = bytes.len().min(*left);
                    audio.extend_from_slice(&bytes[..taken]);
                    *left -= taken;
                    taken
                }
                Part::Block { bytes: whole, come } => {
                    let taken = bytes.len().min(*whole - come.len());
                    come.extend_from_slice(&bytes[..taken]);
                    if come.len() == *whole {
                        newest = Title::parse(come).or(newest);
                        self.part = Part::Audio { left: metaint };
                    }
                    taken
                }
            };
            bytes = &bytes[taken..];
        }
        newest
    }
}

impl Part {
    /// What follows a block's length byte.
    fn of_length(units: u8, metaint: usize) -> Self {
        match usize::from(units) * UNIT_BYTES {
            0 => Self::Audio { left: metaint },
            bytes => Self::Block { bytes, come: Vec::with_capacity(bytes) },
        }
    }
}

/// One block, its length byte included: of a title, or the empty one that says that nothing has changed.
///
/// What is too long for a block goes without its URL, and then its text is cut, at the border of a character if it is UTF-8.
pub fn block(title: Option<&Title>) -> Bytes {
    let Some(title) = title else {
        return Bytes::from_static(&[0]);
    };
    let text = cut(&title.text, BLOCK_BYTES_MAX - TITLE.len() - END.len());
    let mut bytes = BytesMut::with_capacity(1 + BLOCK_BYTES_MAX);
    bytes.put_u8(0);
    [TITLE, text, END].into_iter().for_each(|part| bytes.extend_from_slice(part));
    if let Some(url) = &title.url
        && bytes.len() + URL.len() + url.len() + END.len() <= 1 + BLOCK_BYTES_MAX
    {
        [URL, url, END].into_iter().for_each(|part| bytes.extend_from_slice(part));
    }
    let units = (bytes.len() - 1).div_ceil(UNIT_BYTES);
    bytes.resize(1 + units * UNIT_BYTES, 0);
    bytes[0] = units as u8;
    bytes.freeze()
}

/// The front of `text`, of `bytes_max` at most.
fn cut(text: &[u8], bytes_max: usize) -> &[u8] {
    if text.len() <= bytes_max {
        return text;
    }
    let end =
        std::str::from_utf8(text).map_or(bytes_max, |text| text.floor_char_boundary(bytes_max));
    &text[..end]
}
