//! This node's membership: one lease, and under it the node's record and its masterships.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::follow::HealthReport;
use super::mounts::to_json;
use super::{
    ClusterError, EtcdHealth, Key, MasterRecord, MountPath, NodeRecord, Snapshot, Store, claims,
};

/// Claims in one transaction; etcd takes 128 operations by default.
const CLAIMS_PER_TRANSACTION: usize = 64;
/// Pause before a lost lease is asked for again.
const RETRY: Duration = Duration::from_millis(200);

/// What a node holds in etcd while it lives.
pub(super) struct Member {
    /// A connection whose questions end well within the lease.
    pub(super) store: Store,
    /// What the node says about itself.
    pub(super) record: NodeRecord,
    /// Time to live of the lease.
    pub(super) lease_ttl: Duration,
    /// The cluster, to see which mounts lack a master.
    pub(super) snapshots: watch::Receiver<Arc<Snapshot>>,
    /// Where the lease's state is told.
    pub(super) health: watch::Sender<EtcdHealth>,
}

impl Member {
    /// Holds the membership until cancelled, then gives it up at once by revoking the lease.
    pub(super) async fn run(mut self, cancel: CancellationToken) {
        let mut lease = None;
        loop {
            let ended = tokio::select! {
                ended = self.hold(&mut lease) => ended,
                () = cancel.cancelled() => break,
            };
            let Err(error) = ended;
            if self.health.send_replace_leased(false) {
                warn!(%error, "lease lost: this node's record and claims end with it");
            }
            tokio::select! {
                () = tokio::time::sleep(RETRY) => {}
                () = cancel.cancelled() => break,
            }
        }
        self.health.send_replace_leased(false);
        let Some(lease) = lease else { return };
        match self.store.revoke(lease).await {
            Ok(()) => info!("lease given up"),
            // It ends by itself within its time to live.
            Err(error) => warn!(%error, "lease not given up"),
        }
    }

    /// Takes a lease and keeps it; ends when it is lost.
    async fn hold(&mut self, held: &mut Option<i64>) -> Result<Infallible, ClusterError> {
        let ttl_s = i64::try_from(self.lease_ttl.as_secs()).unwrap_or(i64::MAX).max(1);
        let lease = self.store.grant(ttl_s).await?;
        *held = Some(lease);
        let key = Key::Node(self.record.name.clone()).to_string();
        let value = to_json(&key, &self.record)?;
        self.store.put_leased(&key, &value, lease).await?;
        self.health.send_replace_leased(true);
        info!(lease, ttl_s, node = %self.record.name, "joined the cluster");
        let mut snapshots = self.snapshots.clone();
        let snapshot = snapshots.borrow().clone();
        self.adopt(lease, &snapshot).await?;
        // Both at once: ten thousand claims must not keep the lease waiting.
        tokio::select! {
            ended = self.keep_alive(lease) => ended,
            ended = self.claim(lease, &mut snapshots) => ended,
        }
    }

    /// Keeps the masterships of this node's lease before this one: of a daemon that was killed a moment ago, or of an
    /// outage that is over. They keep their epochs, so nobody is disturbed when the old lease ends.
    async fn adopt(&self, lease: i64, snapshot: &Snapshot) -> Result<(), ClusterError> {
        let value = self.mastership()?;
        let mine = claims::held_by(snapshot, &self.record.name);
        let keys: Vec<String> = mine.map(|path| Key::Master(path.clone()).to_string()).collect();
        for some in keys.chunks(CLAIMS_PER_TRANSACTION) {
            let adopted = self.store.adopt(some, &value, lease).await?;
            info!(adopted, "kept the masterships of this node's earlier lease");
        }
        Ok(())
    }

    fn mastership(&self) -> Result<Vec<u8>, ClusterError> {
        to_json("masters", &MasterRecord { node: self.record.name.clone() })
    }

    /// Extends the lease every third of its time. An etcd that does not answer is asked again: the lease may outlive
    /// the outage, and as long as it does this node's claims stand.
    async fn keep_alive(&self, lease: i64) -> Result<Infallible, ClusterError> {
        let mut ticks = tokio::time::interval(self.lease_ttl / 3);
        loop {
            ticks.tick().await;
            match self.store.keep_alive(lease).await {
                Ok(()) => {
                    if self.health.send_replace_leased(true) {
                        info!(lease, "lease extended again");
                    }
                }
                Err(ClusterError::LeaseLost) => return Err(ClusterError::LeaseLost),
                Err(error) => {
                    if self.health.send_replace_leased(false) {
                        warn!(%error, "lease not extended: trying on");
                    }
                }
            }
        }
    }

    /// Claims what has no master, on every change of the cluster, and again after a while if etcd did not answer.
    async fn claim(
        &self,
        lease: i64,
        snapshots: &mut watch::Receiver<Arc<Snapshot>>,
    ) -> Result<Infallible, ClusterError> {
        loop {
            let snapshot = snapshots.borrow_and_update().clone();
            let answered = match self.claim_once(lease, &snapshot).await {
                Err(ClusterError::LeaseLost) => return Err(ClusterError::LeaseLost),
                answered => answered,
            };
            let retry = tokio::time::sleep(self.lease_ttl / 3);
            tokio::select! {
                changed = snapshots.changed() => if changed.is_err() {
                    // Nobody publishes any more: the node is being stopped, which ends this too.
                    std::future::pending::<()>().await;
                },
                () = retry, if answered.is_err() => {}
            }
        }
    }

    async fn claim_once(&self, lease: i64, snapshot: &Snapshot) -> Result<(), ClusterError> {
        let claims = claims::plan(snapshot, &self.record.name);
        if claims.is_empty() {
            return Ok(());
        }
        let value = self.mastership()?;
        for some in claims.claim.chunks(CLAIMS_PER_TRANSACTION) {
            let won = self.store.claim(&keys(some), &value, lease).await?;
            if won > 0 {
                info!(won, first = %some[0], "became master of mounts that had none");
            }
        }
        for some in claims.give_back.chunks(CLAIMS_PER_TRANSACTION) {
            self.store.give_back(&keys(some), lease).await?;
        }
        Ok(())
    }
}

/// For each mount the key of its record and the key of its master.
fn keys(mounts: &[MountPath]) -> Vec<(String, String)> {
    let pair = |path: &MountPath| {
        let mount = Key::Mount(path.clone()).to_string();
        (mount, Key::Master(path.clone()).to_string())
    };
    mounts.iter().map(pair).collect()
}
