//! Where a re-attached upstream goes on after what listeners have had: MPEG audio and ADTS. Pure.
//!
//! An upstream begins with a burst, some seconds that were sent before. If it is of the same stream, its first frames stand
//! somewhere in what listeners have had, and all from there on follow, up to the last; the frames after that are new. So the
//! fingerprints of the last frames are kept (`STREAM_REMEMBERED_BYTES_MAX` of them), and the first frames of a new upstream are
//! held back while there is a place in the remembered ones from which all agree. At the remembered end they are left out; once no place
//! is left they are all sent.
//!
//! Frames need not differ: those of digital silence are all alike, and any number of them would fit. So a place counts
//! only if the remembered frames from there on have `DISTINCT` different ones among them (two do not suffice, as padding
//! alternates in silence too), or occur but once in all that is remembered.
//!
//! Limits: a burst that begins before all that is remembered is heard from its beginning, so some of it twice; who is cut off in
//! silence, or in what repeats sooner than that, may hear some of it twice. Of a loop longer than that the shortest repetition
//! is taken, so that some may be heard twice. While several places fit, at most `STREAM_DOUBT_BYTES_MAX` are held back.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hasher};

use autoradio_common::limits::{STREAM_DOUBT_BYTES_MAX, STREAM_REMEMBERED_BYTES_MAX};
use bytes::BytesMut;

use super::Framed;

/// Different frames that make a place certain.
const DISTINCT: usize = 4;

/// One frame that listeners have had, or that is held back.
#[derive(Clone, Copy, Debug)]
struct Print {
    hash: u64,
    bytes: usize,
}

/// Passes frames on, each of a stream once.
#[derive(Debug, Default)]
pub(super) struct Splice {
    had: VecDeque<Print>,
    had_bytes: usize,
    /// While it is not known yet where a new upstream goes on.
    joint: Option<Joint>,
}

/// The first frames of a new upstream.
#[derive(Debug)]
struct Joint {
    /// Places in `had` from which all held frames agree.
    places: Vec<usize>,
    held: Vec<Print>,
    bytes: BytesMut,
}

impl Splice {
    /// The next frame is a new upstream's. Frames held back are dropped: they were in what listeners have had.
    pub(super) fn interrupt(&mut self) {
        let places = self.places();
        self.joint = Some(Joint { places, held: Vec::new(), bytes: BytesMut::new() });
    }

    /// Passes a frame on, now or later, unless listeners have had it.
    pub(super) fn push(&mut self, frame: &[u8], out: &mut Framed) {
        let print = Print { hash: hash(frame), bytes: frame.len() };
        let Some(joint) = &mut self.joint else {
            return self.pass(frame, print, out);
        };
        let index = joint.held.len();
        let had = &self.had;
        joint.places.retain(|place| had[place + index].hash == print.hash);
        joint.held.push(print);
        joint.bytes.extend_from_slice(frame);
        let ended = joint.places.iter().any(|place| place + index + 1 == had.len());
        let doubted = joint.places.len() > 1 && joint.bytes.len() > STREAM_DOUBT_BYTES_MAX;
        if ended {
            self.joint = None;
        } else if joint.places.is_empty() || doubted {
            self.release(out);
        }
    }

    fn release(&mut self, out: &mut Framed) {
        let Some(mut joint) = self.joint.take() else {
            return;
        };
        for print in joint.held {
            self.pass(&joint.bytes.split_to(print.bytes), print, out);
        }
    }

    fn pass(&mut self, frame: &[u8], print: Print, out: &mut Framed) {
        out.append(frame, true);
        self.had.push_back(print);
        self.had_bytes += print.bytes;
        while self.had_bytes > STREAM_REMEMBERED_BYTES_MAX
            && let Some(oldest) = self.had.pop_front()
        {
            self.had_bytes -= oldest.bytes;
        }
    }

    /// Places that count.
    fn places(&self) -> Vec<usize> {
        let mut times: HashMap<u64, usize> = HashMap::new();
        self.had.iter().for_each(|print| *times.entry(print.hash).or_default() += 1);
        let (mut distinct, mut once) = (HashSet::new(), true);
        let mut places = Vec::new();
        for (place, print) in self.had.iter().enumerate().rev() {
            once &= times[&print.hash] == 1;
            if distinct.len() < DISTINCT {
                distinct.insert(print.hash);
            }
            if once || distinct.len() >= DISTINCT {
                places.push(place);
            }
        }
        places
    }
}

fn hash(frame: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(frame);
    hasher.finish()
}
