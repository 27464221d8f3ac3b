//! MP3 whose every frame says which one it is, so that a listener can tell when it was made. Pure.
//!
//! A frame of MPEG-1 layer III at 128 kbit/s, 44.1 kHz, mono, is 417 bytes: a header, side
//! information (all zero: silence), and room that decoders skip, where the words go.

use std::time::Duration;

/// Bytes of one frame.
pub(crate) const FRAME_BYTES: usize = 417;
/// Time that one frame plays: 1152 samples.
pub(crate) const FRAME_TIME: Duration = Duration::from_nanos(1_152_000_000_000 / 44_100);

const HEADER: [u8; 4] = [0xFF, 0xFB, 0x90, 0xC4];
const SIDE_BYTES: usize = 17;
const WORD: &str = "autoradio session ";
const DIGITS: usize = 8;

/// Frame `number` of a session.
pub(crate) fn frame(session: u32, number: u32) -> Vec<u8> {
    let mut frame = HEADER.to_vec();
    frame.resize(HEADER.len() + SIDE_BYTES, 0);
    frame.extend(format!("{WORD}{session:0DIGITS$} frame {number:0DIGITS$}\n").bytes());
    frame.resize(FRAME_BYTES, b'.');
    frame
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
        let frame = frame(3, 70_000);
        assert_eq!(frame.len(), FRAME_BYTES);
        assert!(!frame[1..].contains(&0xFF));
        assert_eq!(FRAME_TIME.as_micros(), 26_122);
    }

    #[test]
    fn only_whole_words_of_later_sessions_count() {
        let heard = [frame(1, 9), frame(2, 0), frame(2, 1)].concat();
        assert_eq!(later_than(0, &heard), 3);
        assert_eq!(later_than(1, &heard), 2);
        assert_eq!(later_than(2, &heard), 0);
        assert_eq!(later_than(1, &heard[..FRAME_BYTES * 2 - 380]), 0, "cut inside the number");
    }
}
