//! What the integration tests share: free ports, deadlines, a real etcd.
#![allow(dead_code, reason = "every test binary uses its own part of this")]

pub(crate) mod ports;

use std::future::Future;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use autoradio_edge::cluster::{
    ClusterHandle, ClusterSettings, EtcdAccess, LoadRecord, ManagedEtcd, MountPath, MountRecord,
    NodeRecord, StartedEtcd, Store, join,
};
pub(crate) use ports::free_ports;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long anything may take that has no promise of its own. Test machines are busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A directory that children of other users can pass through.
pub(crate) fn state_dir() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

/// Waits until `met` gives something, at most `within`.
pub(crate) async fn until<Answer>(
    what: &str,
    within: Duration,
    mut met: impl AsyncFnMut() -> Option<Answer>,
) -> Answer {
    let waiting = async {
        loop {
            if let Some(answer) = met().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    in_time(what, within, waiting).await
}

/// What `future` gives, at most `within`.
pub(crate) async fn in_time<Answer>(
    what: &str,
    within: Duration,
    future: impl Future<Output = Answer>,
) -> Answer {
    let ended = tokio::time::timeout(within, future).await;
    ended.unwrap_or_else(|_| panic!("{what}: not within {within:?}"))
}

/// A real etcd on free ports, with its data in a directory of its own.
pub(crate) struct Etcd {
    pub(crate) managed: ManagedEtcd,
    pub(crate) child: StartedEtcd,
    dir: TempDir,
}

impl Etcd {
    pub(crate) async fn start() -> Self {
        let dir = state_dir();
        let [client_port, peer_port] = free_ports();
        let managed = ManagedEtcd {
            name: "test1".parse().unwrap(),
            state_dir: dir.path().to_owned(),
            peer_address: "127.0.0.1".parse().unwrap(),
            client_port,
            peer_port,
            program: "etcd".into(),
            join: Vec::new(),
            tls: None,
            insecure: false,
        };
        let child = managed.start(PATIENCE).await.unwrap();
        Self { managed, child, dir }
    }

    pub(crate) fn access(&self) -> EtcdAccess {
        EtcdAccess::plain(vec![self.managed.endpoint()])
    }

    pub(crate) async fn store(&self) -> Store {
        Store::connect(&self.access(), PATIENCE).await.unwrap()
    }

    /// Joins as a node, with a lease of three seconds.
    pub(crate) async fn join(&self, name: &str) -> Joined {
        let cancel = CancellationToken::new();
        let settings = ClusterSettings {
            etcd: self.access(),
            node: node(name),
            lease_ttl: Duration::from_secs(3),
            timeout: Duration::from_secs(2),
            load: watch::channel(Arc::new(LoadRecord::idle())).1,
            heartbeat: Duration::from_secs(1),
        };
        let (handle, task) = join(settings, cancel.clone()).await.unwrap();
        Joined { handle, task, cancel }
    }

    /// Runs `etcdctl` against this etcd; what it printed.
    pub(crate) fn ctl(&self, args: &[&str]) -> String {
        let endpoints = format!("--endpoints={}", self.managed.endpoint());
        let ended = Command::new("etcdctl")
            .env("ETCDCTL_API", "3")
            .arg(endpoints)
            .args(args)
            .output()
            .unwrap();
        assert!(ended.status.success(), "{ended:?}");
        String::from_utf8(ended.stdout).unwrap()
    }

    /// Runs `radioctl` against this etcd, with nothing on its standard input.
    pub(crate) fn radioctl(&self, args: &[&str]) -> Output {
        radioctl(&self.managed.endpoint(), args, "")
    }
}

/// A node that joined.
pub(crate) struct Joined {
    pub(crate) handle: ClusterHandle,
    pub(crate) task: JoinHandle<()>,
    pub(crate) cancel: CancellationToken,
}

/// Runs `radioctl` with `input` piped in.
pub(crate) fn radioctl(etcd: &str, args: &[&str], input: &str) -> Output {
    use std::io::Write;
    let mut process = Command::new(env!("CARGO_BIN_EXE_radioctl"))
        .args(args)
        .env("AUTORADIO_ETCD", etcd)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Most commands end without reading it.
    let _ = process.stdin.take().unwrap().write_all(input.as_bytes());
    process.wait_with_output().unwrap()
}

pub(crate) fn path(path: &str) -> MountPath {
    path.parse().unwrap()
}

pub(crate) fn mount(path: &str) -> MountRecord {
    let json = serde_json::json!({
        "schema": 1, "path": path, "source_username": "source", "source_password_hash": "$argon2id$x",
    });
    serde_json::from_value(json).unwrap()
}

pub(crate) fn node(name: &str) -> NodeRecord {
    let json = serde_json::json!({
        "schema": 1, "name": name, "domain": "radio.test", "addresses": ["127.0.0.1"],
        "peer_address": "127.0.0.1", "http_port": 8080, "icecast_port": 8000, "version": "0.1.0",
    });
    serde_json::from_value(json).unwrap()
}

/// Whether a process runs and is no zombie.
pub(crate) fn lives(pid: i32) -> bool {
    std::fs::read(Path::new("/proc").join(pid.to_string()).join("cmdline"))
        .is_ok_and(|cmdline| !cmdline.is_empty())
}

/// Sends a signal to a process that this test started.
pub(crate) fn signal(pid: i32, signal: nix::sys::signal::Signal) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).unwrap();
}
