//! Streams whose every frame says which one it is, so that a listener can tell when it was made, and whether it has missed one. Pure.
//!
//! - MP3: a frame of MPEG-1 layer III at 128 kbit/s, 44.1 kHz, mono, is 417 bytes: a header, side information (all zero: silence),
//!   and room that decoders skip, where the words go.
//! - AAC: a frame of ADTS. The words stand where its audio would be.
//! - Ogg: a page of Opus (`ogg.rs`). So do they there.

use std::time::Duration;

use super::ogg;

/// Bytes of one frame of MP3.
const MP3_BYTES: usize = 417;
/// What it begins with: header and side information.
const MP3_HEADER: [u8; 21] = {
    let mut header = [0; 21];
    (header[0], header[1], header[2], header[3]) = (0xFF, 0xFB, 0x90, 0xC4);
    header
};
/// Bytes of one frame of AAC: 128 kbit/s.
const AAC_BYTES: usize = 372;
/// MPEG-4 AAC-LC, no checksum, 44.1 kHz, mono, of that length (ISO/IEC 14496-3 §1.A.2.2).
const AAC_HEADER: [u8; 7] =
    [0xFF, 0xF1, 0x50, 0x40 | (AAC_BYTES >> 11) as u8, (AAC_BYTES >> 3) as u8, 0x9F, 0xFC];

const WORD: &str = "autoradio session ";
const BETWEEN: &str = " frame ";
const DIGITS: usize = 8;
/// Bytes of the words.
const WORDS_BYTES: usize = WORD.len() + DIGITS + BETWEEN.len() + DIGITS + 1;

/// A kind of numbered stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Format {
    /// MPEG audio, layer III.
    Mp3,
    /// AAC in ADTS.
    Aac,
    /// Opus in Ogg.
    Ogg,
}

/// A frame's session, and its number there, from 0.
pub(super) type Number = (u32, u32);

impl Format {
    /// What a source says that it sends.
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Mp3 => "audio/mpeg",
            Self::Aac => "audio/aac",
            Self::Ogg => "application/ogg",
        }
    }

    /// Time that one frame plays: 1152 and 1024 samples at 44.1 kHz; 20 ms.
    pub(crate) fn frame_time(self) -> Duration {
        match self {
            Self::Mp3 => Duration::from_nanos(1_152_000_000_000 / 44_100),
            Self::Aac => Duration::from_nanos(1_024_000_000_000 / 44_100),
            Self::Ogg => Duration::from_millis(20),
        }
    }

    /// What stands before the first frame of a session.
    pub(super) fn beginning(self, session: u32) -> Vec<u8> {
        match self {
            Self::Mp3 | Self::Aac => Vec::new(),
            Self::Ogg => ogg::headers(session),
        }
    }

    /// A frame.
    pub(crate) fn frame(self, number: Number) -> Vec<u8> {
        match self {
            Self::Mp3 => filled(&MP3_HEADER, number, MP3_BYTES),
            Self::Aac => filled(&AAC_HEADER, number, AAC_BYTES),
            Self::Ogg => ogg::audio(number),
        }
    }

    /// Bytes of a frame's beginning before the words; `None` of Ogg, whose pages tell.
    pub(super) fn plain(self) -> Option<(usize, usize)> {
        match self {
            Self::Mp3 => Some((MP3_HEADER.len(), MP3_BYTES)),
            Self::Aac => Some((AAC_HEADER.len(), AAC_BYTES)),
            Self::Ogg => None,
        }
    }
}

/// `start`, the words, and as many dots as make it so long.
pub(super) fn filled(start: &[u8], (session, number): Number, bytes: usize) -> Vec<u8> {
    let mut frame = start.to_vec();
    frame.extend(format!("{WORD}{session:0DIGITS$}{BETWEEN}{number:0DIGITS$}\n").bytes());
    frame.resize(bytes, b'.');
    frame
}

/// What the words at the front of `bytes` say.
pub(super) fn number(bytes: &[u8]) -> Option<Number> {
    let words = std::str::from_utf8(bytes.get(..WORDS_BYTES)?).ok()?;
    let (session, number) = words.strip_prefix(WORD)?.trim_end().split_once(BETWEEN)?;
    Some((session.parse().ok()?, number.parse().ok()?))
}

/// How many frames of sessions later than `session` begin in these bytes.
pub(super) fn later_than(session: u32, bytes: &[u8]) -> usize {
    let word = WORD.as_bytes();
    let starts = bytes.windows(word.len()).enumerate().filter(|(_, window)| *window == word);
    let sessions = starts.filter_map(|(at, _)| {
        let digits = bytes.get(at + word.len()..at + word.len() + DIGITS)?;
        std::str::from_utf8(digits).ok()?.parse::<u32>().ok()
    });
    sessions.filter(|found| *found > session).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_have_their_size_and_look_like_a_header_only_where_they_begin() {
        for (format, bytes) in [(Format::Mp3, MP3_BYTES), (Format::Aac, AAC_BYTES)] {
            let frame = format.frame((3, 70_000));
            assert_eq!(frame.len(), bytes);
            assert!(!frame[1..].contains(&0xFF), "{format:?}");
            let (start, _) = format.plain().unwrap();
            assert_eq!(number(&frame[start..]), Some((3, 70_000)), "{format:?}");
        }
        let [_, _, _, high, middle, low, _] = AAC_HEADER.map(usize::from);
        assert_eq!((high & 3) << 11 | middle << 3 | low >> 5, AAC_BYTES);
        assert_eq!(Format::Mp3.frame_time().as_micros(), 26_122);
    }

    #[test]
    fn words_that_are_cut_or_others_say_nothing() {
        let words = filled(b"", (1, 2), 100);
        assert_eq!(number(&words), Some((1, 2)));
        assert_eq!(number(&words[..WORDS_BYTES - 1]), None);
        assert_eq!(number(&words[1..]), None);
    }

    #[test]
    fn only_whole_words_of_later_sessions_count() {
        let frame = |session, number| Format::Mp3.frame((session, number));
        let heard = [frame(1, 9), frame(2, 0), frame(2, 1)].concat();
        assert_eq!(later_than(0, &heard), 3);
        assert_eq!(later_than(1, &heard), 2);
        assert_eq!(later_than(2, &heard), 0);
        assert_eq!(later_than(1, &heard[..MP3_BYTES * 2 - 380]), 0, "cut inside the number");
    }
}
