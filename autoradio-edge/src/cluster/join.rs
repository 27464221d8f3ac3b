//! Joining the cluster: what the daemon calls.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::follow::Follower;
use super::member::Member;
use super::{
    ClusterError, IcecastSecrets, LoadRecord, NodeRecord, Snapshot, Standing, StandingReader,
    Store, TitleWriter,
};

/// What it takes to join.
#[derive(Clone, Debug)]
pub struct ClusterSettings {
    /// URLs of etcd members, `http://host:port`.
    pub endpoints: Vec<String>,
    /// What this node says about itself.
    pub node: NodeRecord,
    /// Time to live of this node's lease; whole seconds count, etcd makes it at least two.
    pub lease_ttl: Duration,
    /// Longest time for one answer of etcd.
    pub timeout: Duration,
    /// What this node carries; published on a change, at most once per `heartbeat`.
    pub load: watch::Receiver<Arc<LoadRecord>>,
    /// Least time between two reports of the load.
    pub heartbeat: Duration,
}

/// How this node stands with etcd. Without it configuration stops changing; nothing else stops.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EtcdHealth {
    /// Changes arrive: the snapshot is as new as etcd.
    pub watching: bool,
    /// The lease was extended at the last try: peers see this node alive.
    pub leased: bool,
}

/// The cluster as the rest of the daemon sees it.
#[derive(Clone, Debug)]
pub struct ClusterHandle {
    /// The newest snapshot: whole from the first one on, and never emptied when etcd is lost.
    pub snapshots: watch::Receiver<Arc<Snapshot>>,
    /// Passwords between daemons and Icecasts.
    pub secrets: IcecastSecrets,
    /// How this node stands with etcd.
    pub health: watch::Receiver<EtcdHealth>,
    /// Whether this node may go on as master of what it holds.
    pub standing: StandingReader,
    /// Keeps the titles of mounts in etcd.
    pub titles: TitleWriter,
}

/// Joins the cluster: lists it, makes its secrets if this is the first node, puts the node's record under a lease,
/// claims mounts without a master.
///
/// Returns when the first snapshot is there; the record and claims follow within moments and show up in later
/// snapshots. Cancelling ends the task after the lease is revoked, so that peers take over at once; await the handle.
pub async fn join(
    settings: ClusterSettings,
    cancel: CancellationToken,
) -> Result<(ClusterHandle, JoinHandle<()>), ClusterError> {
    let store = Store::connect(&settings.endpoints, settings.timeout).await?;
    let secrets = store.icecast_secrets().await?;
    // Questions about the lease must fail early enough to be asked again before it ends.
    let lease_timeout = settings.timeout.min(settings.lease_ttl / 3);
    let lease_store = Store::connect(&settings.endpoints, lease_timeout).await?;
    let follower = Follower::start(store.clone()).await?;
    let (health_sender, health) = watch::channel(EtcdHealth::default());
    let member = Member {
        store: lease_store,
        record: settings.node,
        lease_ttl: settings.lease_ttl,
        snapshots: follower.snapshots(),
        health: health_sender.clone(),
    };
    let standing = StandingReader::always(Standing::Sure);
    let titles = TitleWriter::default();
    let keeping_titles = titles.clone().run(store, cancel.clone());
    let snapshots = follower.snapshots();
    let handle = ClusterHandle { snapshots, secrets, health, standing, titles };
    let task = tokio::spawn(async move {
        let following = follower.run(health_sender, cancel.clone());
        tokio::join!(following, member.run(cancel), keeping_titles);
    });
    Ok((handle, task))
}
