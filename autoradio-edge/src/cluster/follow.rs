//! Keeps a [`State`] current and publishes it: list once, watch, resume, list again only after compaction.

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use autoradio_common::limits::MOUNTS_MAX;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::mounts::fold_listing;
use super::{ClusterError, Damaged, EtcdHealth, PREFIX, Snapshot, State, Store};
use crate::clock;
use crate::supervise::Backoff;

/// Least time between two snapshots: at most 20 a second.
const SNAPSHOT_PACE: Duration = Duration::from_millis(50);
/// Longest pause between two attempts to reach etcd. Backing off further would only make the return later.
const RETRY_MAX: Duration = Duration::from_secs(1);

/// Follows etcd and publishes snapshots. The last one stays in force whatever happens to etcd.
pub(super) struct Follower {
    store: Store,
    state: State,
    relist: bool,
    snapshots: watch::Sender<Arc<Snapshot>>,
    published_at: Instant,
    unpublished: bool,
    reported: HashSet<Damaged>,
}

impl Follower {
    /// Lists the cluster, so that the first snapshot is whole.
    pub(super) async fn start(store: Store) -> Result<Self, ClusterError> {
        let (snapshots, _) = watch::channel(Arc::new(Snapshot::default()));
        let mut follower = Self {
            store,
            state: State::default(),
            relist: true,
            snapshots,
            published_at: clock::now(),
            unpublished: false,
            reported: HashSet::new(),
        };
        follower.list().await?;
        Ok(follower)
    }

    /// The snapshots, from the first whole one on.
    pub(super) fn snapshots(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.snapshots.subscribe()
    }

    /// Follows until cancelled.
    pub(super) async fn run(
        mut self,
        health: watch::Sender<EtcdHealth>,
        cancel: CancellationToken,
    ) {
        let mut backoff = Backoff::default();
        loop {
            let since = clock::now();
            let ended = tokio::select! {
                ended = self.follow(&health) => ended,
                () = cancel.cancelled() => return,
            };
            let Err(error) = ended;
            self.relist |= matches!(error, ClusterError::Compacted | ClusterError::Restored);
            // What was folded but not yet due is published now: it is the last that is known for some time.
            self.publish();
            if health.send_replace_watching(false) {
                let revision = self.state.revision();
                warn!(%error, revision, "etcd lost: the last snapshot stays in force");
            }
            let wait = backoff.wait_after(clock::now() - since).min(RETRY_MAX);
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = cancel.cancelled() => return,
            }
        }
    }

    async fn follow(
        &mut self,
        health: &watch::Sender<EtcdHealth>,
    ) -> Result<Infallible, ClusterError> {
        if self.relist {
            self.list().await?;
        }
        let mut watch = self.store.watch(self.state.revision() + 1).await?;
        if health.send_replace_watching(true) {
            info!(revision = self.state.revision(), "etcd is followed");
        }
        loop {
            let due = tokio::time::Instant::from_std(self.published_at + SNAPSHOT_PACE);
            tokio::select! {
                events = watch.next() => {
                    for event in events? {
                        let damaged = self.state.apply(&event);
                        self.report(damaged);
                        self.unpublished = true;
                    }
                }
                () = tokio::time::sleep_until(due), if self.unpublished => self.publish(),
            }
        }
    }

    async fn list(&mut self) -> Result<(), ClusterError> {
        let (revision, events) = self.store.list(PREFIX).await?;
        let (state, damaged) = fold_listing(revision, &events);
        self.state = state;
        self.relist = false;
        self.report(damaged);
        self.unpublished = true;
        self.publish();
        Ok(())
    }

    fn publish(&mut self) {
        if !self.unpublished {
            return;
        }
        self.report(self.state.beyond_limits());
        self.snapshots.send_replace(Arc::new(self.state.snapshot()));
        self.published_at = clock::now();
        self.unpublished = false;
    }

    /// Logs each damaged record once per change of it.
    fn report(&mut self, damaged: impl IntoIterator<Item = Damaged>) {
        for damaged in damaged {
            if self.reported.len() > MOUNTS_MAX {
                // Rather say something twice than remember without limit.
                self.reported.clear();
            }
            if self.reported.insert(damaged.clone()) {
                let Damaged { key, mod_revision, reason } = damaged;
                warn!(key, mod_revision, reason, "record skipped: damaged");
            }
        }
    }
}

/// Changing one part of the health without touching the other.
pub(super) trait HealthReport {
    /// Notes whether changes are followed. True if that is news.
    fn send_replace_watching(&self, watching: bool) -> bool;
    /// Notes whether the node's lease lives. True if that is news.
    fn send_replace_leased(&self, leased: bool) -> bool;
}

impl HealthReport for watch::Sender<EtcdHealth> {
    fn send_replace_watching(&self, watching: bool) -> bool {
        self.send_if_modified(|health| {
            std::mem::replace(&mut health.watching, watching) != watching
        })
    }

    fn send_replace_leased(&self, leased: bool) -> bool {
        self.send_if_modified(|health| std::mem::replace(&mut health.leased, leased) != leased)
    }
}
