//! What goes through this front right now: sources, listeners and bytes per mount.
//!
//! Written by tunnels and listeners, read by the status page, the admin API and HEAD.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde::Serialize;

use super::socket::Leave;
use crate::clock;
use crate::cluster::MountPath;
use crate::placement::Placement;

/// Live counters of the front, shared by everything that reads or moves them.
#[derive(Debug, Default)]
pub struct FrontStats {
    mounts: Mutex<BTreeMap<MountPath, Arc<MountCounters>>>,
}

/// One mount as seen from this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MountView {
    /// The mount's path.
    pub path: MountPath,
    /// Listeners connected to this node.
    pub listeners: u64,
    /// Whether the mount's source is connected to this node.
    pub source_connected: bool,
    /// How long the source has been connected, 0 without one.
    pub source_seconds: u64,
    /// Bytes of audio taken from sources.
    pub bytes_in: u64,
    /// Bytes sent to listeners, stream heads included.
    pub bytes_out: u64,
}

/// All mounts that had a source or a listener on this node, and their sums.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FrontView {
    /// The mounts, by path.
    pub mounts: Vec<MountView>,
    /// Listeners over all mounts.
    pub listeners: u64,
    /// Sources over all mounts.
    pub sources: u64,
    /// Bytes of audio taken from sources over all mounts.
    pub bytes_in: u64,
    /// Bytes sent to listeners over all mounts.
    pub bytes_out: u64,
}

#[derive(Debug, Default)]
struct MountCounters {
    listeners: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    source: Mutex<Option<LiveSource>>,
}

#[derive(Clone, Debug)]
struct LiveSource {
    since: Instant,
    content_type: String,
}

impl FrontStats {
    /// Everything as it is now.
    pub fn view(&self) -> FrontView {
        let now = clock::now();
        let mounts: Vec<MountView> =
            locked(&self.mounts).iter().map(|(path, counters)| counters.view(path, now)).collect();
        FrontView {
            listeners: mounts.iter().map(|mount| mount.listeners).sum(),
            sources: mounts.iter().map(|mount| u64::from(mount.source_connected)).sum(),
            bytes_in: mounts.iter().map(|mount| mount.bytes_in).sum(),
            bytes_out: mounts.iter().map(|mount| mount.bytes_out).sum(),
            mounts,
        }
    }

    /// All sources: mount, since when, content type.
    pub fn sources(&self) -> Vec<(MountPath, Instant, String)> {
        let mounts = locked(&self.mounts);
        let source_of = |(path, counters): (&MountPath, &Arc<MountCounters>)| {
            let source = locked(&counters.source).clone()?;
            Some((path.clone(), source.since, source.content_type))
        };
        mounts.iter().filter_map(source_of).collect()
    }

    /// Content type of the mount's source, `None` while none is connected to this node.
    pub(super) fn live_content_type(&self, mount: &MountPath) -> Option<String> {
        let counters = locked(&self.mounts).get(mount)?.clone();
        let source = locked(&counters.source);
        source.as_ref().map(|source| source.content_type.clone())
    }

    /// Forgets mounts that are gone from the placement and from this node.
    pub(super) fn keep(&self, placement: &Placement) {
        locked(&self.mounts).retain(|path, counters| {
            placement.mounts.contains_key(path) || Arc::strong_count(counters) > 1
        });
    }

    /// Takes a listener's seat; `None` when `listeners_max` are taken.
    pub(super) fn seat(
        self: &Arc<Self>,
        mount: &MountPath,
        listeners_max: Option<u32>,
    ) -> Option<Seat> {
        let counters = self.counters(mount);
        let max = listeners_max.map_or(u64::MAX, u64::from);
        counters
            .listeners
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |listeners| {
                (listeners < max).then_some(listeners + 1)
            })
            .ok()?;
        metrics::gauge!("autoradio_http_listeners").increment(1.0);
        Some(Seat { stats: self.clone(), counters, leave: None })
    }

    /// Marks the mount's source as connected.
    pub(super) fn on_air(&self, mount: &MountPath, content_type: &str) -> OnAir {
        let counters = self.counters(mount);
        *locked(&counters.source) =
            Some(LiveSource { since: clock::now(), content_type: content_type.to_owned() });
        metrics::gauge!("autoradio_http_sources").increment(1.0);
        OnAir { counters }
    }

    fn counters(&self, mount: &MountPath) -> Arc<MountCounters> {
        locked(&self.mounts).entry(mount.clone()).or_default().clone()
    }
}

