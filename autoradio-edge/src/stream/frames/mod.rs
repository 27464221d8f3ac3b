//! Frames: bytes of an upstream in, whole frames out, with the places where a listener may join.
//!
//! In: audio without ICY blocks, in any pieces; the word that the upstream is lost. Out: [`Framed`]. But for where
//! one may join a stream that is passed on as it comes, nothing depends on the pieces. Never here: sockets, clocks, decoding.

// What a stream is.
mod detect;
mod tags;

// Frames whose headers tell their length.
mod adts;
mod mpeg;
mod splice;
mod sync;

// Pages.
mod ogg;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use bytes::{Buf, Bytes, BytesMut};

use detect::{Detector, Found};
use ogg::Ogg;
use splice::Splice;
use sync::{Step, Sync};

/// What a stream is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// Frames of MPEG audio, layers I to III.
    Mpeg,
    /// Frames of AAC in ADTS.
    Adts,
    /// Pages of Ogg, whatever is in them.
    Ogg,
    /// Anything else: passed on as it comes.
    Raw,
}

/// What has become of the bytes that were pushed. Whoever takes it leaves an empty one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Framed {
    /// Whole frames only, or with [`Codec::Raw`] everything.
    pub bytes: BytesMut,
    /// Offsets in `bytes` where a listener may join, rising. If there are `headers`, all are theirs.
    pub borders: Vec<usize>,
    /// From here on, who joins gets these first; they are part of `bytes` too. Empty: from here on nothing.
    pub headers: Option<Bytes>,
}

impl Framed {
    /// Appends a frame.
    fn append(&mut self, frame: &[u8], border: bool) {
        if border {
            self.borders.push(self.bytes.len());
        }
        self.bytes.extend_from_slice(frame);
    }

    /// From here on, listeners who join get other headers first.
    fn head(&mut self, headers: Bytes) {
        self.borders.clear();
        self.headers = Some(headers);
    }
}

/// Takes an upstream's audio apart, and puts that of one upstream after that of another.
#[derive(Debug)]
pub struct Framer {
    detector: Detector,
    state: State,
    /// What the stream was found to be last.
    codec: Option<Codec>,
    /// What has come and is not passed on yet.
    buffer: BytesMut,
    /// Bytes still to come that are no audio.
    skip_bytes: usize,
    splice: Splice,
    ogg: Ogg,
}

#[derive(Debug)]
enum State {
    Detecting,
    Frames(Sync),
    Pages,
    Raw,
}

impl Framer {
    /// For a stream that is said to be of this type. What is in it decides.
    pub fn new(content_type: &str) -> Self {
        Self {
            detector: Detector::new(content_type),
            state: State::Detecting,
            codec: None,
            buffer: BytesMut::new(),
            skip_bytes: 0,
            splice: Splice::default(),
            ogg: Ogg::default(),
        }
    }

    /// What the stream is, once it is known. After [`Framer::interrupt`] what it was, until the new upstream has said.
    pub fn codec(&self) -> Option<Codec> {
        self.codec
    }

    /// Appends to `out` what is whole with these bytes. The last frame of all waits until the next one's header shows that it is.
    pub fn push(&mut self, bytes: &[u8], out: &mut Framed) {
        self.buffer.extend_from_slice(bytes);
        while self.step(out) {}
    }

    /// The upstream is lost: what has begun is dropped, and what plays in Ogg is ended in `out`. The bytes pushed next are a new
    /// connection's: what of them listeners have had already is left out, as far as it can be told (`splice.rs` and `ogg/mod.rs`
    /// say how far).
    pub fn interrupt(&mut self, out: &mut Framed) {
        self.buffer.clear();
        self.skip_bytes = 0;
        self.detector.reset();
        self.splice.interrupt();
        self.ogg.interrupt(out);
        // What could not be taken apart once need not be waited for again.
        if !matches!(self.state, State::Raw) {
            self.state = State::Detecting;
        }
    }

    /// Takes one thing from the front of the buffer; `false` if more must come first.
    fn step(&mut self, out: &mut Framed) -> bool {
        let skipped = self.skip_bytes.min(self.buffer.len());
        self.buffer.advance(skipped);
        self.skip_bytes -= skipped;
        if self.buffer.is_empty() {
            return false;
        }
        let step = match &mut self.state {
            State::Detecting => return self.detect(out),
            State::Raw => Step::Frame(self.buffer.len()),
            State::Frames(sync) => sync.step(&self.buffer),
            State::Pages => self.ogg.step(&self.buffer),
        };
        match step {
            Step::Wait => return false,
            Step::Junk(bytes) | Step::Tag(bytes) => self.skip_bytes = bytes,
            Step::Frame(bytes) => {
                let frame = self.buffer.split_to(bytes);
                self.take(&frame, out);
            }
            Step::Lost => {
                self.detector.reset();
                self.ogg.reset();
                self.state = State::Detecting;
            }
        }
        true
    }

    fn take(&mut self, frame: &[u8], out: &mut Framed) {
        match &self.state {
            State::Frames(_) => self.splice.push(frame, out),
            State::Pages => {
                if let Some(headers) = self.ogg.push(frame, out) {
                    self.turn_into(Codec::Raw, out);
                    self.take(&headers, out);
                }
            }
            State::Detecting | State::Raw => out.append(frame, true),
        }
    }

    fn detect(&mut self, out: &mut Framed) -> bool {
        match self.detector.look(&self.buffer) {
            Found::Wait => return false,
            Found::Tag(bytes) => self.skip_bytes = bytes,
            Found::Codec(codec, at) => {
                self.skip_bytes = at;
                self.turn_into(codec, out);
            }
        }
        true
    }

    /// From here on the stream is this.
    fn turn_into(&mut self, codec: Codec, out: &mut Framed) {
        if codec != Codec::Ogg && self.codec == Some(Codec::Ogg) {
            self.ogg.end(out);
            out.head(Bytes::new());
        }
        self.codec = Some(codec);
        self.state = match codec {
            Codec::Mpeg => State::Frames(Sync::new(mpeg::head)),
            Codec::Adts => State::Frames(Sync::new(adts::head)),
            Codec::Ogg => State::Pages,
            Codec::Raw => State::Raw,
        };
    }
}
