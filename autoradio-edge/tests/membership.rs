//! Being a member: names, leases, standing, load and wishes, against a real etcd.
#![expect(clippy::unwrap_used, reason = "a test stops where it cannot go on")]

mod support;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use autoradio_edge::clock;
use autoradio_edge::cluster::{ClusterError, LoadRecord, NodeRecord, Standing, join};
use nix::sys::signal::Signal;
use support::{Etcd, Joined, PATIENCE, in_time, mount, node, path, signal, until};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// `--master-election-ttl` of the nodes here.
const LEASE_TTL: Duration = Duration::from_secs(3);

fn node_with_id(name: &str, id: &str) -> NodeRecord {
    NodeRecord { id: id.to_owned(), ..node(name) }
}

/// A port that takes connections and says nothing, like a front that peers probe.
async fn front() -> (TcpListener, u16) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

#[tokio::test]
async fn a_second_node_of_one_name_is_refused_and_told_who_holds_it() {
    let etcd = Etcd::start().await;
    let first = Joined::with(etcd.settings(node_with_id("a", "first"))).await;
    let since = clock::now();
    let second = join(etcd.settings(node_with_id("a", "second")), CancellationToken::new()).await;
    let error = second.expect_err("the name is taken");
    assert!(matches!(error, ClusterError::NameTaken { .. }), "{error}");
    assert!(error.to_string().contains("a node at 127.0.0.1 holds it"), "{error}");
    assert!(clock::now() - since > LEASE_TTL, "a node that is gone had time to go");
    let moved =
        NodeRecord { peer_address: "127.0.0.2".parse().unwrap(), ..node_with_id("a", "first") };
    let copied = join(etcd.settings(moved), CancellationToken::new()).await;
    assert!(copied.is_err(), "a copy of the state directory elsewhere is another node");
    first.leave().await;
    let third = Joined::with(etcd.settings(node_with_id("a", "third"))).await;
    third.leave().await;
    etcd.child.stop().await;
}

#[tokio::test]
async fn a_reinstalled_node_waits_for_its_own_earlier_lease_to_end() {
    let etcd = Etcd::start().await;
    Joined::with(etcd.settings(node_with_id("a", "before"))).await.die().await;
    let again = Joined::with(etcd.settings(node_with_id("a", "after"))).await;
    again.until("it is there", PATIENCE, |it| it.nodes.values().any(|it| it.id == "after")).await;
    again.leave().await;
    etcd.child.stop().await;
}

#[tokio::test]
async fn a_restarted_node_keeps_its_mounts_and_their_epochs_when_the_old_lease_ends() {
    let etcd = Etcd::start().await;
    let before = Joined::with(etcd.settings(node_with_id("a", "same"))).await;
    etcd.store().await.create_mount(&mount("/m")).await.unwrap();
    let live = path("/m");
    let snapshot =
        before.until("it has a master", PATIENCE, |it| it.masters.contains_key(&live)).await;
    let epoch = snapshot.masters[&live].epoch;
    before.die().await;
    let after = Joined::with(etcd.settings(node_with_id("a", "same"))).await;
    let leases = async || etcd.ctl(&["lease", "list"]).lines().count();
    until("the old lease ends", PATIENCE, async || (leases().await == 2).then_some(())).await;
    after.stands("it is sure", PATIENCE, Standing::Sure).await;
    assert_eq!(after.handle.snapshots.borrow().masters[&live].epoch, epoch);
    after.leave().await;
    etcd.child.stop().await;
}

#[tokio::test]
async fn an_etcd_that_is_slow_while_mounts_are_adopted_costs_no_lease() {
    let etcd = Etcd::start().await;
    let settings = || {
        let mut settings = etcd.settings(node_with_id("a", "same"));
        settings.lease_ttl = Duration::from_secs(30);
        settings.timeout = Duration::from_millis(500);
        settings
    };
    let before = Joined::with(settings()).await;
    etcd.store().await.create_mount(&mount("/m")).await.unwrap();
    before.until("it has a master", PATIENCE, |it| !it.masters.is_empty()).await;
    before.die().await;
    let lease_of = |key: &str| {
        let fields = etcd.ctl(&["get", key, "-w", "fields"]);
        fields.lines().find_map(|line| line.strip_prefix("\"Lease\" : ")).unwrap().to_owned()
    };
    let after = Joined::with(settings()).await;
    let lease = lease_of("/autoradio/v1/nodes/a");
    // Nothing of the new node has run yet: its first question about its mounts meets an etcd that stands still.
    let pid = etcd.child.pid().unwrap();
    signal(pid, Signal::SIGSTOP);
    tokio::time::sleep(3 * Duration::from_millis(500)).await;
    signal(pid, Signal::SIGCONT);
    until("its mount is under its lease", PATIENCE, async || {
        (lease_of("/autoradio/v1/masters/m") == lease).then_some(())
    })
    .await;
    assert_eq!(lease_of("/autoradio/v1/nodes/a"), lease);
    after.leave().await;
    etcd.child.stop().await;
}

