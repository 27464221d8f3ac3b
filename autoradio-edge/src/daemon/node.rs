//! One node: what runs on top of its etcd, from joining the cluster to leaving it.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::alarm::Alarm;
use super::follow::Follower;
use super::kernel::{self, SharedKernel};
use super::load::Sampler;
use super::ports::Ports;
use super::status::StatusSource;
use super::{DaemonError, cluster_settings, icecast_door, icecast_settings, node_id, node_record};
use crate::api::Sources;
use crate::cluster::{self, ClusterHandle, EtcdAccess, LoadRecord, NodeName, Snapshot};
use crate::config::Config;
use crate::dataplane::{Look, XdpMode};
use crate::dns::{Responder, TcpClients};
use crate::http::{FrontSettings, FrontStats, ListenerGate, SourceGate};
use crate::icecast::{self, Icecast};
use crate::placement::{Ledger, Placement};

/// Longest time that short answers may take when the node stops; streams end at once.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// Longest wait for etcd to take the wish to drain.
const WISH_MAX: Duration = Duration::from_secs(2);
/// Pause between two looks at whether listeners are left.
const LISTENERS_LOOK: Duration = Duration::from_millis(100);

/// A node whose children run and whose state follows the cluster.
pub(super) struct Node {
    config: Config,
    kernel: SharedKernel,
    look: Option<Arc<Look>>,
    responder: Arc<Responder>,
    stats: Arc<FrontStats>,
    ledger: Arc<Mutex<Ledger>>,
    load: watch::Receiver<Arc<LoadRecord>>,
    placements: watch::Receiver<Arc<Placement>>,
    cluster: ClusterHandle,
    gate: Arc<SourceGate>,
    listener_gate: Arc<ListenerGate>,
    icecast: Icecast,
    serving: TaskTracker,
    stop_serving: CancellationToken,
    icecast_task: JoinHandle<()>,
    stop_icecast: CancellationToken,
    cluster_task: JoinHandle<()>,
    stop_cluster: CancellationToken,
    leaving: watch::Sender<bool>,
    alarm: Alarm,
}

