//! Clients that measure: they ask, stream and listen without a pause, and know to the millisecond
//! when something stopped working and when it worked again.
//!
//! Each is a thread that has entered the network of a client host and speaks from sockets of its
//! own, because starting a program for every question would take longer than what is measured.

mod crowd;
mod dns;
mod frames;
mod garbage;
mod hearing;
mod hostile;
mod listener;
mod message;
mod ogg;
mod page;
pub(crate) mod source;
mod storm;
mod stream;

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub use crowd::{Crowd, Party, Tally as CrowdTally};
pub use dns::DnsProber;
pub use frames::Format;
pub use garbage::{Flood, Garbage};
pub use hostile::{Counts, Hostiles, Manner};
pub use listener::{Heard, ListenerProber};
pub use page::Page;
pub use source::{Loss, Session, SourceProber};
pub use storm::{DnsStorm, Said, Tally};
pub use stream::{Asked, DnsStream};

use crate::{Client, LabError, Node, clock, netns};

/// A point in time on a clock that never jumps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(Instant);

impl Moment {
    /// Now.
    pub fn now() -> Self {
        Self(clock::now())
    }

    /// Milliseconds from `earlier` to this; 0 if that is not earlier.
    pub fn ms_since(self, earlier: Self) -> u64 {
        u64::try_from(self.since(earlier).as_millis()).unwrap_or(u64::MAX)
    }

    fn since(self, earlier: Self) -> Duration {
        self.0.saturating_duration_since(earlier.0)
    }
}

/// A node as clients know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its name: the first label of what a redirect to it says.
    pub name: String,
    /// Where it is.
    pub address: Ipv4Addr,
}

impl Target {
    /// A node of the lab.
    pub fn of(node: &Node) -> Self {
        Self { name: node.host().name().to_owned(), address: node.host().v4() }
    }
}

/// A thread inside a client's network, which ends when this is dropped.
#[derive(Debug)]
struct Worker {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Runs `work` in the network of `client` until it returns; it looks at its argument, which
    /// turns true when it should.
    fn start(
        client: &Client,
        work: impl FnOnce(&AtomicBool) + Send + 'static,
    ) -> Result<Self, LabError> {
        let stop = Arc::new(AtomicBool::new(false));
        let (namespace, asked) = (client.host().namespace().to_owned(), stop.clone());
        let (entered, entry) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let result = netns::enter(&namespace);
            let inside = result.is_ok();
            entered.send(result).unwrap_or_default();
            if inside {
                work(&asked);
            }
        });
        let gone = || failed("starting a prober")(io::ErrorKind::BrokenPipe.into());
        entry.recv().map_err(|_| gone())??;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            // A prober that panicked has said so; its owner finds that nothing was measured.
            thread.join().unwrap_or_default();
        }
    }
}

fn stopped(stop: &AtomicBool) -> bool {
    stop.load(Ordering::SeqCst)
}

fn failed(what: &'static str) -> impl FnOnce(io::Error) -> LabError {
    move |source| LabError::Probe { what, source }
}

/// Whether an error of a socket only says that nothing came in time.
fn is_silence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
