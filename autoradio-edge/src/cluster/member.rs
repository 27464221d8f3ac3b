//! This node's membership: one lease, and under it everything that says that the node lives.
//!
//! `member/mastership.rs` claims, adopts and hands over mounts; `member/reports.rs` tells the node's load, its streams and its wish to
//! drain. All of it ends with the lease and begins anew with the next.

mod mastership;
mod reports;

use std::convert::Infallible;
use std::mem::{Discriminant, discriminant};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::fold::json;
use super::follow::HealthReport;
use super::mounts::to_json;
use super::standing::LeaseClock;
use super::{
    ClusterError, EtcdHealth, Key, LoadRecord, NodeRecord, Preference, Snapshot, Store,
    StreamsRecord,
};
use crate::clock;

/// Pause before a lost lease is asked for again, and between two looks at a name that is taken.
const RETRY: Duration = Duration::from_millis(200);
/// How long past its lease another node of our name may take to go, when this node starts.
const NAME_GRACE: Duration = Duration::from_secs(1);

/// What a node holds in etcd while it lives.
pub(super) struct Member {
    /// A connection whose questions end well within the lease.
    pub(super) store: Store,
    /// What the node says about itself.
    pub(super) record: NodeRecord,
    /// Time to live of the lease, as it is asked for.
    pub(super) lease_ttl: Duration,
    /// The cluster, to see which mounts lack a master.
    pub(super) snapshots: watch::Receiver<Arc<Snapshot>>,
    /// Where the lease's state is told.
    pub(super) health: watch::Sender<EtcdHealth>,
    /// Where the lease's time is told.
    pub(super) clock: LeaseClock,
    /// Who should be master.
    pub(super) preference: Preference,
    /// What this node carries.
    pub(super) load: watch::Receiver<Arc<LoadRecord>>,
    /// The streams that this node's Icecast has.
    pub(super) streams: watch::Receiver<Arc<StreamsRecord>>,
    /// Least time between two reports of either.
    pub(super) heartbeat: Duration,
    /// Whether the node itself wants to take nothing new.
    pub(super) drain_wish: watch::Receiver<bool>,
    /// Fires when the node stops: a lease that ends afterwards is the last.
    pub(super) stopping: CancellationToken,
}

/// A lease of this node, its record written under it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    lease: i64,
    ttl: Duration,
    /// When it was asked for, on the boot-time clock.
    sent_ns: u64,
    /// Revision of the record: a snapshot of it or a later one tells the truth about our mounts.
    revision: i64,
}

impl Member {
    /// Takes a lease and the node's name. A name that another node holds is waited for as long as the lease of a node
    /// that is gone may live; then [`ClusterError::NameTaken`].
    pub(super) async fn enter_patiently(&self) -> Result<Held, ClusterError> {
        let deadline = clock::now() + self.lease_ttl + NAME_GRACE;
        let mut told = false;
        loop {
            match self.enter().await {
                Err(error @ ClusterError::NameTaken { .. }) if clock::now() < deadline => {
                    if !told {
                        warn!(%error, "waiting for the other node's lease to end");
                    }
                    told = true;
                    tokio::time::sleep(RETRY).await;
                }
                entered => return entered,
            }
        }
    }

    /// Holds the membership until cancelled, then gives it up at once by revoking the lease.
    pub(super) async fn run(self, first: Held, cancel: CancellationToken) {
        let mut lease = first.lease;
        let living = async {
            let mut entered = Ok(first);
            let mut told: Option<Discriminant<ClusterError>> = None;
            loop {
                let error = match entered {
                    Ok(held) => {
                        (lease, told) = (held.lease, None);
                        let Err(error) = self.hold(held).await;
                        error
                    }
                    Err(error) => error,
                };
                if told.replace(discriminant(&error)) != Some(discriminant(&error)) {
                    warn!(%error, "this node has no lease: trying to get one");
                }
                tokio::time::sleep(RETRY).await;
                if self.stopping.is_cancelled() {
                    // Its ports are closed: a neighbour was right to end the lease.
                    std::future::pending::<()>().await;
                }
                entered = self.enter().await;
            }
        };
        let _: Option<Infallible> = cancel.run_until_cancelled(Box::pin(living)).await;
        self.health.send_replace_leased(false);
        match self.store.revoke(lease).await {
            Ok(()) => info!("lease given up"),
            // It ends by itself within its time to live.
            Err(error) => warn!(%error, "lease not given up"),
        }
    }

