//! The program's ring buffer of traced queries, read out.

use std::os::fd::{AsFd, BorrowedFd};

use autoradio_common::trace::TraceEvent;
use aya::maps::{MapData, RingBuf};

/// Queries as the program saw them, oldest first. Its descriptor is readable while there are some.
pub struct TraceEvents {
    ring: RingBuf<MapData>,
}

impl TraceEvents {
    pub(super) fn new(ring: RingBuf<MapData>) -> Self {
        Self { ring }
    }
}

/// Takes them out of the buffer; ends where it is empty for now.
impl Iterator for TraceEvents {
    type Item = TraceEvent;

    fn next(&mut self) -> Option<TraceEvent> {
        loop {
            // The program writes nothing but whole events.
            if let Some(event) = TraceEvent::from_bytes(&self.ring.next()?) {
                return Some(event);
            }
        }
    }
}

impl AsFd for TraceEvents {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }
}
