//! Follows the cluster: snapshot → placement → zone → kernel and userspace.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tracing::{error, info};

use super::SharedKernel;
use super::status::lock;
use crate::cluster::{NodeRecord, Snapshot};
use crate::dns::{Responder, Zone, ZoneSettings, compile};
use crate::placement::{Placement, place};

/// How often the kernel program's lease is pushed ahead: ten times before it ends.
const RENEW_EVERY: Duration = Duration::from_secs(1);

/// What turns snapshots into what sinks act on.
pub(super) struct Follower {
    pub(super) own: Arc<NodeRecord>,
    pub(super) snapshots: watch::Receiver<Arc<Snapshot>>,
    pub(super) placements: watch::Sender<Arc<Placement>>,
    pub(super) zone_settings: ZoneSettings,
    pub(super) responder: Arc<Responder>,
    pub(super) kernel: SharedKernel,
}

impl Follower {
    /// Runs until the snapshots end.
    ///
    /// The kernel's lease is renewed by the same loop that brings it new zones: if this one stops, the other must too.
    pub(super) async fn run(mut self) {
        let mut renewals = tokio::time::interval(RENEW_EVERY);
        loop {
            tokio::select! {
                changed = self.snapshots.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let snapshot = self.snapshots.borrow_and_update().clone();
                    self.act_on(&snapshot);
                }
                _ = renewals.tick() => self.renew_lease(),
            }
        }
    }

    /// Brings everything to where `snapshot` is.
    pub(super) fn act_on(&self, snapshot: &Snapshot) {
        let placement = Arc::new(place(&snapshot.or_alone(&self.own)));
        let zone = Arc::new(compile(&placement, &self.zone_settings));
        self.responder.publish(zone.clone());
        self.publish_in_kernel(&zone);
        let before = self.placements.send_replace(placement.clone());
        let nodes = |placement: &Placement| placement.nodes.keys().cloned().collect::<Vec<_>>();
        if nodes(&before) != nodes(&placement) {
            info!(nodes = ?nodes(&placement), "the nodes in force have changed");
        }
    }

    fn publish_in_kernel(&self, zone: &Zone) {
        let Some(kernel) = &self.kernel else { return };
        if let Err(error) = lock(kernel).publish(zone) {
            error!(%error, "the kernel program lacks the newest zone: userspace answers");
        }
    }

    fn renew_lease(&self) {
        let Some(kernel) = &self.kernel else { return };
        if let Err(error) = lock(kernel).renew_lease() {
            error!(%error, "the lease of the kernel program could not be renewed");
        }
    }
}