    /// Takes a lease and, under it, the node's name: if nobody holds it, or this node's own earlier lease does.
    async fn enter(&self) -> Result<Held, ClusterError> {
        let key = Key::Node(self.record.name.clone()).to_string();
        let value = to_json(&key, &self.record)?;
        let ttl_s = i64::try_from(self.lease_ttl.as_secs()).unwrap_or(i64::MAX).max(1);
        loop {
            let found = self.store.get(&key).await?;
            // What cannot be read is in force nowhere and may be written over.
            let holder = found.as_ref().and_then(|value| json::<NodeRecord>(&value.bytes).ok());
            if let Some(other) = holder.filter(|holder| !is_same_node(holder, &self.record)) {
                let (name, address) = (other.name, other.peer_address);
                return Err(ClusterError::NameTaken { name, address: address.to_string() });
            }
            let sent_ns = clock::boot_ns();
            let (lease, ttl) = self.store.grant(ttl_s).await?;
            let seen = found.map_or(0, |value| value.mod_revision);
            let written = self.store.put_leased_if(&key, &value, lease, seen).await;
            if let Ok(Some(revision)) = written {
                info!(lease, ttl_s = ttl.as_secs(), node = %self.record.name, "joined the cluster");
                return Ok(Held { lease, ttl, sent_ns, revision });
            }
            // Nobody will extend it, and the record may stand under it though the answer was lost.
            let revoked = self.store.revoke(lease).await;
            written.and(revoked)?;
        }
    }

    /// Lives under a lease; ends when it is lost.
    async fn hold(&self, held: Held) -> Result<Infallible, ClusterError> {
        // All at once: ten thousand claims must not keep the lease waiting.
        let ended = tokio::select! {
            ended = self.keep_alive(held) => ended,
            ended = self.claim(held) => ended,
            ended = self.hand_over(held.lease) => ended,
            ended = self.report_load(held.lease) => ended,
            ended = self.report_streams(held.lease) => ended,
            ended = self.report_wish(held.lease) => ended,
        };
        self.clock.change(|view| view.lost(clock::boot_ns()));
        self.health.send_replace_leased(false);
        ended
    }

    /// Extends the lease every third of its time. An etcd that does not answer is asked again: the lease may outlive
    /// the outage, and as long as it does this node's claims stand.
    ///
    /// The node is sure of itself once its snapshot is as new as the lease: an older one does not say who took its
    /// mounts while it had none.
    async fn keep_alive(&self, held: Held) -> Result<Infallible, ClusterError> {
        let mut snapshots = self.snapshots.clone();
        let (mut known, mut answered_ns) = (false, held.sent_ns);
        let mut ticks = tokio::time::interval(held.ttl / 3);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            let caught_up =
                async { snapshots.wait_for(|it| it.revision >= held.revision).await.is_ok() };
            tokio::select! {
                true = caught_up, if !known => {
                    known = true;
                    self.is_sure(answered_ns, held);
                }
                _ = ticks.tick() => {
                    let sent_ns = clock::boot_ns();
                    match self.store.keep_alive(held.lease).await {
                        Ok(()) => {
                            answered_ns = sent_ns;
                            if known {
                                self.is_sure(answered_ns, held);
                            }
                        }
                        Err(ClusterError::LeaseLost) => return Err(ClusterError::LeaseLost),
                        Err(error) => self.is_unanswered(sent_ns, &error),
                    }
                }
            }
        }
    }

    fn is_sure(&self, answered_ns: u64, held: Held) {
        self.clock.change(|view| view.answered(answered_ns, held.ttl));
        if self.health.send_replace_leased(true) {
            info!(lease = held.lease, "peers see this node");
        }
    }

    fn is_unanswered(&self, sent_ns: u64, error: &ClusterError) {
        self.clock.change(|view| view.silent(sent_ns));
        if self.health.send_replace_leased(false) {
            warn!(%error, "lease not extended: trying on");
        }
    }
}

/// Whether two records are of one node: its state directory, at its place. A copy of the state directory elsewhere is
/// another node; a node that moved waits for its own earlier lease to end.
fn is_same_node(one: &NodeRecord, other: &NodeRecord) -> bool {
    one.id == other.id && one.peer_address == other.peer_address
}
