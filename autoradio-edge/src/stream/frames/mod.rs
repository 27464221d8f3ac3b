//! Frames: bytes of an upstream in, whole frames out, with the places where a listener may join.
//!
//! In: audio without ICY blocks, in any pieces; the word that the upstream is lost. Out: [`Framed`]. What comes out does not depend
//! on the pieces. Never here: sockets, clocks, decoding.

mod adts;
mod detect;
mod mpeg;
mod splice;
mod sync;
mod tags;

use bytes::{Buf, Bytes, BytesMut};

use detect::{Detector, Found};
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
}

#[derive(Debug)]
enum State {
    Detecting,
    Frames(Sync),
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

    /// The upstream is lost, and what has begun is dropped. The bytes pushed next are a new connection's: what of them listeners
    /// have had already is left out, as far as it can be told (`splice.rs` says how far).
    pub fn interrupt(&mut self, _out: &mut Framed) {
        self.buffer.clear();
        self.skip_bytes = 0;
        self.detector.reset();
        self.splice.interrupt();
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
        match &mut self.state {
            State::Detecting => return self.detect(),
            State::Frames(sync) => match sync.step(&self.buffer) {
                Step::Wait => return false,
                Step::Junk(bytes) | Step::Tag(bytes) => self.skip_bytes = bytes,
                Step::Frame(bytes) => self.splice.push(&self.buffer.split_to(bytes), out),
                Step::Lost => {
                    self.detector.reset();
                    self.state = State::Detecting;
                }
            },
            State::Raw => {
                out.append(&self.buffer.split(), true);
            }
        }
        true
    }

    fn detect(&mut self) -> bool {
        match self.detector.look(&self.buffer) {
            Found::Wait => return false,
            Found::Tag(bytes) => self.skip_bytes = bytes,
            Found::Codec(codec, at) => {
                self.skip_bytes = at;
                self.codec = Some(codec);
                self.state = match codec {
                    Codec::Mpeg => State::Frames(Sync::new(mpeg::head)),
                    Codec::Adts => State::Frames(Sync::new(adts::head)),
                    Codec::Ogg | Codec::Raw => State::Raw,
                };
            }
        }
        true
    }
}
