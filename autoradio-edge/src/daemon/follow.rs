//! Follows the cluster: snapshot → placement → zone → kernel and userspace.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tracing::{error, info};

use super::status::lock;
use super::{Kernel, Placement, SharedKernel};
use crate::cluster::Snapshot;
use crate::dns::{Responder, Zone, ZoneSettings, compile};
use crate::placement::place;

/// How often the kernel program's lease is pushed ahead: ten times before it ends.
const RENEW_EVERY: Duration = Duration::from_secs(1);

/// What turns snapshots into what sinks act on.
pub(super) struct Follower {
    pub(super) snapshots: watch::Receiver<Arc<Snapshot>>,
    pub(super) placements: watch::Sender<Arc<Placement>>,
    pub(super) zone_settings: ZoneSettings,
    pub(super) responder: Arc<Responder>,
    pub(super) kernel: SharedKernel,
}

impl Follower {
    /// Runs until the snapshots end.
    pub(super) async fn run(mut self) {
        loop {
            let snapshot = self.snapshots.borrow_and_update().clone();
            self.act_on(&snapshot);
            if self.snapshots.changed().await.is_err() {
                return;
            }
        }
    }

    fn act_on(&self, snapshot: &Snapshot) {
        let placement = Arc::new(place(snapshot));
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
        let mut kernel = lock(kernel);
        if let Err(error) = kernel.publish(zone) {
            // An old zone in the kernel would contradict userspace: let userspace answer.
            error!(%error, "the kernel program has lost its zone: userspace answers");
            let _ = kernel.end_lease();
        }
    }
}

/// Pushes the lease of the kernel program ahead for as long as this daemon lives and runs.
pub(super) async fn renew_lease(kernel: Arc<Mutex<Kernel>>) {
    let mut ticks = tokio::time::interval(RENEW_EVERY);
    loop {
        ticks.tick().await;
        if let Err(error) = lock(&kernel).renew_lease() {
            error!(%error, "the lease of the kernel program could not be renewed");
        }
    }
}
