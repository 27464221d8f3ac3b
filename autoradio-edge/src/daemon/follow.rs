//! Follows the cluster: snapshot → placement → zone → kernel and userspace.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tracing::{error, info, warn};

use super::SharedKernel;
use super::status::lock;
use crate::clock;
use crate::cluster::{NodeRecord, Snapshot};
use crate::dns::{Responder, Zone, ZoneSettings, compile, same_zone};
use crate::placement::{Ledger, Placement, Placer};

/// How often the kernel program's lease is pushed ahead, ten times before it ends, and how often weights move.
const TICK: Duration = Duration::from_secs(1);

/// What turns snapshots into what sinks act on.
pub(super) struct Follower {
    pub(super) own: Arc<NodeRecord>,
    pub(super) snapshots: watch::Receiver<Arc<Snapshot>>,
    pub(super) placements: watch::Sender<Arc<Placement>>,
    pub(super) placer: Placer,
    pub(super) ledger: Arc<Mutex<Ledger>>,
    pub(super) zone_settings: ZoneSettings,
    pub(super) responder: Arc<Responder>,
    pub(super) kernel: SharedKernel,
    /// The placement whose zone is in force; `None` before the first, and while the kernel lacks the newest.
    pub(super) compiled: Option<Arc<Placement>>,
}

impl Follower {
    /// Runs until the snapshots end.
    ///
    /// The kernel's lease is renewed by the same loop that brings it new zones: if this one stops, the other must too.
    pub(super) async fn run(mut self) {
        let mut ticks = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                changed = self.snapshots.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.act();
                }
                _ = ticks.tick() => {
                    self.act();
                    self.renew_lease();
                }
            }
        }
    }

    /// Brings everything to where the newest snapshot is.
    pub(super) fn act(&mut self) {
        let snapshot = self.snapshots.borrow_and_update().clone();
        let failed_open = self.placer.is_failing_open();
        let placement = Arc::new(place(&mut self.placer, &snapshot, &self.own, &self.ledger));
        if self.placer.is_failing_open() != failed_open {
            report_fail_open(!failed_open);
        }
        self.publish_zone(&placement);
        // Most ticks change nothing, and whoever follows placements need not hear of them.
        self.placements.send_if_modified(|before| {
            let changed = before.revision != placement.revision || **before != *placement;
            let nodes = |placement: &Placement| placement.nodes.keys().cloned().collect::<Vec<_>>();
            if nodes(before) != nodes(&placement) {
                info!(nodes = ?nodes(&placement), "the nodes in force have changed");
            }
            *before = placement;
            changed
        });
    }

    /// A zone that says the same again is not worth a swap in the kernel.
    fn publish_zone(&mut self, placement: &Arc<Placement>) {
        if self.compiled.as_ref().is_some_and(|compiled| same_zone(compiled, placement)) {
            return;
        }
        let zone = Arc::new(compile(placement, &self.zone_settings));
        self.responder.publish(zone.clone());
        self.compiled = self.publish_in_kernel(&zone).then(|| placement.clone());
    }

    fn publish_in_kernel(&self, zone: &Zone) -> bool {
        let Some(kernel) = &self.kernel else { return true };
        let published = lock(kernel).publish(zone);
        if let Err(error) = &published {
            error!(%error, "the kernel program lacks the newest zone: userspace answers");
        }
        published.is_ok()
    }

    fn renew_lease(&self) {
        let Some(kernel) = &self.kernel else { return };
        if let Err(error) = lock(kernel).renew_lease() {
            error!(%error, "the lease of the kernel program could not be renewed");
        }
    }
}

/// Places a snapshot now, with what was assigned since the reports in it.
pub(super) fn place(
    placer: &mut Placer,
    snapshot: &Snapshot,
    own: &Arc<NodeRecord>,
    ledger: &Mutex<Ledger>,
) -> Placement {
    let now_ms = clock::boot_ms();
    let mut ledger = ledger.lock().unwrap_or_else(PoisonError::into_inner);
    ledger.note_reports(&snapshot.loads, now_ms);
    placer.place(&snapshot.or_alone(own), now_ms, &ledger)
}

fn report_fail_open(failing_open: bool) {
    metrics::gauge!("autoradio_placement_fail_open").set(f64::from(u8::from(failing_open)));
    if failing_open {
        warn!("too little of the cluster is left to choose from: all its nodes weigh the same");
    } else {
        info!("nodes are weighed by their headroom again");
    }
}
