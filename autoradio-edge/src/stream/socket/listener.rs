//! One listener: its socket, and what is written to it.

use std::io::{self, IoSlice, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::Ordering;

use autoradio_common::limits::{
    HTTP_STALL_MS_MAX, STREAM_LOOK_MS, STREAM_RING_BYTES_MIN, STREAM_SKIPS_MAX, STREAM_SKIPS_MS,
    STREAM_SLICES, STREAM_WRITES_MAX,
};

use crate::cluster::MountPath;
use crate::stream::channel::Membership;
use crate::stream::cursor::Cursor;
use crate::stream::ring::View;

/// What a listener holds of the node: its place, its count. Dropped when it has gone.
pub trait Seat: Send {
    /// Counts bytes that went to listeners of the same mount.
    fn sent(&self, bytes: u64);

    /// The listener hears another mount from now on.
    fn move_to(&mut self, mount: &MountPath);
}

/// Why a listener is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// It went, or its connection failed.
    Gone,
    /// It took nothing for long.
    Stalled,
    /// It lagged again and again.
    Lagged,
    /// Somebody wanted it.
    Told,
    /// Its stream has ended.
    StreamEnded,
}

impl Why {
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Stalled => "stalled",
            Self::Lagged => "lagged",
            Self::Told => "told",
            Self::StreamEnded => "stream_ended",
        }
    }
}

/// What one tick did to a listener.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ticked {
    /// Bytes written.
    pub(super) bytes: u64,
    /// It skipped to the live edge.
    pub(super) skipped: bool,
    /// It is to be closed.
    pub(super) over: Option<Why>,
}

/// A listener's socket and position. Times are milliseconds of the boot-time clock.
pub(in crate::stream) struct Listener {
    stream: TcpStream,
    pub(super) cursor: Cursor,
    pub(super) member: Membership,
    pub(super) seat: Box<dyn Seat>,
    /// When it last took something, or had everything.
    well_ms: u64,
    /// When it was last looked at whether it is still there.
    looked_ms: u64,
    skipped_ms: u64,
    skips: u8,
}

impl Listener {
    /// One whose socket does not block.
    pub(super) fn new(
        stream: TcpStream,
        cursor: Cursor,
        member: Membership,
        seat: Box<dyn Seat>,
        now_ms: u64,
    ) -> Self {
        Self {
            stream,
            cursor,
            member,
            seat,
            well_ms: now_ms,
            looked_ms: now_ms,
            skipped_ms: 0,
            skips: 0,
        }
    }

    /// Writes what is new.
    pub(super) fn tick(&mut self, view: &View, burst_bytes: u64, now_ms: u64) -> Ticked {
        let mut ticked = Ticked::default();
        if self.member.visit.close.load(Ordering::Relaxed) {
            ticked.over = Some(Why::Told);
            return ticked;
        }
        self.cursor.join(view, burst_bytes);
        if is_far_behind(self.cursor.lag(view), view) && self.cursor.skip(view) {
            ticked.skipped = true;
            if self.skips_too_often(now_ms) {
                ticked.over = Some(Why::Lagged);
                return ticked;
            }
        }
        ticked.over = self.write(view, now_ms, &mut ticked.bytes);
        let visit = &self.member.visit;
        visit.lag_bytes.store(self.cursor.lag(view), Ordering::Relaxed);
        visit.bytes.fetch_add(ticked.bytes, Ordering::Relaxed);
        ticked
    }

    /// Writes until the listener has everything or takes no more.
    fn write(&mut self, view: &View, now_ms: u64, written: &mut u64) -> Option<Why> {
        for _ in 0..STREAM_WRITES_MAX {
            let mut slices = [IoSlice::new(&[]); STREAM_SLICES];
            let (count, bytes) = self.cursor.slices(view, &mut slices);
            if count == 0 {
                break;
            }
            match (&self.stream).write_vectored(&slices[..count]) {
                Ok(0) => return Some(Why::Gone),
                Ok(taken) => {
                    self.cursor.advance(view, taken);
                    *written += taken as u64;
                    if taken < bytes {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => return Some(Why::Gone),
            }
        }
        if *written > 0 {
            (self.well_ms, self.looked_ms) = (now_ms, now_ms);
            return None;
        }
        if self.cursor.is_at_end(view) {
            self.well_ms = now_ms;
        } else if now_ms - self.well_ms >= HTTP_STALL_MS_MAX {
            return Some(Why::Stalled);
        }
        self.look(now_ms)
    }

    /// Looks now and then whether a listener to whom nothing is written is still there. One that has closed its sending side
    /// cannot be told from one that has gone: while something plays, the next write tells; while nothing plays, it has gone.
    fn look(&mut self, now_ms: u64) -> Option<Why> {
        if now_ms - self.looked_ms < STREAM_LOOK_MS {
            return None;
        }
        self.looked_ms = now_ms;
        let mut dropped = [0; 512];
        match (&self.stream).read(&mut dropped) {
            Ok(0) => Some(Why::Gone),
            Ok(_) => None,
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => None,
                _ => Some(Why::Gone),
            },
        }
    }

    fn skips_too_often(&mut self, now_ms: u64) -> bool {
        if now_ms - self.skipped_ms >= STREAM_SKIPS_MS {
            self.skips = 0;
        }
        self.skipped_ms = now_ms;
        self.skips += 1;
        self.skips > STREAM_SKIPS_MAX
    }

    /// Reads what the listener has sent, since a close over unread bytes is a reset, which would take the last audio from it.
    pub(super) fn close(self) {
        let mut dropped = [0; 4 * 1024];
        let _ = (&self.stream).read(&mut dropped);
    }
}

/// Whether the ring is about to let go of what a listener has not had: a quarter of it is left.
fn is_far_behind(lag: u64, view: &View) -> bool {
    let kept = view.end() - view.start();
    kept >= STREAM_RING_BYTES_MIN && lag >= kept - kept / 4
}
