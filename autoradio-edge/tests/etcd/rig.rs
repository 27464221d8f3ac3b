//! Managed etcds of several nodes, all on this host: they differ in their ports.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use autoradio_edge::cluster::{
    ClusterError, ClusterHandle, ClusterSettings, EtcdAccess, LoadRecord, ManagedEtcd,
    MemberStatus, Snapshot, StartedEtcd, Store, TlsFiles, join,
};
use autoradio_edge::placement::rendezvous;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::{PATIENCE, free_ports, in_time, node, state_dir, until};

/// A node's etcd that may or may not run.
pub(crate) struct Node {
    pub(crate) managed: ManagedEtcd,
    dir: TempDir,
}

impl Node {
    /// A node that is to join through others, or to found a cluster if there are none.
    pub(crate) fn new(name: &str, through: &[&Node]) -> Self {
        let dir = state_dir();
        let [client_port, peer_port] = free_ports();
        let managed = ManagedEtcd {
            name: name.parse().unwrap(),
            state_dir: dir.path().to_owned(),
            peer_address: "127.0.0.1".parse().unwrap(),
            listen_address: "127.0.0.1".parse().unwrap(),
            client_port,
            peer_port,
            program: "etcd".into(),
            join: through.iter().map(|node| node.host()).collect(),
            tls: None,
            insecure: true,
        };
        Self { managed, dir }
    }

    /// The same with certificates instead of trust.
    pub(crate) fn secured(mut self, tls: TlsFiles) -> Self {
        self.managed.insecure = false;
        self.managed.tls = Some(tls);
        self
    }

    /// What others give to `--join`.
    pub(crate) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.managed.client_port)
    }

    pub(crate) async fn start(&self) -> StartedEtcd {
        self.try_start().await.unwrap()
    }

    pub(crate) async fn try_start(&self) -> Result<StartedEtcd, ClusterError> {
        self.managed.start(PATIENCE).await
    }

    /// Loses everything that etcd has kept.
    pub(crate) fn wipe(&self) {
        std::fs::remove_dir_all(self.data_dir()).unwrap();
    }

    /// Where etcd keeps its data.
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.dir.path().join("etcd")
    }

    /// Runs `etcdctl` against this node's etcd, which speaks in the clear.
    pub(crate) fn ctl(&self, args: &[&str]) -> String {
        let ended = Command::new("etcdctl")
            .env("ETCDCTL_API", "3")
            .arg(format!("--endpoints={}", self.managed.endpoint()))
            .args(args)
            .output()
            .unwrap();
        assert!(ended.status.success(), "{ended:?}");
        String::from_utf8(ended.stdout).unwrap()
    }

    /// Names of the directories in this node's state directory.
    pub(crate) fn directories(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir.path()).unwrap().map(Result::unwrap);
        entries.map(|entry| entry.file_name().into_string().unwrap()).collect()
    }
}

/// A connection that a daemon would have, with questions of two seconds.
pub(crate) async fn store(started: &StartedEtcd) -> Store {
    Store::connect(started.access(), Duration::from_secs(2)).await.unwrap()
}

/// A connection to one etcd and no other.
pub(crate) async fn only(node: &Node) -> Store {
    let access = EtcdAccess {
        endpoints: vec![node.managed.endpoint()],
        tls: node.managed.tls.clone(),
        find_members: None,
    };
    Store::connect(&access, PATIENCE).await.unwrap()
}

/// Nodes `a`, `b` and `c`, and their etcds: the first founds, the others join at one time.
pub(crate) async fn three() -> ([Node; 3], [StartedEtcd; 3]) {
    let first = Node::new("a", &[]);
    let (second, third) = (Node::new("b", &[&first]), Node::new("c", &[&first]));
    let a = first.start().await;
    let (b, c) = tokio::join!(second.start(), third.start());
    ([first, second, third], [a, b, c])
}

/// Waits until so many members vote, all of them healthy.
pub(crate) async fn voters(store: &Store, count: usize) -> Vec<MemberStatus> {
    until(&format!("{count} members vote"), PATIENCE, async || {
        let members = store.members().await.ok()?;
        let well = members.iter().all(|it| it.healthy && !it.member.learner);
        (well && members.len() == count).then_some(members)
    })
    .await
}

/// Names, in order.
pub(crate) fn names(members: &[MemberStatus]) -> Vec<&str> {
    let mut names: Vec<_> = members.iter().map(|it| it.member.name.as_str()).collect();
    names.sort_unstable();
    names
}

/// A node that follows the cluster, holds a lease and claims mounts.
pub(crate) struct Joined {
    pub(crate) handle: ClusterHandle,
    task: JoinHandle<()>,
    cancel: CancellationToken,
}

impl Joined {
    pub(crate) async fn through(etcd: &EtcdAccess, name: &str) -> Self {
        let cancel = CancellationToken::new();
        let settings = ClusterSettings {
            etcd: etcd.clone(),
            node: node(name),
            lease_ttl: Duration::from_secs(3),
            timeout: Duration::from_secs(2),
            load: watch::channel(Arc::new(LoadRecord::idle())).1,
            streams: watch::channel(Arc::default()).1,
            preference: rendezvous::PREFERENCE,
            heartbeat: Duration::from_secs(1),
        };
        let (handle, task) = join(settings, cancel.clone()).await.unwrap();
        Self { handle, task, cancel }
    }

    pub(crate) async fn leave(self) {
        self.cancel.cancel();
        in_time("the node leaves", PATIENCE, self.task).await.unwrap();
    }

    pub(crate) async fn sees(
        &self,
        what: &str,
        within: Duration,
        met: impl FnMut(&Arc<Snapshot>) -> bool,
    ) {
        let mut snapshots = self.handle.snapshots.clone();
        drop(in_time(what, within, snapshots.wait_for(met)).await.unwrap());
    }
}
