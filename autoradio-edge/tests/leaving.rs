//! A daemon that is told to stop: it leaves first. A peer in this process uses the daemon's own etcd.
#![expect(clippy::unwrap_used, reason = "a test stops where it cannot go on")]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::Child;
use std::sync::Arc;
use std::time::Duration;

use autoradio_edge::cluster::{ClusterSettings, EtcdAccess, LoadRecord, NodeName, Snapshot, Store};
use autoradio_edge::placement::rendezvous;
use nix::sys::signal::Signal;
use support::{
    DaemonPorts, Joined, PATIENCE, daemon_on_loopback, mount, node, signal, state_dir, until,
};
use tempfile::TempDir;
use tokio::sync::watch;

/// A daemon on loopback, and what a test asks it.
struct Daemon {
    process: Child,
    dir: TempDir,
    admin: u16,
    etcd: u16,
}

impl Daemon {
    /// Starts `node1` and waits until it is ready.
    async fn start(drain_timeout_s: u16) -> Self {
        let (dir, ports) = (state_dir(), DaemonPorts::free());
        let mut command = daemon_on_loopback(dir.path(), &ports);
        command.args(["--drain-timeout", &drain_timeout_s.to_string()]);
        // As much as the peer: who may carry more gets more mounts.
        command.args(["--max-clients", "1250"]);
        let process = command.spawn().unwrap();
        let daemon = Self { process, dir, admin: ports.admin, etcd: ports.etcd };
        let ready = async || daemon.ready().then_some(());
        until("the node is ready", PATIENCE, ready).await;
        daemon
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("daemon.log")).unwrap()
    }

    fn get(&self, path: &str) -> String {
        let mut answer = String::new();
        if let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.admin)) {
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let _ = write!(stream, "GET {path} HTTP/1.0\r\n\r\n");
            let _ = stream.read_to_string(&mut answer);
        }
        answer
    }

    fn ready(&self) -> bool {
        self.get("/readyz").starts_with("HTTP/1.0 200")
    }

    fn tell(&self, told: Signal) {
        signal(i32::try_from(self.process.id()).unwrap(), told);
    }

    async fn says(&self, what: &str) {
        until(what, PATIENCE, async || self.log().contains(what).then_some(())).await;
    }

    /// Waits until it has ended by itself, and well.
    async fn ends(&mut self) {
        let process = &mut self.process;
        let ended = until("it ends", PATIENCE, async || process.try_wait().unwrap()).await;
        assert!(ended.success(), "{ended:?}\n{}", self.log());
    }

    /// A peer in this process.
    async fn peer(&self) -> Joined {
        Joined::with(ClusterSettings {
            etcd: self.access(),
            node: node("peer"),
            lease_ttl: Duration::from_secs(3),
            timeout: Duration::from_secs(2),
            load: watch::channel(Arc::new(LoadRecord::idle())).1,
            streams: watch::channel(Arc::default()).1,
            heartbeat: Duration::from_secs(1),
            preference: rendezvous::PREFERENCE,
        })
        .await
    }

    fn access(&self) -> EtcdAccess {
        EtcdAccess::plain(vec![format!("http://127.0.0.1:{}", self.etcd)])
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.process.try_wait().unwrap().is_none() {
            self.tell(Signal::SIGTERM);
            self.tell(Signal::SIGTERM);
            let _ = self.process.wait();
        }
    }
}

#[tokio::test]
async fn a_node_that_is_told_to_stop_hands_its_mounts_over_first() {
    let mut daemon = Daemon::start(600).await;
    let store = Store::connect(&daemon.access(), PATIENCE).await.unwrap();
    let peer = daemon.peer().await;
    peer.until("both are there", PATIENCE, |it| it.nodes.len() == 2).await;
    for number in 0..20 {
        store.create_mount(&mount(&format!("/m{number}"))).await.unwrap();
    }
    let own: NodeName = "node1".parse().unwrap();
    let held = |it: &Snapshot| it.masters.values().filter(|it| it.node == own).count();
    let shared = |it: &Arc<Snapshot>| it.masters.len() == 20 && (1..20).contains(&held(it));
    peer.until("both have mounts", PATIENCE, shared).await;
    assert!(daemon.get("/v1/status").contains("\"standing\":\"sure\""));
    assert!(daemon.get("/metrics").contains("autoradio_cluster_standing{standing=\"sure\"} 1"));

    daemon.tell(Signal::SIGTERM);
    let gone = |it: &Arc<Snapshot>| !it.nodes.contains_key(&own);
    let first = peer.until("it is gone", PATIENCE, gone).await;
    // What is lost with a lease has no master for a moment.
    assert_eq!((first.masters.len(), held(&first)), (20, 0), "handed over, not lost");
    daemon.ends().await;
    let log = daemon.log();
    assert!(log.contains("handed over") && !log.contains("leaving with listeners"), "{log}");
    peer.die().await;
}

#[tokio::test]
async fn a_node_that_drains_is_not_ready_and_a_second_signal_ends_its_wait() {
    let mut daemon = Daemon::start(600).await;
    let peer = daemon.peer().await;
    let both = |it: &Arc<Snapshot>| it.nodes.len() == 2;
    peer.until("both are there", PATIENCE, both).await;
    until("the daemon sees it", PATIENCE, async || {
        daemon.log().contains("nodes in force have changed came=[\"peer\"] went=[]").then_some(())
    })
    .await;
    // Its etcd stands still, so that its wish cannot be written and it waits.
    let etcd = fs::read_to_string(daemon.dir.path().join("run/etcd.pid")).unwrap();
    let digits: String = etcd.chars().take_while(char::is_ascii_digit).collect();
    signal(digits.parse().unwrap(), Signal::SIGSTOP);
    daemon.tell(Signal::SIGTERM);
    daemon.says("this node takes nothing new").await;
    assert!(!daemon.ready());
    daemon.tell(Signal::SIGTERM);
    daemon.says("a second time").await;
    signal(digits.parse().unwrap(), Signal::SIGCONT);
    daemon.ends().await;
    peer.die().await;
}

#[tokio::test]
async fn a_node_that_stops_without_a_drain_is_gone_at_once_and_does_not_come_back() {
    let mut daemon = Daemon::start(0).await;
    let peer = daemon.peer().await;
    peer.until("both are there", PATIENCE, |it| it.nodes.len() == 2).await;
    // Its Icecast does not end by itself, so that the daemon stays for a while after its ports are closed.
    let icecast = fs::read_to_string(daemon.dir.path().join("run/icecast.pid")).unwrap();
    let digits: String = icecast.chars().take_while(char::is_ascii_digit).collect();
    signal(digits.parse().unwrap(), Signal::SIGSTOP);
    daemon.tell(Signal::SIGTERM);
    peer.until("it is gone", PATIENCE, |it| it.nodes.len() == 1).await;
    assert!(daemon.process.try_wait().unwrap().is_none(), "its children are still ending");
    let mut snapshots = peer.handle.snapshots.clone();
    let returns = snapshots.wait_for(|it| it.nodes.len() == 2);
    tokio::select! {
        _ = returns => panic!("it came back: {}", daemon.log()),
        () = daemon.ends() => {}
    }
    assert_eq!(daemon.log().matches("joined the cluster").count(), 1, "{}", daemon.log());
    peer.die().await;
}