impl Node {
    /// Joins the cluster that `etcd` keeps, and starts what follows its state.
    pub(super) async fn start(
        config: Config,
        kernel: SharedKernel,
        etcd: EtcdAccess,
    ) -> Result<Self, DaemonError> {
        let own = Arc::new(node_record(&config, node_id::read_or_make(&config.state_dir)?));
        let (stop_serving, stop_icecast, stop_cluster) =
            (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
        let (load_sender, load) = watch::channel(Arc::new(LoadRecord::idle()));
        let settings = cluster_settings(&config, etcd, &own, load.clone());
        let (cluster, cluster_task) = cluster::join(settings, stop_cluster.clone()).await?;
        let alarm = Alarm::default();
        let cluster_task = tokio::spawn(alarm.watch("cluster", joined(cluster_task)));
        let (mut follower, placements) =
            Follower::new(&config, own, &cluster, load.clone(), kernel.clone());
        let (responder, ledger) = (follower.responder.clone(), follower.ledger.clone());
        let started = icecast::start(
            icecast_settings(&config),
            cluster.secrets.clone(),
            placements.clone(),
            stop_icecast.clone(),
        );
        let (icecast, icecast_task) = match started.await {
            Ok(started) => started,
            Err(error) => {
                stop_cluster.cancel();
                ended(cluster_task, "cluster").await;
                return Err(error.into());
            }
        };
        // Before the first client: the zone of this moment, in the kernel too.
        follower.act();
        let serving = TaskTracker::new();
        let following = stop_serving.clone().run_until_cancelled_owned(follower.run());
        serving.spawn(alarm.watch("follower", following));
        let stats = Arc::new(FrontStats::default());
        let sampler = sampler(&config, &cluster, &stats, &placements, load_sender);
        let sampling = stop_serving.clone().run_until_cancelled_owned(sampler.run());
        serving.spawn(alarm.watch("sampler", sampling));
        Ok(Self {
            gate: source_gate(&config, &cluster, &placements),
            listener_gate: listener_gate(&config, &cluster, &placements),
            config,
            look: kernel.clone().map(Look::new),
            kernel,
            responder,
            stats,
            ledger,
            load,
            placements,
            cluster,
            icecast,
            serving,
            stop_serving,
            icecast_task: tokio::spawn(alarm.watch("Icecast", joined(icecast_task))),
            stop_icecast,
            cluster_task,
            stop_cluster,
            leaving: watch::channel(false).0,
            alarm,
        })
    }

    pub(super) fn status_source(&self) -> StatusSource {
        let attached = self.kernel.is_some();
        StatusSource {
            name: self.config.name.clone(),
            domain: self.config.domain.clone(),
            interface: self.config.interface.clone().filter(|_| attached),
            kernel: self.kernel.clone(),
            responder: self.responder.clone(),
            stats: self.stats.clone(),
            placements: self.placements.clone(),
            etcd: self.cluster.health.clone(),
            standing: self.cluster.standing.clone(),
            leaving: self.leaving.subscribe(),
            snapshots: self.cluster.snapshots.clone(),
            icecast: self.icecast.answers.clone(),
        }
    }

    /// What looks into the kernel program.
    pub(super) fn look(&self) -> Option<Arc<Look>> {
        self.look.clone()
    }

    /// What judges the sources of this node's Icecast.
    pub(super) fn gate(&self) -> Arc<SourceGate> {
        self.gate.clone()
    }

    /// What judges listeners.
    pub(super) fn listener_gate(&self) -> Arc<ListenerGate> {
        self.listener_gate.clone()
    }

    /// Opens the node to clients.
    pub(super) fn serve(&self, ports: Ports, sources: Sources) {
        let stop = || self.stop_serving.clone();
        for server in ports.dns_udp {
            let answering = server.run(self.responder.clone(), stop());
            self.serving.spawn(self.alarm.watch("DNS over UDP", answering));
        }
        let dns_clients = Arc::new(TcpClients::default());
        for server in ports.dns_tcp {
            let answering = server.run(self.responder.clone(), dns_clients.clone(), stop());
            self.serving.spawn(self.alarm.watch("DNS over TCP", answering));
        }
        let settings = FrontSettings {
            domain: self.config.domain.clone(),
            node: self.config.name.clone(),
            ports: self.config.http_ports.clone(),
            secrets: self.cluster.secrets.clone(),
            connections_max: self.config.clients_max as usize,
            connections_per_address: self.config.connections_per_address,
            standing: self.cluster.standing.clone(),
            own_state: self.cluster.own_state.clone(),
            icecast_proxy: self.config.icecast_proxy,
            icecast: (Ipv4Addr::LOCALHOST, self.config.icecast_port).into(),
            capacity_whole: self.config.capacity_whole,
            ledger: self.ledger.clone(),
            gate: self.gate.clone(),
            titles: self.cluster.titles.clone(),
            ended: None,
            listener_gate: self.listener_gate.clone(),
            trusted_proxies: self.config.trusted_proxies.clone(),
        };
        let (placements, stats) = (self.placements.clone(), self.stats.clone());
        self.serving.spawn(ports.front.run(settings, placements, stats, stop()));
        let sources = Arc::new(sources);
        self.serving.spawn(ports.admin.run(sources.clone(), stop()));
        ports.local.map(|local| self.serving.spawn(local.run(sources, stop())));
        self.look.clone().map(|look| self.serving.spawn(look.run(stop())));
        let mode = self.kernel.as_ref().map_or(XdpMode::Off, |kernel| kernel::lock(kernel).mode());
        info!(node = %self.config.name, domain = %self.config.domain, xdp = %mode, "serving");
    }

    /// Leaves before it stops: takes nothing new, hands its mounts over, and lets its listeners go, for as long as the
    /// operator allows. Returns at once when there is no other node to take anything.
    pub(super) async fn drain(&self) {
        let own = &self.config.name;
        let wait_max = self.config.drain_timeout;
        let others_can = others_can_take(&self.cluster.snapshots.borrow(), own);
        if !others_can || wait_max.is_zero() {
            return;
        }
        self.leaving.send_replace(true);
        info!(wait_max_s = wait_max.as_secs(), "leaving: this node takes nothing new");
        self.cluster.drain();
        if tokio::time::timeout(wait_max, self.has_drained()).await.is_err() {
            info!(listeners = self.stats.view().listeners, "leaving with listeners connected");
        }
    }

    /// Waits until nobody needs this node any more; not if etcd does not even take its wish.
    async fn has_drained(&self) {
        let own = &self.config.name;
        let mut snapshots = self.cluster.snapshots.clone();
        let wished = snapshots.wait_for(|snapshot| snapshot.draining.contains(own));
        if !matches!(tokio::time::timeout(WISH_MAX, wished).await, Ok(Ok(_))) {
            warn!("etcd does not answer: leaving without handing over");
            return;
        }
        let handed_over = |snapshot: &Snapshot| {
            let holds = snapshot.masters.values().any(|master| master.node == *own);
            !holds || !others_can_take(snapshot, own)
        };
        // An error means that the cluster's task has ended: nothing is handed over any more.
        drop(snapshots.wait_for(|snapshot| handed_over(snapshot)).await);
        // Those of the Icecast too, where it serves them itself, which only the sampler knows.
        while self.stats.view().listeners > 0 || self.load.borrow().listeners > 0 {
            tokio::time::sleep(LISTENERS_LOOK).await;
        }
    }

    /// Returns the name of a task that has ended although nobody told it to: the node cannot go on without it.
    pub(super) async fn failed(&self) -> &'static str {
        self.alarm.raised().await
    }

