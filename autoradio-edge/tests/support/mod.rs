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
    NodeRecord, Snapshot, Standing, StartedEtcd, Store, join,
};
use autoradio_edge::placement::rendezvous;
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

/// The ports of a daemon.
pub(crate) struct DaemonPorts {
    pub(crate) dns: u16,
    pub(crate) http: u16,
    pub(crate) icecast: u16,
    pub(crate) admin: u16,
    pub(crate) etcd: u16,
    pub(crate) etcd_peer: u16,
}

impl DaemonPorts {
    /// Ports that nobody has.
    pub(crate) fn free() -> Self {
        let [dns, http, icecast, admin, etcd, etcd_peer] = free_ports();
        Self { dns, http, icecast, admin, etcd, etcd_peer }
    }
}

/// `node1` on loopback without a kernel program, not yet started; what it logs goes to `daemon.log` in `dir`.
pub(crate) fn daemon_on_loopback(dir: &Path, ports: &DaemonPorts) -> Command {
    let log = std::fs::File::create(dir.join("daemon.log")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_autoradio-edge"));
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.args(["run", "--domain", "radio.test", "--name", "node1", "--xdp", "off"]);
    command.args(["--address", "127.0.0.1", "--dns-listen", "127.0.0.1"]);
    for (flag, port) in [
        ("--dns-port", ports.dns),
        ("--http-port", ports.http),
        ("--icecast-port", ports.icecast),
        ("--etcd-client-port", ports.etcd),
        ("--etcd-peer-port", ports.etcd_peer),
    ] {
        command.args([flag, &port.to_string()]);
    }
    command.arg("--admin-listen").arg(format!("127.0.0.1:{}", ports.admin));
    command.arg("--state-dir").arg(dir).stdin(Stdio::null()).stderr(log);
    command
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
            listen_address: "127.0.0.1".parse().unwrap(),
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
        Joined::with(self.settings(node(name))).await
    }

    /// What it takes to join as `node`.
    pub(crate) fn settings(&self, node: NodeRecord) -> ClusterSettings {
        ClusterSettings {
            etcd: self.access(),
            node,
            lease_ttl: Duration::from_secs(3),
            timeout: Duration::from_secs(2),
            load: watch::channel(Arc::new(LoadRecord::idle())).1,
            streams: watch::channel(Arc::default()).1,
            heartbeat: Duration::from_secs(1),
            preference: rendezvous::PREFERENCE,
        }
    }

    /// Runs `etcdctl` against this etcd; what it printed.
    pub(crate) fn ctl(&self, args: &[&str]) -> String {
        self.ctl_with_input(args, "")
    }

    /// Runs `etcdctl` with `input` piped in.
    pub(crate) fn ctl_with_input(&self, args: &[&str], input: &str) -> String {
        let mut command = Command::new("etcdctl");
        command.env("ETCDCTL_API", "3");
        command.arg(format!("--endpoints={}", self.managed.endpoint())).args(args);
        let ended = piped(&mut command, input);
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

impl Joined {
    pub(crate) async fn with(settings: ClusterSettings) -> Self {
        let cancel = CancellationToken::new();
        let (handle, task) = join(settings, cancel.clone()).await.unwrap();
        Self { handle, task, cancel }
    }

    /// Waits for a snapshot.
    pub(crate) async fn until(
        &self,
        what: &str,
        within: Duration,
        met: impl FnMut(&Arc<Snapshot>) -> bool,
    ) -> Arc<Snapshot> {
        let mut snapshots = self.handle.snapshots.clone();
        in_time(what, within, snapshots.wait_for(met)).await.unwrap().clone()
    }

    /// Waits until the node stands as wanted.
    pub(crate) async fn stands(&self, what: &str, within: Duration, want: Standing) {
        let mut reader = self.handle.standing.clone();
        let reached = async {
            while reader.now() != want {
                reader.changed().await;
            }
        };
        in_time(what, within, reached).await;
    }

    /// Leaves as a node that is stopped does.
    pub(crate) async fn leave(self) {
        self.cancel.cancel();
        in_time("the node leaves", PATIENCE, self.task).await.unwrap();
    }

    /// Dies as a node whose daemon is killed does: its lease lives on.
    pub(crate) async fn die(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }
}

/// What a command printed, as JSON.
pub(crate) fn json(output: &Output) -> serde_json::Value {
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Checks that a command failed as promised.
pub(crate) fn fails(output: &Output, code: i32, want: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(said.contains(want), "{want:?} is not in {said:?}");
}

/// Runs `radioctl` with `input` piped in.
pub(crate) fn radioctl(etcd: &str, args: &[&str], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_radioctl"));
    command.args(args).env("AUTORADIO_ETCD", etcd);
    piped(&mut command, input)
}

/// Runs a command to its end with `input` piped in.
fn piped(command: &mut Command, input: &str) -> Output {
    use std::io::Write;
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().unwrap();
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
