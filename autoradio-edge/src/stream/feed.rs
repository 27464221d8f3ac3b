//! From an upstream's bytes to the ring: metadata out, frames whole, one upstream after the other. Pure.

use std::sync::Arc;

use bytes::BytesMut;

use super::error::StreamError;
use super::frames::{Codec, Framed, Framer};
use super::head::StreamHead;
use super::icy::{Stripper, block};
use super::ring::{Piece, Ring, View};

/// What stands between the connections of one channel and its ring.
#[derive(Debug, Default)]
pub(super) struct Feed {
    ring: Ring,
    framer: Option<Framer>,
    /// What listeners hear, once it is known.
    codec: Option<Codec>,
    stripper: Option<Stripper>,
    audio: BytesMut,
}

impl Feed {
    /// What there is to hear.
    pub(super) fn view(&self) -> Arc<View> {
        self.ring.view()
    }

    /// A connection begins.
    pub(super) fn begin(&mut self, head: &StreamHead) {
        self.stripper = Some(Stripper::new(head.metaint));
        self.framer.get_or_insert_with(|| Framer::new(&head.content_type));
    }

    /// Takes bytes of the connection that came at `now_ms`. Returns how many bytes there are more to hear; the error says that
    /// they are of another codec than what listeners have heard.
    pub(super) fn push(&mut self, bytes: &[u8], now_ms: u64) -> Result<usize, StreamError> {
        let (Some(framer), Some(stripper)) = (&mut self.framer, &mut self.stripper) else {
            return Ok(0);
        };
        self.audio.clear();
        let title = stripper.push(bytes, &mut self.audio);
        let mut out = Framed::default();
        framer.push(&self.audio, &mut out);
        // Until something comes out, the framer means the last connection's codec.
        if let (false, Some(now)) = (out.bytes.is_empty(), framer.codec()) {
            let before = *self.codec.get_or_insert(now);
            if before != now {
                let (type_now, type_before) = (name(now).to_owned(), name(before).to_owned());
                // Nothing of it may come before what the next connection brings.
                self.framer = None;
                return Err(StreamError::OtherType { type_now, type_before });
            }
        }
        if let Some(title) = title {
            self.ring.set_title(block(Some(&title)));
        }
        let more = out.bytes.len();
        self.ring.append(piece(out), now_ms);
        Ok(more)
    }

    /// The connection is lost: what has begun is dropped, or ended so that another one can follow.
    pub(super) fn interrupt(&mut self, now_ms: u64) {
        self.stripper = None;
        let Some(framer) = &mut self.framer else { return };
        let mut out = Framed::default();
        framer.interrupt(&mut out);
        self.ring.append(piece(out), now_ms);
    }
}

/// New headers hold from the first border after them.
fn piece(framed: Framed) -> Piece {
    let from = framed.borders.first().copied().unwrap_or(framed.bytes.len());
    Piece {
        headers: framed.headers.map(|headers| (from, headers)),
        borders: framed.borders,
        bytes: framed.bytes.freeze(),
    }
}

fn name(codec: Codec) -> &'static str {
    match codec {
        Codec::Mpeg => "MPEG audio",
        Codec::Adts => "AAC",
        Codec::Ogg => "Ogg",
        Codec::Raw => "no known frames",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames of MPEG 1 layer III, 128 kb/s at 44.1 kHz, without padding: 417 bytes each.
    fn mpeg(frames: usize, letter: u8) -> Vec<u8> {
        let frame = [&[0xff, 0xfb, 0x90, 0xc4][..], &[letter; 413]].concat();
        frame.repeat(frames)
    }

    fn head(line: &str) -> StreamHead {
        StreamHead::of(format!("HTTP/1.0 200 OK\r\n{line}\r\n").as_bytes())
    }

    #[test]
    fn titles_go_beside_the_audio_and_a_lost_connection_leaves_whole_frames() {
        let mut feed = Feed::default();
        feed.begin(&head("Content-Type: audio/mpeg\r\nicy-metaint:1000\r\n"));
        let audio = mpeg(7, b'a');
        let title = b"\x01StreamTitle='x';";
        let sent = [&audio[..1_000], title, &audio[1_000..2_000], b"\0", &audio[2_000..]].concat();
        assert!(feed.push(&sent, 0).expect("the same codec") > 0);
        feed.interrupt(0);
        feed.begin(&head("Content-Type: audio/mpeg\r\n"));
        feed.push(&mpeg(10, b'b'), 0).expect("the same codec");
        let view = feed.view();
        let heard: Vec<u8> = view.slices(0).flatten().copied().collect();
        let letters: Vec<u8> = heard.chunks_exact(417).map(|frame| frame[416]).collect();
        assert_eq!(heard.len() % 417, 0);
        assert!(letters.starts_with(b"aaaaa") && letters.ends_with(b"bbbbbbb"), "{letters:?}");
        assert_eq!(view.title_at(2_000).expect("a title").block[1..17], title[1..]);
        assert_eq!(view.border_from(1), Some(417));
    }

    #[test]
    fn a_stream_that_turns_out_to_be_something_else_does_not_reach_the_ring() {
        let mut feed = Feed::default();
        feed.begin(&head("Content-Type: audio/mpeg\r\n"));
        feed.push(&mpeg(10, b'a'), 0).expect("something");
        let end = feed.view().end();
        feed.interrupt(0);
        feed.begin(&head("Content-Type: audio/mpeg\r\n"));
        let other = feed.push(&vec![0; 70_000], 0);
        assert!(matches!(other, Err(StreamError::OtherType { .. })), "{other:?}");
        assert_eq!(feed.view().end(), end);
        feed.interrupt(0);
        feed.begin(&head("Content-Type: audio/mpeg\r\n"));
        feed.push(&mpeg(10, b'c'), 0).expect("what it was");
        assert!(feed.view().end() > end);
    }
}