#[tokio::test]
async fn a_node_without_etcd_is_unsure_within_its_lease_and_sure_when_etcd_is_back() {
    let etcd = Etcd::start().await;
    let joined = etcd.join("a").await;
    joined.stands("it is sure", PATIENCE, Standing::Sure).await;
    let pid = etcd.child.pid().unwrap();
    signal(pid, Signal::SIGSTOP);
    let mut reader = joined.handle.standing.clone();
    while reader.now() == Standing::Sure {
        in_time("it doubts its lease before that can end", LEASE_TTL, reader.changed()).await;
    }
    let alone = Standing::HoldingOver { alone: true };
    joined.stands("it holds over: nobody could claim", PATIENCE, alone).await;
    assert!(!joined.handle.own_state.now().quorum);
    // Straight from the stop: the supervisor starts another one with the same data.
    signal(pid, Signal::SIGKILL);
    joined.stands("it is sure again", PATIENCE, Standing::Sure).await;
    assert!(joined.handle.own_state.now().quorum);
    joined.leave().await;
    etcd.child.stop().await;
}

#[tokio::test]
async fn a_dead_daemons_lease_is_ended_by_its_neighbour_long_before_its_time() {
    let etcd = Etcd::start().await;
    let (listener, http_port) = front().await;
    let dying = NodeRecord { http_port, ..node_with_id("b", "b") };
    // The lease alone would take a minute.
    let mut settings = etcd.settings(dying);
    settings.lease_ttl = Duration::from_secs(60);
    let a = etcd.join("a").await;
    let b = Joined::with(settings).await;
    let both = a.until("both are there", PATIENCE, |it| it.nodes.len() == 2).await;
    let dead = both.nodes.keys().nth(1).unwrap().clone();
    // Two probes at least, so that `a` has seen it alive.
    for _ in 0..2 {
        in_time("it is probed", PATIENCE, listener.accept()).await.unwrap();
    }
    b.die().await;
    drop(listener);
    let gone = Duration::from_secs(20);
    a.until("its neighbour ends its lease", gone, |it| !it.nodes.contains_key(&dead)).await;
    a.leave().await;
    etcd.child.stop().await;
}

#[tokio::test]
async fn a_port_that_was_never_open_ends_no_lease() {
    let etcd = Etcd::start().await;
    let (listener, http_port) = front().await;
    drop(listener);
    let a = etcd.join("a").await;
    let b = Joined::with(etcd.settings(NodeRecord { http_port, ..node("b") })).await;
    a.until("both are there", PATIENCE, |it| it.nodes.len() == 2).await;
    let leaves = a.handle.snapshots.clone();
    let mut leaves = Box::pin(async move {
        let mut leaves = leaves;
        leaves.wait_for(|it| it.nodes.len() < 2).await.is_ok()
    });
    // Several probes' time.
    let left = tokio::time::timeout(Duration::from_secs(2), &mut leaves).await;
    assert!(left.is_err(), "a firewall may close a port");
    a.leave().await;
    b.leave().await;
    etcd.child.stop().await;
}

#[tokio::test]
async fn load_is_told_at_once_on_a_change_and_again_under_a_new_lease() {
    let etcd = Etcd::start().await;
    let load = |listeners| Arc::new(LoadRecord { listeners, ..LoadRecord::idle() });
    let (sender, receiver) = watch::channel(load(1_000));
    let mut settings = etcd.settings(node("a"));
    settings.load = receiver;
    let joined = Joined::with(settings).await;
    let name = "a".parse().unwrap();
    let told = |want| {
        let name: autoradio_edge::cluster::NodeName = "a".parse().unwrap();
        move |it: &Arc<autoradio_edge::cluster::Snapshot>| {
            it.loads.get(&name).map(|load| load.listeners) == want
        }
    };
    joined.until("the first load is told", PATIENCE, told(Some(1_000))).await;
    sender.send_replace(load(1_005));
    sender.send_replace(load(1_020));
    let snapshot = joined.until("a change is told", PATIENCE, told(Some(1_020))).await;
    assert!(snapshot.nodes.contains_key(&name));
    let key = "/autoradio/v1/load/a";
    let lease = etcd.ctl(&["get", key, "-w", "fields"]);
    let lease =
        lease.lines().find_map(|line| line.strip_prefix("\"Lease\" : ")).unwrap().to_owned();
    etcd.ctl(&["lease", "revoke", &format!("{:x}", lease.trim().parse::<i64>().unwrap())]);
    joined.until("it goes with the lease", PATIENCE, told(None)).await;
    joined.until("it comes with the next", PATIENCE, told(Some(1_020))).await;
    joined.leave().await;
    etcd.child.stop().await;
}