    /// Closes to clients first and gives the lease up, so that others take over at once; then ends the children.
    pub(super) async fn stop(self) {
        if let Some(kernel) = &self.kernel
            && let Err(error) = kernel::lock(kernel).end_lease()
        {
            warn!(%error, "the kernel program goes on until it is detached");
        }
        self.cluster.stopping();
        self.stop_serving.cancel();
        self.serving.close();
        if tokio::time::timeout(STOP_GRACE, self.serving.wait()).await.is_err() {
            warn!(
                grace_ms = STOP_GRACE.as_millis(),
                "clients keep their connections: cutting them"
            );
        }
        self.stop_cluster.cancel();
        ended(self.cluster_task, "cluster").await;
        self.stop_icecast.cancel();
        ended(self.icecast_task, "Icecast").await;
    }
}

/// What tells this node's load.
fn sampler(
    config: &Config,
    cluster: &ClusterHandle,
    stats: &Arc<FrontStats>,
    placements: &watch::Receiver<Arc<Placement>>,
    load: watch::Sender<Arc<LoadRecord>>,
) -> Sampler {
    Sampler {
        interface: config.interface.clone(),
        stats: stats.clone(),
        icecast: (!config.icecast_proxy).then(|| icecast_door(config, &cluster.secrets)),
        placements: placements.clone(),
        load,
    }
}

/// What judges the sources that come to this node's Icecast.
fn source_gate(
    config: &Config,
    cluster: &ClusterHandle,
    placements: &watch::Receiver<Arc<Placement>>,
) -> Arc<SourceGate> {
    let (name, secrets) = (config.name.clone(), cluster.secrets.clone());
    Arc::new(SourceGate::new(name, secrets, placements.clone(), cluster.standing.clone()))
}

/// What judges listeners of mounts that are not open to all.
fn listener_gate(
    config: &Config,
    cluster: &ClusterHandle,
    placements: &watch::Receiver<Arc<Placement>>,
) -> Arc<ListenerGate> {
    let server = (config.domain.clone(), config.public_port());
    let relay_password = cluster.secrets.relay_password.clone();
    Arc::new(ListenerGate::new(server, relay_password, placements.clone()))
}

/// Whether another node lives that does not drain itself.
fn others_can_take(snapshot: &Snapshot, own: &NodeName) -> bool {
    snapshot.nodes.keys().any(|name| name != own && !snapshot.draining.contains(name))
}

/// What a task ends with; its panic goes on in the task that waits.
async fn joined(task: JoinHandle<()>) {
    if let Err(error) = task.await
        && let Ok(panic) = error.try_into_panic()
    {
        std::panic::resume_unwind(panic);
    }
}

/// Waits for a task that was told to end.
async fn ended(task: JoinHandle<()>, name: &str) {
    if let Err(error) = task.await {
        warn!(%error, "the task of {name} did not end well");
    }
}
