//! Where frames begin and end whose headers tell their length: MPEG audio and ADTS. Pure.
//!
//! Any bytes may look like a header. So a place where nothing is known counts as the begin of a frame only if enough headers
//! that agree follow each other from there; and a frame counts as whole only if a header or a tag follows it: one that was
//! cut, as at the joint of two sources, is left out and what follows is looked for within it.

use autoradio_common::limits::STREAM_LOCK_BYTES_MAX;

use super::tags::{Tag, tag};

/// What the header of a frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Bytes of the frame, the header included.
    pub(super) bytes: usize,
    /// Equal in all frames of a stream.
    pub(super) key: u32,
}

/// Reads a header from the front of some bytes.
pub(super) type ReadHead = fn(&[u8]) -> Option<Head>;

/// Bytes that a header needs to be read, and a tag to be seen as one.
pub(super) const HEAD_BYTES: usize = 6;

/// Headers that must agree.
pub(super) const HEADS: usize = 2;

/// What stands at the front of the bytes that have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// More bytes are needed to say.
    Wait,
    /// So many bytes that belong to no frame.
    Junk(usize),
    /// A tag of so many bytes, of which not all need have come.
    Tag(usize),
    /// A whole frame of so many bytes.
    Frame(usize),
    /// No frames for too long: this is another kind of stream.
    Lost,
}

/// Whether frames begin at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begin {
    /// They do.
    Yes,
    /// They do not.
    No,
    /// More bytes are needed to say.
    Short,
}

/// Whether `heads` headers that agree follow each other from the front of `bytes`.
pub(super) fn begins(read: ReadHead, bytes: &[u8], heads: usize) -> Begin {
    let (mut at, mut key) = (0, None);
    for _ in 0..heads {
        let Some(rest) = bytes.get(at..).filter(|rest| rest.len() >= HEAD_BYTES) else {
            return Begin::Short;
        };
        match read(rest) {
            Some(head) if key.is_none_or(|key| key == head.key) => {
                at += head.bytes;
                key = Some(head.key);
            }
            _ => return Begin::No,
        }
    }
    Begin::Yes
}

/// Takes a stream apart into frames.
#[derive(Debug)]
pub(super) struct Sync {
    read: ReadHead,
    /// Whether the front of what comes next is where a frame has ended.
    locked: bool,
    /// Bytes of junk since the last frame.
    junk_bytes: usize,
}

impl Sync {
    /// For a stream at a place where frames begin.
    pub(super) fn new(read: ReadHead) -> Self {
        Self { read, locked: true, junk_bytes: 0 }
    }

    /// What stands at the front of `bytes`; except with `Wait` and `Lost` it is taken.
    pub(super) fn step(&mut self, bytes: &[u8]) -> Step {
        if self.locked
            && let Some(step) = self.locked_step(bytes)
        {
            return step;
        }
        self.search(bytes)
    }

    /// The frame or tag at the front, or `None` if there is none, and frames must be looked for.
    fn locked_step(&mut self, bytes: &[u8]) -> Option<Step> {
        if bytes.len() < HEAD_BYTES {
            return Some(Step::Wait);
        }
        if let Some(head) = (self.read)(bytes) {
            let after = bytes.get(head.bytes..).filter(|after| after.len() >= HEAD_BYTES);
            let Some(after) = after else {
                return Some(Step::Wait);
            };
            // Only so many bytes, or it would matter how many more have come.
            if (self.read)(after).is_some() || tag(&after[..HEAD_BYTES]) != Tag::None {
                self.junk_bytes = 0;
                return Some(Step::Frame(head.bytes));
            }
        } else {
            match tag(bytes) {
                Tag::Bytes(bytes) => return Some(Step::Tag(bytes)),
                Tag::Short => return Some(Step::Wait),
                Tag::None => {}
            }
        }
        self.locked = false;
        None
    }

    fn search(&mut self, bytes: &[u8]) -> Step {
        let left = STREAM_LOCK_BYTES_MAX - self.junk_bytes;
        let places = bytes.len().min(left);
        let mut found = (0..places).map(|at| (at, begins(self.read, &bytes[at..], HEADS)));
        let (at, begin) =
            found.find(|(_, begin)| *begin != Begin::No).unwrap_or((places, Begin::No));
        self.locked = begin == Begin::Yes;
        if at > 0 {
            self.junk_bytes += at;
            return Step::Junk(at);
        }
        match begin {
            Begin::Yes => self.step(bytes),
            _ if left == 0 => Step::Lost,
            _ => Step::Wait,
        }
    }
}
