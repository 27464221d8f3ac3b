//! Watches the next two neighbours, and ends the lease of one whose daemon is gone.
//!
//! A lease says within its time that a node is dead; a closed port says it at once. Only a refusal counts: the neighbour's
//! own kernel says that nobody listens. A daemon that starts again meanwhile has a lease of its own and is not touched.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::fold::json;
use super::{ClusterError, Key, NodeName, NodeRecord, Snapshot, Store};
use crate::peer::{Probe, neighbours, probe};

/// How often neighbours are probed.
const PROBE_EVERY: Duration = Duration::from_millis(500);
/// Pause before a refusal is tried again.
const CONFIRM_AFTER: Duration = Duration::from_millis(100);

/// Watches this node's neighbours.
pub(super) struct Neighbours {
    pub(super) own: NodeName,
    pub(super) snapshots: watch::Receiver<Arc<Snapshot>>,
    pub(super) store: Store,
    /// Password between daemons.
    pub(super) password: String,
}

impl Neighbours {
    /// Runs until cancelled.
    pub(super) async fn run(self, cancel: CancellationToken) {
        cancel.run_until_cancelled(Box::pin(self.watch())).await;
    }

    async fn watch(self) {
        // Who was seen alive. A port that was never open to us may be closed by a firewall, and one that is closed by
        // a firewall later costs its node one lease, not one after the other.
        let mut seen: HashSet<(NodeName, String)> = HashSet::new();
        let mut ticks = tokio::time::interval(PROBE_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let nodes = neighbours(&self.snapshots.borrow(), &self.own);
            let identity = |node: &NodeRecord| (node.name.clone(), node.id.clone());
            seen.retain(|known| nodes.iter().any(|node| identity(node) == *known));
            let mut probes = JoinSet::new();
            for node in nodes {
                let password = self.password.clone();
                probes.spawn(async move { (probe(&node, &password).await, node) });
            }
            for (probed, node) in probes.join_all().await {
                match probed {
                    Probe::Open => drop(seen.insert(identity(&node))),
                    Probe::Refused if seen.contains(&identity(&node)) => {
                        match self.end_if_gone(&node).await {
                            Ok(false) => {}
                            Ok(true) => drop(seen.remove(&identity(&node))),
                            Err(error) => debug!(%error, node = %node.name, "lease not ended"),
                        }
                    }
                    Probe::Refused | Probe::Unknown => {}
                }
            }
        }
    }

    /// Revokes the lease of a node that refused, if it refuses again while that lease is still the node's.
    async fn end_if_gone(&self, node: &NodeRecord) -> Result<bool, ClusterError> {
        let Some(lease) = self.lease_of(node).await? else { return Ok(false) };
        tokio::time::sleep(CONFIRM_AFTER).await;
        if probe(node, &self.password).await != Probe::Refused
            || self.lease_of(node).await? != Some(lease)
        {
            return Ok(false);
        }
        warn!(
            node = %node.name, address = %node.peer_address, port = node.http_port, lease,
            "the daemon of a neighbour is gone, its port is closed: ending its lease"
        );
        match self.store.revoke(lease).await {
            // Its other watcher, or etcd itself, was faster.
            Err(ClusterError::LeaseLost) => {}
            revoked => revoked?,
        }
        metrics::counter!("autoradio_cluster_leases_ended_total").increment(1);
        Ok(true)
    }

    /// The lease under which the record of this very node stands.
    async fn lease_of(&self, node: &NodeRecord) -> Result<Option<i64>, ClusterError> {
        let found = self.store.leased(&Key::Node(node.name.clone()).to_string()).await?;
        Ok(found.and_then(|(value, lease)| {
            let record: NodeRecord = json(&value).ok()?;
            (record.id == node.id && lease != 0).then_some(lease)
        }))
    }
}
