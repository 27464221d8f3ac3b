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
    for part in [TITLE, text, END] {
        bytes.extend_from_slice(part);
    }
    if let Some(url) = &title.url
        && bytes.len() + URL.len() + url.len() + END.len() <= 1 + BLOCK_BYTES_MAX
    {
        for part in [URL, url, END] {
            bytes.extend_from_slice(part);
        }
    }
    let units = (bytes.len() - 1).div_ceil(UNIT_BYTES);
    bytes.resize(1 + units * UNIT_BYTES, 0);
    bytes[0] = units as u8;
    bytes.freeze()
}

/// The front of `text`, of `bytes_max` at most.
fn cut(text: &[u8], bytes_max: usize) -> &[u8] {
    let front = &text[..text.len().min(bytes_max)];
    match (std::str::from_utf8(text), std::str::from_utf8(front)) {
        (Ok(_), Err(error)) => &front[..error.valid_up_to()],
        _ => front,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A block of these bytes, its length byte included.
    fn raw(text: &[u8]) -> Vec<u8> {
        let units = text.len().div_ceil(UNIT_BYTES);
        let mut block = [&[units as u8], text].concat();
        block.resize(1 + units * UNIT_BYTES, 0);
        block
    }

    fn title(text: &[u8], url: Option<&'static [u8]>) -> Title {
        Title { text: Bytes::copy_from_slice(text), url: url.map(Bytes::from_static) }
    }

    #[test]
    fn a_block_tells_its_title() {
        for (why, text, want) in [
            ("plain", &b"StreamTitle='A - B';"[..], Some((&b"A - B"[..], None))),
            ("Icecast's form", b"StreamTitle='A';StreamUrl='';", Some((b"A", None))),
            (
                "URL",
                b"StreamTitle='A';StreamUrl='http://a/';",
                Some((b"A", Some(&b"http://a/"[..]))),
            ),
            ("URL first", b"StreamUrl='u';StreamTitle='A';", Some((b"A", Some(b"u")))),
            ("quote", b"StreamTitle='Don't stop';", Some((b"Don't stop", None))),
            ("quote and semicolon", b"StreamTitle='It';s';StreamUrl='';", Some((b"It';s", None))),
            ("what looks like an end", b"StreamTitle='A'; B';", Some((b"A'; B", None))),
            (
                "what looks like a field",
                b"StreamTitle='A';Streaming';",
                Some((b"A';Streaming", None)),
            ),
            ("a field's name in it", b"StreamTitle='StreamUrl='x';", Some((b"StreamUrl='x", None))),
            ("other fields", b"StreamTitle='A';StreamX1='y';", Some((b"A", None))),
            (
                "UTF-8",
                "StreamTitle='\u{e9}\u{4e16}';".as_bytes(),
                Some(("\u{e9}\u{4e16}".as_bytes(), None)),
            ),
            ("Latin-1", b"StreamTitle='caf\xe9';", Some((b"caf\xe9", None))),
            ("empty", b"StreamTitle='';", Some((b"", None))),
            ("no end", b"StreamTitle='A", Some((b"A", None))),
            ("no semicolon", b"StreamTitle='A'", Some((b"A", None))),
            ("one quote", b"StreamTitle='", Some((b"", None))),
            ("line end after it", b"StreamTitle='A';\r\n", Some((b"A", None))),
            ("no title", b"StreamUrl='u';", None),
            ("anything", b"\xff\0\x01", None),
        ] {
            let block = raw(text);
            let want = want.map(|(text, url)| title(text, url));
            assert_eq!(Title::parse(&block[1..]), want, "{why}");
        }
    }

    #[test]
    fn blocks_are_taken_out_and_the_newest_title_told() {
        let stream = [
            &b"abcd"[..],
            &raw(b"StreamTitle='1';"),
            b"efgh",
            &raw(b""),
            b"ijkl",
            &raw(b"StreamTitle='2';"),
            b"mnop",
            &raw(b"StreamUrl='u';"),
            b"q",
        ]
        .concat();
        let (mut stripper, mut audio) = (Stripper::new(Some(4)), BytesMut::new());
        let newest = stripper.push(&stream, &mut audio);
        assert_eq!(&audio[..], b"abcdefghijklmnopq");
        assert_eq!(newest, Some(Title::new(&b"2"[..])));
        assert_eq!(stripper.push(b"rst\0u", &mut audio), None);
        assert!(audio.ends_with(b"qrstu"));
    }

    #[test]
    fn without_an_interval_all_is_audio() {
        for metaint in [None, Some(0)] {
            let (mut stripper, mut audio) = (Stripper::new(metaint), BytesMut::new());
            assert_eq!(stripper.push(b"ab\x01cd", &mut audio), None);
            assert_eq!(&audio[..], b"ab\x01cd");
        }
    }

    #[test]
    fn a_block_for_listeners_is_of_icecasts_form() {
        assert_eq!(&block(None)[..], b"\0");
        let plain = block(Some(&Title::new(&b"A - B"[..])));
        assert_eq!(&plain[..], &raw(b"StreamTitle='A - B';")[..]);
        let linked = block(Some(&title(b"A", Some(b"http://a/"))));
        assert_eq!(&linked[..], &raw(b"StreamTitle='A';StreamUrl='http://a/';")[..]);
    }

    #[test]
    fn a_long_title_is_cut_and_goes_without_its_url() {
        let room = BLOCK_BYTES_MAX - b"StreamTitle='';".len();
        for (why, text, want) in [
            ("as long as may be", vec![b'a'; room], room),
            ("Latin-1", vec![0xe9; room + 1], room),
            (
                "UTF-8 that does not come out even",
                "\u{4e16}".repeat(room).into_bytes(),
                room / 3 * 3,
            ),
        ] {
            let long = block(Some(&title(&text, Some(b"http://a/"))));
            assert_eq!((long.len(), long[0]), (1 + BLOCK_BYTES_MAX, 255), "{why}");
            let read = Title::parse(&long[1..]).expect(why);
            assert_eq!(read, title(&text[..want], None), "{why}");
        }
    }

    proptest! {
        #[test]
        fn any_pieces_give_the_same_audio_and_titles(
            audio in prop::collection::vec(any::<u8>(), 0..400),
            texts in prop::collection::vec("[a-z';=]{0,40}", 1..8),
            metaint in 1..90_usize,
            cuts in prop::collection::vec(1..40_usize, 1..10),
        ) {
            let mut wire = Vec::new();
            let whole = audio.chunks_exact(metaint).len();
            for (number, piece) in audio.chunks(metaint).enumerate() {
                wire.extend(piece);
                if number < whole {
                    wire.extend(block(Some(&Title::new(texts[number % texts.len()].clone()))));
                }
            }
            let (mut stripper, mut stripped, mut newest) = (Stripper::new(Some(metaint)), BytesMut::new(), None);
            let (mut rest, mut cuts) = (&wire[..], cuts.into_iter().cycle());
            while let Some(cut) = cuts.next().filter(|_| !rest.is_empty()) {
                let (piece, after) = rest.split_at(cut.min(rest.len()));
                newest = stripper.push(piece, &mut stripped).or(newest);
                rest = after;
            }
            let last = (whole > 0).then(|| Title::new(texts[(whole - 1) % texts.len()].clone()));
            prop_assert_eq!(&stripped[..], &audio[..]);
            prop_assert_eq!(newest, last);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..600), metaint in 1..20_usize) {
            let mut audio = BytesMut::new();
            let newest = Stripper::new(Some(metaint)).push(&bytes, &mut audio);
            prop_assert!(audio.len() <= bytes.len());
            prop_assert!(block(newest.as_ref()).len() <= 1 + BLOCK_BYTES_MAX);
        }
    }
}
