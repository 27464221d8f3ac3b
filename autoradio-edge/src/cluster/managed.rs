//! Managed etcd: the daemon's own member of the cluster, run as a supervised child.
//!
//! Alone it is a cluster of one. `--join` makes it a member of an existing one: first without a vote, with one as soon as
//! it has caught up; where five vote already, the node runs no etcd and is a client. It listens beyond loopback only
//! with certificates, or where the operator says that none are needed.

mod etcd;
mod flags;
mod host;

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::etcd::OwnStatus;
use super::{ClusterError, EtcdAccess, NodeName, Store, TlsFiles};
use crate::clock;
use crate::supervise::{self, Child, ChildSpec, ChildState};
use etcd::Joining;
use flags::Bootstrap;
pub use host::{known_endpoints, note_endpoints};

/// Time for one question while etcd starts.
const PROBE_TIMEOUT: Duration = Duration::from_millis(500);
/// Pause between two such questions.
const PROBE_PAUSE: Duration = Duration::from_millis(50);
/// etcd's words when others have removed it from the cluster.
const REMOVED: &str = "the member has been permanently removed from the cluster";

/// An etcd to be run by this daemon.
#[derive(Clone, Debug)]
pub struct ManagedEtcd {
    /// This node's name, which is the member's too.
    pub name: NodeName,
    /// The daemon's state directory; the data goes to `etcd/` in it.
    pub state_dir: PathBuf,
    /// Where peers reach this node.
    pub peer_address: IpAddr,
    /// Where their connections arrive: the same, or all of this host's addresses if that one is not its own.
    pub listen_address: IpAddr,
    /// Port for clients.
    pub client_port: u16,
    /// Port for peers.
    pub peer_port: u16,
    /// The program, `etcd` by default.
    pub program: PathBuf,
    /// Nodes of the cluster to join, `host:port` of their etcd's client side; none for a cluster of its own.
    pub join: Vec<String>,
    /// Certificates, for which etcd listens on the peer address too.
    pub tls: Option<TlsFiles>,
    /// Whether etcd listens on the peer address although there are no certificates.
    pub insecure: bool,
}

/// What this node's etcd was before it was started.
enum Past {
    /// Nothing.
    None,
    /// A member, whose data is here.
    Member,
    /// A member without data, added to these others just now.
    JustAdded(Vec<String>),
}

/// The etcd of this node, or, where enough others vote, none.
#[derive(Debug)]
pub struct StartedEtcd {
    child: Option<Child>,
    access: EtcdAccess,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl StartedEtcd {
    /// How the cluster is reached from here.
    pub fn access(&self) -> &EtcdAccess {
        &self.access
    }

    /// The process id of this node's etcd, if one runs.
    pub fn pid(&self) -> Option<i32> {
        self.child.as_ref().and_then(Child::pid)
    }

    /// Stops etcd. Returns when the process is gone.
    pub async fn stop(self) {
        self.stop.cancel();
        for task in self.tasks {
            // It ends at the token; had it panicked, nothing would be left to wait for.
            let _ = task.await;
        }
        if let Some(child) = self.child {
            child.stop().await;
        }
    }

    /// Has something done until etcd is stopped.
    fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.push(tokio::spawn(async move {
            stop.run_until_cancelled(task).await;
        }));
    }
}

impl ManagedEtcd {
    /// URL for this etcd's clients on this host.
    pub fn endpoint(&self) -> String {
        format!("{}://127.0.0.1:{}", self.scheme(), self.client_port)
    }

    /// Starts etcd, joining a cluster if it is to, and returns when it can be worked with. It is restarted until it is
    /// stopped.
    ///
    /// A process that does not stay up is given up after `deadline`. One that stays up but lacks a quorum (all nodes
    /// were switched on at one time, and the others are slower) is waited for.
    pub async fn start(&self, deadline: Duration) -> Result<StartedEtcd, ClusterError> {
        let mut started = self.start_or_join(deadline).await?;
        let (runs, access) = (started.child.is_some(), started.access.clone());
        started.spawn(self.clone().keep_endpoints_noted(runs, access));
        Ok(started)
    }

