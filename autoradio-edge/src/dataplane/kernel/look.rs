//! Looking into the running program: counters, traced queries, the time that it takes.
//!
//! Tracing and timing cost the program something, so they are on while somebody looks and off when nobody does. Tracing
//! has a deadline, so it ends by itself when nobody lives to say so; timing goes on after a killed daemon until the next
//! one starts.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use autoradio_common::limits::KERNEL_LATENCY_BUCKETS;
use autoradio_common::trace::TraceEvent;
use autoradio_common::verdict::Verdict;
use tokio::io::unix::AsyncFd;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::super::DataplaneError;
use super::super::lookers::{Lookers, TracedName};
use super::{Kernel, TraceEvents};
use crate::clock;

/// Queries that wait for whoever looks; who is slower loses the oldest.
const WAITING_MAX: usize = 1_024;
/// Queries taken from the ring before other tasks have their turn.
const BATCH: usize = 256;
/// How long the program goes on showing queries without hearing from the daemon.
const TRACE_MS: u64 = 3_000;
/// How often it hears from it while somebody looks.
const RENEW_EVERY: Duration = Duration::from_secs(1);

/// Looks into one kernel program on behalf of many.
pub struct Look {
    kernel: Arc<Mutex<Kernel>>,
    queries: broadcast::Sender<Arc<TraceEvent>>,
    lookers: Mutex<Lookers>,
    /// How many have the program timed.
    timing: Mutex<usize>,
}

impl Look {
    /// Looks into `kernel`.
    pub fn new(kernel: Arc<Mutex<Kernel>>) -> Arc<Self> {
        let queries = broadcast::channel(WAITING_MAX).0;
        Arc::new(Self { kernel, queries, lookers: Mutex::default(), timing: Mutex::default() })
    }

    /// Carries traced queries from the program to those who look, until cancelled.
    pub async fn run(self: Arc<Self>, cancel: CancellationToken) {
        let Some(events) = locked(&self.kernel).trace_events() else { return };
        let carried = cancel.run_until_cancelled(self.carry(events)).await;
        if let Some(Err(error)) = carried {
            warn!(%error, "queries in the kernel cannot be traced");
        }
    }

    async fn carry(&self, mut events: TraceEvents) -> io::Result<()> {
        let ready = watched(events.as_fd().try_clone_to_owned()?)?;
        let mut renew = tokio::time::interval(RENEW_EVERY);
        loop {
            tokio::select! {
                readable = ready.readable() => {
                    let mut readable = readable?;
                    let batch = events.by_ref().take(BATCH).map(|event| {
                        // An error means that nobody looks any more.
                        self.queries.send(Arc::new(event)).unwrap_or_default()
                    });
                    if batch.count() < BATCH {
                        readable.clear_ready();
                    }
                    tokio::task::yield_now().await;
                }
                _ = renew.tick() => {
                    if !locked(&self.lookers).is_empty() {
                        self.tell_kernel();
                    }
                }
            }
        }
    }

    /// Packets per verdict since the program was loaded.
    pub fn verdicts(&self) -> Result<Vec<(Verdict, u64)>, DataplaneError> {
        locked(&self.kernel).verdicts()
    }

    /// Has queries for `name` shown for as long as the result lives.
    pub fn at_queries(self: &Arc<Self>, name: TracedName) -> Result<QueryLook, DataplaneError> {
        let number = locked(&self.lookers).enter(name).ok_or(DataplaneError::TooManyLook)?;
        let look =
            QueryLook { queries: self.queries.subscribe(), name, number, look: self.clone() };
        self.tell_kernel();
        Ok(look)
    }

    /// Has the program timed for as long as the result lives.
    pub fn at_latency(self: &Arc<Self>) -> Result<LatencyLook, DataplaneError> {
        let mut timing = locked(&self.timing);
        *timing += 1;
        // From here on, whatever fails, the drop counts back.
        let mut look = LatencyLook { look: self.clone(), before: [0; _] };
        drop(timing);
        let mut kernel = locked(&self.kernel);
        kernel.set_histogram(true)?;
        look.before = kernel.latency()?;
        drop(kernel);
        Ok(look)
    }

    fn tell_kernel(&self) {
        let until_ns = clock::monotonic_ns() + TRACE_MS * 1_000_000;
        let filter = locked(&self.lookers).filter(until_ns);
        if let Err(error) = locked(&self.kernel).set_trace(filter) {
            warn!(%error, "the kernel program was not told which queries to trace");
        }
    }
}

/// Somebody who looks at queries.
pub struct QueryLook {
    look: Arc<Look>,
    queries: broadcast::Receiver<Arc<TraceEvent>>,
    name: TracedName,
    number: u64,
}

impl QueryLook {
    /// The next query for the name, or how many were lost before it because they came too fast. It does not end when the
    /// node stops: who waits for it listens for that too.
    pub async fn next(&mut self) -> Option<Result<Arc<TraceEvent>, u64>> {
        loop {
            match self.queries.recv().await {
                Ok(event) if self.name[0] == 0 || event.name_lower == self.name => {
                    return Some(Ok(event));
                }
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(lost)) => return Some(Err(lost)),
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

impl Drop for QueryLook {
    fn drop(&mut self) {
        locked(&self.look.lookers).leave(self.number);
        self.look.tell_kernel();
    }
}

/// Somebody who has the program timed.
pub struct LatencyLook {
    look: Arc<Look>,
    before: [u64; KERNEL_LATENCY_BUCKETS],
}

impl LatencyLook {
    /// Queries since it began, by the time that the program took for them: element `n` counts those of `2^n` up to
    /// `2^(n+1)` nanoseconds.
    pub fn so_far(&self) -> Result<[u64; KERNEL_LATENCY_BUCKETS], DataplaneError> {
        let mut buckets = locked(&self.look.kernel).latency()?;
        for (now, before) in buckets.iter_mut().zip(self.before) {
            *now = now.saturating_sub(before);
        }
        Ok(buckets)
    }
}

impl Drop for LatencyLook {
    fn drop(&mut self) {
        let mut timing = locked(&self.look.timing);
        *timing -= 1;
        if *timing > 0 {
            return;
        }
        if let Err(error) = locked(&self.look.kernel).set_histogram(false) {
            warn!(%error, "the kernel program goes on timing itself");
        }
    }
}

/// A descriptor whose readiness is waited for.
#[expect(
    deprecated,
    reason = "its successor is not safe to call for any type; an owned descriptor stays open until it is dropped"
)]
fn watched(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::new(descriptor)
}

/// What is behind these locks is whole, whoever panicked while holding one.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
