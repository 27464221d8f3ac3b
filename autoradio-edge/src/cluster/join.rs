//! Joining the cluster: what the daemon calls.

use std::sync::Arc;
use std::time::Duration;

use autoradio_common::cookie::CookieKeys;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::cookie_keeper::CookieKeeper;
use super::follow::Follower;
use super::member::Member;
use super::neighbours::Neighbours;
use super::outage::Outage;
use super::standing::LeaseClock;
use super::{
    ClusterError, EtcdAccess, IcecastSecrets, LoadRecord, NodeRecord, Preference, Snapshot,
    Standing, StandingReader, Store, StreamsRecord, TitleWriter,
};
use crate::clock;
use crate::peer::{OwnState, PeerState};

/// What it takes to join.
#[derive(Clone, Debug)]
pub struct ClusterSettings {
    /// How etcd is reached.
    pub etcd: EtcdAccess,
    /// What this node says about itself.
    pub node: NodeRecord,
    /// Time to live of this node's lease; whole seconds count, etcd makes it at least two.
    pub lease_ttl: Duration,
    /// Longest time for one answer of etcd.
    pub timeout: Duration,
    /// What this node carries; published on a change, at most once per `heartbeat`.
    pub load: watch::Receiver<Arc<LoadRecord>>,
    /// The streams that this node's Icecast has; published on a change, at most once per `heartbeat`.
    pub streams: watch::Receiver<Arc<StreamsRecord>>,
    /// Least time between two reports of the load.
    pub heartbeat: Duration,
    /// Who should be master of a mount that has none.
    pub preference: Preference,
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
    /// Secrets of DNS cookies in force: the same on all nodes, and changed on all at once.
    pub cookies: watch::Receiver<CookieKeys>,
    /// Keeps the titles of mounts in etcd.
    pub titles: TitleWriter,
    /// What this node answers its peers.
    pub own_state: OwnState,
    drain_wish: watch::Sender<bool>,
    stopping: CancellationToken,
}

impl ClusterHandle {
    /// Tells everybody that this node takes nothing new, and hands its mounts over, until the node leaves.
    pub fn drain(&self) {
        self.drain_wish.send_replace(true);
    }

    /// Says that this node closes its ports. Its neighbours may end its lease from now on, and it takes no other.
    pub fn stopping(&self) {
        self.stopping.cancel();
    }
}

/// Joins the cluster: lists it, makes its secrets if this is the first node, puts the node's record under a lease,
/// claims mounts without a master.
///
/// Returns when the first snapshot is there and the node holds its name, [`ClusterError::NameTaken`] if another node
/// does; claims follow within moments and show up in later snapshots. Cancelling ends the task after the lease is
/// revoked, so that peers take over at once; await the handle.
pub async fn join(
    settings: ClusterSettings,
    cancel: CancellationToken,
) -> Result<(ClusterHandle, JoinHandle<()>), ClusterError> {
    let store = Store::connect(&settings.etcd, settings.timeout).await?;
    let secrets = store.icecast_secrets().await?;
    // Whether this node or another was first does not matter.
    store.make_cookies().await?;
    // Questions about the lease must fail early enough to be asked again before it ends.
    let lease_timeout = settings.timeout.min(settings.lease_ttl / 3);
    let lease_store = store.with_timeout(lease_timeout);
    let follower = Follower::start(store.clone()).await?;
    let (health_sender, health) = watch::channel(EtcdHealth::default());
    let (drain_wish, wished) = watch::channel(false);
    let stopping = CancellationToken::new();
    let lease = LeaseClock::new();
    let (own, snapshots) = (settings.node.clone(), follower.snapshots());
    let outage = Outage {
        own: own.name.clone(),
        snapshots: snapshots.clone(),
        clock: lease.clone(),
        password: secrets.relay_password.clone(),
    };
    let neighbours = Neighbours {
        own: own.name.clone(),
        snapshots: snapshots.clone(),
        store: lease_store.clone(),
        password: secrets.relay_password.clone(),
    };
    let member = Member {
        store: lease_store,
        record: settings.node,
        lease_ttl: settings.lease_ttl,
        snapshots: snapshots.clone(),
        health: health_sender.clone(),
        clock: lease.clone(),
        preference: settings.preference,
        load: settings.load,
        streams: settings.streams,
        heartbeat: settings.heartbeat,
        drain_wish: wished,
        stopping: stopping.clone(),
    };
    let first = member.enter_patiently().await?;
    let (standing, own_state) = (lease.reader(), own_state(own, lease, snapshots.clone()));
    let titles = TitleWriter::default();
    let keeping_titles = titles.clone().run(store.clone(), cancel.clone());
    let (cookie_keeper, cookies) = CookieKeeper::new(store, snapshots.clone());
    let handle = ClusterHandle {
        snapshots,
        secrets,
        health,
        standing,
        cookies,
        titles,
        own_state,
        drain_wish,
        stopping,
    };
    let task = tokio::spawn(async move {
        tokio::join!(
            follower.run(health_sender, cancel.clone()),
            member.run(first, cancel.clone()),
            outage.run(cancel.clone()),
            neighbours.run(cancel.clone()),
            cookie_keeper.run(cancel),
            keeping_titles,
        );
    });
    Ok((handle, task))
}

fn own_state(
    own: NodeRecord,
    lease: LeaseClock,
    snapshots: watch::Receiver<Arc<Snapshot>>,
) -> OwnState {
    OwnState::new(move || {
        let (view, now_ns) = (lease.view(), clock::boot_ns());
        PeerState {
            name: own.name.clone(),
            id: own.id.clone(),
            quorum: view.standing(now_ns) == Standing::Sure && view.silent_since_ns.is_none(),
            quorum_age_ms: now_ns.saturating_sub(view.answered_ns) / 1_000_000,
            quorum_for_ms: now_ns.saturating_sub(view.reached_since_ns) / 1_000_000,
            revision: snapshots.borrow().revision,
        }
    })
}
