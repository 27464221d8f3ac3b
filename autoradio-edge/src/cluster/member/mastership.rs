//! The mounts this node is master of: adopted from its earlier lease, claimed, given back, handed over.

use std::convert::Infallible;
use std::time::Duration;

use tracing::{debug, info};

use super::{Held, Member, RETRY};
use crate::clock;
use crate::cluster::claims::{
    CLAIMS_PER_TRANSACTION, Orphans, held_by, to_give_back, to_hand_over,
};
use crate::cluster::mounts::to_json;
use crate::cluster::{ClusterError, Key, MasterRecord, MountPath, Snapshot};

/// Claims between two looks at the newest snapshot, so that orphans which come meanwhile need not wait for long.
const CLAIMS_PER_PASS: usize = 4 * CLAIMS_PER_TRANSACTION;
/// Longest wait for a mount that was handed over to find its master, before the next one goes.
const HAND_OVER_MAX: Duration = Duration::from_secs(1);

impl Member {
    /// Keeps what is ours, then claims what has no master when it is our turn, and gives back what nobody wants.
    pub(super) async fn claim(&self, held: Held) -> Result<Infallible, ClusterError> {
        let mut snapshots = self.snapshots.clone();
        let snapshot = snapshots.borrow().clone();
        self.adopt(held.lease, &snapshot).await?;
        let mut orphans = Orphans::new(self.record.name.clone(), self.preference);
        loop {
            let snapshot = snapshots.borrow_and_update().clone();
            orphans.observe(&snapshot, since_boot());
            let (mut due, _) = orphans.due(since_boot());
            due.truncate(CLAIMS_PER_PASS);
            let answered = match self.claim_once(held.lease, &due, &snapshot).await {
                Err(ClusterError::LeaseLost) => return Err(ClusterError::LeaseLost),
                answered => answered.is_ok(),
            };
            if answered {
                orphans.asked(&due, since_boot());
            }
            let (due, next) = orphans.due(since_boot());
            if answered && !due.is_empty() {
                continue;
            }
            let turn = next.map(|next| next.saturating_sub(since_boot()));
            let wait = if answered { turn } else { Some(self.lease_ttl / 3) };
            tokio::select! {
                changed = snapshots.changed() => if changed.is_err() {
                    // Nobody publishes any more: the node is being stopped, which ends this too.
                    std::future::pending::<()>().await;
                },
                () = tokio::time::sleep(wait.unwrap_or_default()), if wait.is_some() => {}
            }
        }
    }

    /// Keeps the masterships of this node's lease before this one: of a daemon that was killed a moment ago, or of an
    /// outage that is over. They keep their epochs, so nobody is disturbed when the old lease ends.
    async fn adopt(&self, lease: i64, snapshot: &Snapshot) -> Result<(), ClusterError> {
        let value = self.mastership()?;
        let mine = held_by(snapshot, &self.record.name);
        let keys: Vec<String> = mine.map(|path| Key::Master(path.clone()).to_string()).collect();
        for some in keys.chunks(CLAIMS_PER_TRANSACTION) {
            let adopted = self.adopt_patiently(some, &value, lease).await?;
            info!(adopted, "kept the masterships of this node's earlier lease");
        }
        Ok(())
    }

    /// Asks until etcd answers: that it is slow takes no lease away.
    async fn adopt_patiently(
        &self,
        keys: &[String],
        value: &[u8],
        lease: i64,
    ) -> Result<usize, ClusterError> {
        loop {
            match self.store.adopt(keys, value, lease).await {
                Ok(adopted) => return Ok(adopted),
                Err(ClusterError::LeaseLost) => return Err(ClusterError::LeaseLost),
                Err(error) => debug!(%error, "masterships not kept yet: trying on"),
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn claim_once(
        &self,
        lease: i64,
        due: &[MountPath],
        snapshot: &Snapshot,
    ) -> Result<(), ClusterError> {
        let value = self.mastership()?;
        for some in due.chunks(CLAIMS_PER_TRANSACTION) {
            let won = self.store.claim(&keys(some), &value, lease).await?;
            if won > 0 {
                info!(won, first = %some[0], "became master of mounts that had none");
            }
        }
        for some in to_give_back(snapshot, &self.record.name).chunks(CLAIMS_PER_TRANSACTION) {
            self.store.give_back(&keys(some), lease).await?;
        }
        Ok(())
    }

    /// While this node drains: gives its mounts to others, a few at a time, each when the one before has a master.
    pub(super) async fn hand_over(&self, lease: i64) -> Result<Infallible, ClusterError> {
        let mut snapshots = self.snapshots.clone();
        let own = &self.record.name;
        loop {
            let snapshot = snapshots.borrow_and_update().clone();
            let candidates = (self.preference.candidates)(&snapshot);
            let some = to_hand_over(&snapshot, own, &candidates);
            if some.is_empty() {
                if snapshots.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
                continue;
            }
            let masters = some.iter().map(|path| Key::Master(path.clone()).to_string());
            match self.store.release(&masters.collect::<Vec<_>>(), lease).await {
                Ok(released) => info!(released, first = %some[0], "handed over: this node drains"),
                Err(ClusterError::LeaseLost) => return Err(ClusterError::LeaseLost),
                // The wait below is the pause before the next try.
                Err(_) => {}
            }
            let elsewhere = |snapshot: &Snapshot| {
                let master = |path| snapshot.masters.get(path).map(|master| &master.node);
                some.iter().all(|path| master(path).is_some_and(|node| node != own))
            };
            let taken = async { snapshots.wait_for(|snapshot| elsewhere(snapshot)).await.is_ok() };
            // Late or not, the next ones follow: a mount without a master is claimed whatever this node does.
            let _ = tokio::time::timeout(HAND_OVER_MAX, taken).await;
        }
    }

    fn mastership(&self) -> Result<Vec<u8>, ClusterError> {
        to_json("masters", &MasterRecord { node: self.record.name.clone() })
    }
}

fn since_boot() -> Duration {
    Duration::from_nanos(clock::boot_ns())
}

/// For each mount the key of its record and the key of its master.
fn keys(mounts: &[MountPath]) -> Vec<(String, String)> {
    let pair = |path: &MountPath| {
        let mount = Key::Mount(path.clone()).to_string();
        (mount, Key::Master(path.clone()).to_string())
    };
    mounts.iter().map(pair).collect()
}
