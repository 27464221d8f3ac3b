//! Keeps the secrets of DNS cookies: tells which count, and rolls them when it is time.
//!
//! In: snapshots. Out: the secrets in force, at once when they change. Any node rolls, by transaction, so one of them does.

use std::sync::Arc;
use std::time::Duration;

use autoradio_common::cookie::CookieKeys;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::cookies::{CookieRecord, RecordAge};
use super::{Snapshot, Store, Stored};
use crate::clock;

/// How often it looks whether the secrets in force have changed sides, or should be rolled.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// What keeps the secrets on one node.
pub(super) struct CookieKeeper {
    store: Store,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    keys: watch::Sender<CookieKeys>,
    /// Revision of the record as it is, and since when this process has seen it so.
    seen: (i64, u64),
    failing: bool,
}

impl CookieKeeper {
    /// One that has looked at the snapshot of this moment, and where it tells the secrets in force.
    pub(super) fn new(
        store: Store,
        snapshots: watch::Receiver<Arc<Snapshot>>,
    ) -> (Self, watch::Receiver<CookieKeys>) {
        let (keys, told) = watch::channel(CookieKeys::default());
        let mut keeper =
            Self { store, snapshots, keys, seen: (0, clock::boot_ms()), failing: false };
        keeper.look();
        (keeper, told)
    }

    /// Keeps them until cancelled.
    pub(super) async fn run(mut self, cancel: CancellationToken) {
        let keeping = async {
            let mut ticks = tokio::time::interval(LOOK_EVERY);
            loop {
                tokio::select! {
                    changed = self.snapshots.changed() => {
                        if changed.is_err() {
                            return;
                        }
                        self.look();
                    }
                    _ = ticks.tick() => self.roll_if_due().await,
                }
            }
        };
        cancel.run_until_cancelled(keeping).await;
    }

    /// Tells the secrets in force, if they have changed; the record and its age, if there is one.
    fn look(&mut self) -> Option<(Arc<Stored<CookieRecord>>, RecordAge)> {
        let stored = self.snapshots.borrow_and_update().cookies.clone()?;
        let now_ms = clock::boot_ms();
        if self.seen.0 != stored.mod_revision {
            self.seen = (stored.mod_revision, now_ms);
        }
        let age = RecordAge {
            wall_s: clock::unix_s().saturating_sub(stored.record.rolled_unix_s),
            seen_s: (now_ms - self.seen.1) / 1_000,
        };
        let keys = stored.record.keys(age);
        self.keys.send_if_modified(|before| std::mem::replace(before, keys) != keys);
        Some((stored, age))
    }

    async fn roll_if_due(&mut self) {
        let done = match self.look() {
            Some((stored, age)) if age.is_due() => self.store.roll_cookies(&stored).await,
            Some(_) => return,
            // Somebody has deleted it. Damaged, it stays: a newer version may have written it.
            None => self.store.make_cookies().await,
        };
        match &done {
            Ok(true) => info!("new secrets for DNS cookies"),
            Err(error) if !self.failing => {
                warn!(%error, "the secrets of DNS cookies stay as they are: trying on");
            }
            _ => {}
        }
        self.failing = done.is_err();
    }
}
