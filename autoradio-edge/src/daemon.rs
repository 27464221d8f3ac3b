//! The daemon: puts the rooms together, in the order data flows, and takes them apart again.
//!
//! The only module that knows all rooms. Never here: logic of any of them.

mod alarm;
mod follow;
mod kernel;
mod load;
mod node;
mod node_id;
mod ports;
mod status;

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use nix::net::if_::if_nametoindex;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::{Mode, umask};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::api::{ApiError, Sources};
use crate::cluster::{
    ClusterError, ClusterSettings, EtcdAccess, IcecastSecrets, LoadRecord, ManagedEtcd, NodeRecord,
    SCHEMA_VERSION, StartedEtcd, note_endpoints,
};
use crate::config::{Config, EtcdChoice};
use crate::dataplane::{DataplaneError, XdpChoice};
use crate::dns::DnsError;
use crate::http::FrontError;
use crate::icecast::{IcecastDoor, IcecastError, IcecastSettings};
use crate::placement::rendezvous;
use kernel::SharedKernel;
use node::Node;
use ports::Ports;

/// Longest time that etcd may take to start: a member with much history replays it first.
const ETCD_START_MAX: Duration = Duration::from_secs(30);
/// Longest time for one answer of etcd.
const ETCD_ANSWER_MAX: Duration = Duration::from_secs(2);

