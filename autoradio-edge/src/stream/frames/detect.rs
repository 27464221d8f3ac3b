//! What a stream is, decided by what is in it. Pure.
//!
//! The content type is a hint only: ffmpeg calls everything `audio/mpeg` unless told otherwise. It says how much proof frames of
//! MPEG audio and ADTS need: in a stream that is said to be something else, more headers must agree.

use autoradio_common::limits::STREAM_LOCK_BYTES_MAX;

use super::sync::{Begin, HEAD_BYTES, HEADS, ReadHead, begins};
use super::tags::{Tag, tag};
use super::{Codec, adts, mpeg, ogg};

/// Headers that must agree in a stream that is said to be something else.
const HEADS_DOUBTED: usize = 4;

/// Types of streams that have such frames, or whose sender did not know.
const FRAMED_TYPES: [&str; 9] = [
    "",
    "audio/mpeg",
    "audio/mp3",
    "audio/x-mpeg",
    "audio/aac",
    "audio/aacp",
    "audio/x-aac",
    "audio/mp4",
    "application/octet-stream",
];

/// What is known of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing yet.
    Wait,
    /// It begins with a tag of so many bytes; what comes after must say.
    Tag(usize),
    /// From this place on it is this.
    Codec(Codec, usize),
}

/// Looks at the front of a stream.
#[derive(Debug)]
pub(super) struct Detector {
    /// Headers that must agree.
    heads: usize,
    /// Before this place nothing begins.
    at: usize,
}

impl Detector {
    /// For a stream that is said to be of this type.
    pub(super) fn new(content_type: &str) -> Self {
        let name = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let heads = if FRAMED_TYPES.contains(&name.as_str()) { HEADS } else { HEADS_DOUBTED };
        Self { heads, at: 0 }
    }

    /// Begins again, with a new stream.
    pub(super) fn reset(&mut self) {
        self.at = 0;
    }

    /// What the stream is of which `bytes` are all that has come. The first `STREAM_LOCK_BYTES_MAX` decide, in whatever pieces they come.
    pub(super) fn look(&mut self, bytes: &[u8]) -> Found {
        if self.at == 0 {
            match tag(bytes) {
                Tag::Bytes(bytes) => return Found::Tag(bytes),
                Tag::Short => return Found::Wait,
                Tag::None => {}
            }
        }
        let window = &bytes[..bytes.len().min(STREAM_LOCK_BYTES_MAX)];
        let full = window.len() == STREAM_LOCK_BYTES_MAX;
        while self.at < window.len() {
            match self.begins(&window[self.at..]) {
                (Begin::Yes, codec) => return Found::Codec(codec, self.at),
                (Begin::Short, _) if !full => return Found::Wait,
                _ => self.at += 1,
            }
        }
        if full { Found::Codec(Codec::Raw, 0) } else { Found::Wait }
    }

    /// Whether a stream begins at the front of `bytes`, and of what.
    fn begins(&self, bytes: &[u8]) -> (Begin, Codec) {
        if bytes.len() < HEAD_BYTES {
            return (Begin::Short, Codec::Raw);
        }
        let framed = |read: ReadHead| begins(read, bytes, self.heads);
        let found = [
            (ogg::begins(bytes), Codec::Ogg),
            (framed(mpeg::head), Codec::Mpeg),
            (framed(adts::head), Codec::Adts),
        ];
        let mut likely = found.into_iter().filter(|(begin, _)| *begin != Begin::No);
        likely.next().unwrap_or((Begin::No, Codec::Raw))
    }
}