impl MountCounters {
    fn view(&self, path: &MountPath, now: Instant) -> MountView {
        let source = locked(&self.source).clone();
        MountView {
            path: path.clone(),
            listeners: self.listeners.load(Ordering::Relaxed),
            source_connected: source.is_some(),
            source_seconds: source.map_or(0, |source| (now - source.since).as_secs()),
            bytes_in: self.bytes_in.load(Ordering::Relaxed),
            bytes_out: self.bytes_out.load(Ordering::Relaxed),
        }
    }
}

/// A listener, counted while this lives.
#[derive(Debug)]
pub(super) struct Seat {
    stats: Arc<FrontStats>,
    counters: Arc<MountCounters>,
    /// Tells whoever let the listener in that it has left.
    leave: Option<Box<Leave>>,
}

impl Seat {
    /// The seat of a listener whose leaving is told.
    pub(super) fn until(mut self, leave: Option<Box<Leave>>) -> Self {
        self.leave = leave;
        self
    }

    /// Counts bytes sent to the listener, or to several of the same mount.
    pub(super) fn sent(&self, bytes: u64) {
        self.counters.bytes_out.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts the listener to another mount, even if that has all it may have.
    pub(super) fn move_to(&mut self, mount: &MountPath) {
        let counters = self.stats.counters(mount);
        counters.listeners.fetch_add(1, Ordering::Relaxed);
        self.counters.listeners.fetch_sub(1, Ordering::Relaxed);
        self.counters = counters;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.counters.listeners.fetch_sub(1, Ordering::Relaxed);
        metrics::gauge!("autoradio_http_listeners").decrement(1.0);
    }
}

/// A connected source, live while this lives.
#[derive(Debug)]
pub(super) struct OnAir {
    counters: Arc<MountCounters>,
}

impl OnAir {
    /// Counts audio bytes taken from the source.
    pub(super) fn received(&self, bytes: usize) {
        self.counters.bytes_in.fetch_add(bytes as u64, Ordering::Relaxed);
        metrics::counter!("autoradio_http_source_bytes_total").increment(bytes as u64);
    }
}

impl Drop for OnAir {
    fn drop(&mut self) {
        *locked(&self.counters.source) = None;
        metrics::gauge!("autoradio_http_sources").decrement(1.0);
    }
}

/// A panic elsewhere cannot leave these maps half-written, so a poisoned lock is as good as any.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::super::testing::placement_of;
    use super::*;

    #[test]
    fn what_lives_is_counted_and_what_ended_is_not() {
        let stats = Arc::new(FrontStats::default());
        let mount: MountPath = "/m".parse().expect("a mount path");
        let on_air = stats.on_air(&mount, "audio/ogg");
        let mut seat = stats.seat(&mount, Some(1)).expect("a free seat");
        assert!(stats.seat(&mount, Some(1)).is_none(), "one seat only");
        on_air.received(10);
        seat.sent(20);
        let view = stats.view();
        assert_eq!((view.sources, view.listeners), (1, 1));
        assert_eq!((view.bytes_in, view.bytes_out), (10, 20));
        let sources = stats.sources();
        assert_eq!(sources.len(), 1);
        assert_eq!((&sources[0].0, sources[0].2.as_str()), (&mount, "audio/ogg"));
        assert_eq!(stats.live_content_type(&mount).as_deref(), Some("audio/ogg"));
        seat.move_to(&"/other".parse().expect("a mount path"));
        assert!(stats.seat(&mount, Some(1)).is_some(), "its seat is free");
        let listeners =
            |view: FrontView| view.mounts.iter().map(|it| it.listeners).collect::<Vec<_>>();
        assert_eq!(listeners(stats.view()), [0, 1]);
        stats.keep(&placement_of(&[]));
        drop((on_air, seat));
        let view = stats.view();
        assert_eq!((view.sources, view.listeners, view.bytes_in), (0, 0, 10));
        assert!(stats.sources().is_empty());
        stats.keep(&placement_of(&[]));
        assert_eq!(stats.view(), FrontView::default());
    }
}