/// Why the daemon cannot start, or cannot go on.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant says what its room says")]
pub enum DaemonError {
    #[error(transparent)]
    Dns(#[from] DnsError),
    #[error(transparent)]
    Front(#[from] FrontError),
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error(transparent)]
    Dataplane(#[from] DataplaneError),
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error(transparent)]
    Icecast(#[from] IcecastError),
    #[error("state directory {path}: {source}; --state-dir chooses another")]
    StateDir { path: PathBuf, source: io::Error },
    #[error("interface {interface} has no address; --address names this node's public one")]
    NoAddress { interface: String },
    #[error("signals cannot be received: {0}")]
    Signals(#[source] io::Error),
    #[error(
        "the task {task:?} of this node has ended by itself, which is a fault of autoradio; the log says why, please report it; \
        the node stops, so that its service manager starts it again"
    )]
    TaskEnded { task: &'static str },
    #[error("metrics cannot be collected: {0}")]
    Metrics(#[from] metrics_exporter_prometheus::BuildError),
}

/// Runs a node until SIGTERM or SIGINT, at which it drains; a second one stops it at once.
///
/// Everything that others may have taken (ports, interface) is taken first, so that a node which cannot serve says so
/// before it starts a child.
pub async fn run(config: Config) -> Result<(), DaemonError> {
    let Signals { stop, at_once } = Signals::receive()?;
    let metrics = PrometheusBuilder::new().install_recorder()?;
    check_interface(&config)?;
    raise_descriptor_limit();
    // Children run as users of their own and must get at what is made for them, however strict the operator's umask is;
    // what is secret has its own mode.
    umask(Mode::S_IWGRP | Mode::S_IWOTH);
    let state_dir = |source| DaemonError::StateDir { path: config.state_dir.clone(), source };
    fs::create_dir_all(&config.state_dir).map_err(state_dir)?;
    let ports = Ports::bind(&config).await?;
    let kernel = kernel::start(&config)?;
    let ended = run_with(config, kernel.clone(), ports, metrics, Signals { stop, at_once }).await;
    kernel::stop(&kernel, ended.is_err());
    info!("stopped");
    ended
}

/// Starts etcd and serves on top of it, until it is told to stop.
async fn run_with(
    config: Config,
    kernel: SharedKernel,
    ports: Ports,
    metrics: PrometheusHandle,
    signals: Signals,
) -> Result<(), DaemonError> {
    let Some(etcd) = signals.stop.run_until_cancelled(start_etcd(&config)).await else {
        return Ok(());
    };
    let (etcd, access) = etcd?;
    let served = serve(config, kernel, ports, metrics, access, signals).await;
    if let Some(etcd) = etcd {
        etcd.stop().await;
    }
    served
}

/// Serves on top of the etcd that runs, until it is told to stop.
async fn serve(
    config: Config,
    kernel: SharedKernel,
    ports: Ports,
    metrics: PrometheusHandle,
    etcd: EtcdAccess,
    signals: Signals,
) -> Result<(), DaemonError> {
    let node = Node::start(config, kernel, etcd).await?;
    let status = Box::new(node.status_source().function());
    let (gate, listener_gate) = (node.gate(), node.listener_gate());
    let sources = Sources { status, metrics, gate, listener_gate, look: node.look() };
    node.serve(ports, sources);
    let failed = tokio::select! {
        () = signals.stop.cancelled() => None,
        task = node.failed() => Some(task),
    };
    if let Some(task) = failed {
        node.stop().await;
        return Err(DaemonError::TaskEnded { task });
    }
    if signals.at_once.run_until_cancelled(node.drain()).await.is_none() {
        info!("told to stop a second time: leaving at once");
    }
    info!("stopping");
    node.stop().await;
    Ok(())
}

/// Says which interface is missing, or has no address to serve at, before anything is opened.
fn check_interface(config: &Config) -> Result<(), DaemonError> {
    let Some(interface) = &config.interface else { return Ok(()) };
    let exists = if_nametoindex(interface.as_str()).is_ok();
    if !exists && (config.xdp != XdpChoice::Off || config.addresses.is_empty()) {
        return Err(DataplaneError::NoInterface { interface: interface.clone() }.into());
    }
    if config.addresses.is_empty() {
        return Err(DaemonError::NoAddress { interface: interface.clone() });
    }
    Ok(())
}

/// What the operator tells the process.
struct Signals {
    /// Fires at the first SIGTERM or SIGINT.
    stop: CancellationToken,
    /// Fires at the second.
    at_once: CancellationToken,
}

impl Signals {
    fn receive() -> Result<Self, DaemonError> {
        let mut terminate = signal(SignalKind::terminate()).map_err(DaemonError::Signals)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(DaemonError::Signals)?;
        let signals = Self { stop: CancellationToken::new(), at_once: CancellationToken::new() };
        let fire = [signals.stop.clone(), signals.at_once.clone()];
        tokio::spawn(async move {
            for token in fire {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                token.cancel();
            }
        });
        Ok(signals)
    }
}

/// Every listener is a descriptor: takes as many as this process, and so its children, may have.
fn raise_descriptor_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(_, hard)| {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
        Ok(hard)
    });
    match raised {
        Ok(descriptors) => info!(descriptors, "file descriptors available"),
        Err(error) => warn!(%error, "the limit of file descriptors could not be raised"),
    }
}

/// Starts this node's etcd, unless one runs elsewhere, and says how etcd is reached.
async fn start_etcd(config: &Config) -> Result<(Option<StartedEtcd>, EtcdAccess), ClusterError> {
    let tls = config.etcd_tls.clone();
    let (join, insecure) = match config.etcd.clone() {
        EtcdChoice::Managed { join, insecure } => (join, insecure),
        EtcdChoice::External { endpoints } => {
            note_endpoints(&config.state_dir, &endpoints);
            return Ok((None, EtcdAccess { endpoints, tls, find_members: None }));
        }
    };
    let managed = ManagedEtcd {
        name: config.name.clone(),
        state_dir: config.state_dir.clone(),
        peer_address: config.peer_address,
        listen_address: config.etcd_listen,
        client_port: config.etcd_client_port,
        peer_port: config.etcd_peer_port,
        program: "etcd".into(),
        join,
        tls,
        insecure,
    };
    let started = managed.start(ETCD_START_MAX).await?;
    let access = started.access().clone();
    Ok((Some(started), access))
}

fn icecast_settings(config: &Config) -> IcecastSettings {
    let (state_dir, domain) = (config.state_dir.clone(), config.domain.clone());
    let own = (config.name.clone(), config.admin_listen);
    let clients_max = config.clients_max;
    IcecastSettings {
        relays: !config.icecast_proxy,
        ..IcecastSettings::debian(state_dir, own, config.icecast_port, domain, clients_max)
    }
}

/// How this node's own Icecast is asked for its listeners.
fn icecast_door(config: &Config, secrets: &IcecastSecrets) -> IcecastDoor {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, config.icecast_port));
    IcecastDoor::new(address, secrets)
}

fn cluster_settings(
    config: &Config,
    etcd: EtcdAccess,
    own: &NodeRecord,
    load: watch::Receiver<Arc<LoadRecord>>,
) -> ClusterSettings {
    ClusterSettings {
        etcd,
        node: own.clone(),
        lease_ttl: Duration::from_secs(config.lease_ttl_s.into()),
        timeout: ETCD_ANSWER_MAX,
        load,
        heartbeat: config.heartbeat,
        preference: rendezvous::PREFERENCE,
    }
}

fn node_record(config: &Config, id: String) -> NodeRecord {
    NodeRecord {
        schema: SCHEMA_VERSION,
        name: config.name.clone(),
        domain: config.domain.clone(),
        addresses: config.addresses.clone(),
        peer_address: config.peer_address,
        http_port: config.public_port(),
        icecast_port: config.icecast_port,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        id,
        capacity: config.capacity,
        unknown: serde_json::Map::new(),
    }
}