    async fn start_or_join(&self, deadline: Duration) -> Result<StartedEtcd, ClusterError> {
        if self.insecure {
            warn!(
                "--insecure-etcd: whoever reaches this node's etcd can change everything; use certificates"
            );
        }
        let tls = self.tls.as_ref().map(|files| self.install_certificates(files)).transpose()?;
        let founding = self.spec(&Bootstrap::found(rand::random()), tls.as_ref());
        // An etcd of a killed daemon holds the ports; it has to go before they are judged.
        supervise::end_stale(&founding).await?;
        if self.has_data() {
            let child = self.start_child(founding.clone()).await?;
            match self.settle(child, deadline, Past::Member).await {
                Err(ClusterError::Removed { .. }) if !self.join.is_empty() => {
                    self.put_data_aside()?;
                }
                started => return started,
            }
        }
        if self.join.is_empty() {
            let child = self.start_child(founding).await?;
            return self.settle(child, deadline, Past::None).await;
        }
        // Before others count on this node.
        self.ports_are_free().await?;
        match self.join_cluster().await? {
            Joining::Client(endpoints) => {
                info!(?endpoints, "enough members vote: this node is a client of the cluster");
                Ok(self.started(None, endpoints))
            }
            Joining::Member(bootstrap, others) => {
                let spec = self.spec(&bootstrap, tls.as_ref());
                let started = async {
                    let child = self.start_child(spec).await?;
                    self.settle(child, deadline, Past::JustAdded(others)).await
                };
                let started = started.await;
                if started.is_err() {
                    self.take_back().await;
                }
                started
            }
        }
    }

    async fn start_child(&self, spec: ChildSpec) -> Result<Child, ClusterError> {
        self.ports_are_free().await?;
        Ok(supervise::start(spec).await?)
    }

    async fn ports_are_free(&self) -> Result<(), ClusterError> {
        for (address, port) in self.sockets() {
            port_is_free(address, port).await?;
        }
        Ok(())
    }

    /// Waits until etcd can be worked with, and does what is left to do with it as a member.
    async fn settle(
        &self,
        child: Child,
        deadline: Duration,
        past: Past,
    ) -> Result<StartedEtcd, ClusterError> {
        // One that begins a cluster of its own has nobody to wait for.
        let patient = !matches!(past, Past::None);
        let (store, own) = match self.answering(&child, deadline, patient).await {
            Ok(answering) => answering,
            Err(error) => {
                child.stop().await;
                return Err(error);
            }
        };
        let others = match past {
            Past::JustAdded(others) => others,
            Past::None | Past::Member => self.others(&store).await,
        };
        let mut started = self.started(Some(child), others);
        let access = started.access.clone();
        started.spawn(self.clone().take_part(own, access));
        Ok(started)
    }

    /// Asks until the etcd of this host answers: it has found its peers, whether or not it votes among them.
    async fn answering(
        &self,
        child: &Child,
        deadline: Duration,
        patient: bool,
    ) -> Result<(Store, OwnStatus), ClusterError> {
        let local = EtcdAccess { find_members: None, ..self.access(Vec::new()) };
        let store = Store::unasked(&local, PROBE_TIMEOUT).await?;
        let state = child.state();
        let until = clock::now() + deadline;
        let mut told = false;
        loop {
            let status = store.status_of(&local.endpoints).await;
            if let Some(own) = status.filter(|status| status.leader != 0) {
                return Ok((store, own));
            }
            if child.has_said(REMOVED) {
                return Err(ClusterError::Removed {
                    data_dir: self.data_dir().display().to_string(),
                });
            }
            let runs = matches!(*state.borrow(), ChildState::Running { .. });
            if clock::now() >= until {
                if !(patient && runs) {
                    let (deadline_ms, last_line) = (deadline.as_millis(), child.last_line());
                    return Err(ClusterError::NotHealthy { deadline_ms, last_line });
                }
                if !told {
                    warn!("etcd runs but has no quorum yet: waiting for the other members");
                    told = true;
                }
            }
            tokio::time::sleep(PROBE_PAUSE).await;
        }
    }

    fn started(&self, child: Option<Child>, others: Vec<String>) -> StartedEtcd {
        let mut access = self.access(others);
        if child.is_none() {
            access.endpoints.remove(0);
        }
        StartedEtcd { child, access, stop: CancellationToken::new(), tasks: Vec::new() }
    }

    fn access(&self, others: Vec<String>) -> EtcdAccess {
        let endpoints = std::iter::once(self.endpoint()).chain(others).collect();
        let find_members = Some(self.name.to_string());
        EtcdAccess { endpoints, tls: self.tls.clone(), find_members }
    }

    fn is_exposed(&self) -> bool {
        self.tls.is_some() || self.insecure
    }

    /// Every address and port that etcd listens on.
    fn sockets(&self) -> Vec<(IpAddr, u16)> {
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let listening = self.listening();
        let mut sockets = vec![(listening, self.client_port), (listening, self.peer_port)];
        // All addresses include loopback.
        if listening != loopback && !listening.is_unspecified() {
            sockets.insert(0, (loopback, self.client_port));
        }
        sockets
    }
}

async fn port_is_free(address: IpAddr, port: u16) -> Result<(), ClusterError> {
    supervise::port_is_free(address, port).await.map_err(|error| ClusterError::PortTaken {
        address,
        port,
        reason: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_taken_port_is_named() {
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let taken = TcpListener::bind((loopback, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = port_is_free(loopback, port).await.expect_err("taken").to_string();
        assert!(error.contains(&format!("port {port} on 127.0.0.1")), "{error}");
    }
}
