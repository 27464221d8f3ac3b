//! A member dies, or its host does: questions, the watch and the lease go on through another.

use std::sync::Arc;
use std::time::Duration;

use autoradio_edge::cluster::Snapshot;
use nix::sys::signal::Signal;
use tokio::time::Instant;

use crate::rig::{Joined, store, three, voters};
use crate::support::{PATIENCE, mount, path, signal, until};

/// Within this, everything goes on after one member is gone that was not the leader.
const GOES_ON: Duration = Duration::from_secs(2);

#[tokio::test]
async fn a_node_whose_own_etcd_is_silent_goes_on_through_another() {
    let ([_first, _second, _third], [a, b, c]) = three().await;
    let founder = store(&a).await;
    voters(&founder, 3).await;
    let through_b = Joined::through(b.access(), "b").await;
    let other = store(&b).await;
    let name = "b".parse().unwrap();
    through_b.sees("it is there", PATIENCE, |it| it.nodes.contains_key(&name)).await;
    let epoch = |it: &Snapshot| it.masters.get(&path("/one")).map(|master| master.epoch);
    founder.create_mount(&mount("/one")).await.unwrap();
    through_b.sees("it is master", PATIENCE, |it| epoch(it).is_some()).await;
    let before = epoch(&through_b.handle.snapshots.borrow());

    // Stopped, not killed: connections stay open and silent, as those to a host that is gone.
    let pid = b.pid().unwrap();
    signal(pid, Signal::SIGSTOP);
    let stopped = Instant::now();
    founder.create_mount(&mount("/two")).await.unwrap();
    let asked = Instant::now();
    assert!(other.mount(&path("/one")).await.is_ok(), "a question is answered");
    assert!(asked.elapsed() < GOES_ON, "{:?}", asked.elapsed());
    through_b.sees("the watch goes on", PATIENCE, |it| it.mounts.contains_key(&path("/two"))).await;
    let noticed = stopped.elapsed();
    // One keep-alive's turn, its share of the time, and a moment.
    assert!(noticed < GOES_ON + Duration::from_secs(1), "the watch went on after {noticed:?}");
    let claimed = |it: &Arc<Snapshot>| it.masters.contains_key(&path("/two"));
    through_b.sees("the lease lives: it claims", PATIENCE, claimed).await;
    assert_eq!(epoch(&through_b.handle.snapshots.borrow()), before, "nobody was disturbed");

    signal(pid, Signal::SIGCONT);
    until("the local etcd answers again", PATIENCE, async || {
        founder.members().await.ok().filter(|members| members.iter().all(|it| it.healthy))
    })
    .await;
    through_b.leave().await;
    for etcd in [a, b, c] {
        etcd.stop().await;
    }
}

#[tokio::test]
async fn the_leader_dies_and_a_node_elsewhere_hardly_notices() {
    let (_nodes, [a, b, c]) = three().await;
    let members = voters(&store(&a).await, 3).await;
    let leader = members.iter().find(|it| it.leader).unwrap().member.name.clone();
    let of = |name: &str| [&a, &b, &c][["a", "b", "c"].iter().position(|it| *it == name).unwrap()];
    let other = if leader == "a" { "b" } else { "a" };
    let joined = Joined::through(of(other).access(), other).await;
    let writer = store(of(other)).await;

    // Stopped, not killed: the supervisor would have it back within its first back-off.
    signal(of(&leader).pid().unwrap(), Signal::SIGSTOP);
    let gone = Instant::now();
    until("a change is taken", PATIENCE, async || writer.create_mount(&mount("/new")).await.ok())
        .await;
    let taken = gone.elapsed();
    joined.sees("it is followed", PATIENCE, |it| it.mounts.contains_key(&path("/new"))).await;
    // An election takes one to two seconds, and the question that was under way has two.
    assert!(taken < GOES_ON * 2 + Duration::from_secs(1), "a change was taken after {taken:?}");
    signal(of(&leader).pid().unwrap(), Signal::SIGCONT);
    joined.leave().await;
    for etcd in [a, b, c] {
        etcd.stop().await;
    }
}
