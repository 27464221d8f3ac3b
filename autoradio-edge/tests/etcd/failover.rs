//! A member dies, or its host does: questions, the watch and the lease go on through another.

use std::sync::Arc;
use std::time::Duration;

use autoradio_edge::cluster::{
    ClusterHandle, ClusterSettings, LoadRecord, Snapshot, StartedEtcd, join,
};
use nix::sys::signal::Signal;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::rig::{Node, store, voters};
use crate::support::{PATIENCE, in_time, mount, node, path, signal, until};

/// Within this, everything goes on after one member is gone that was not the leader.
const GOES_ON: Duration = Duration::from_secs(2);

struct Joined {
    handle: ClusterHandle,
    task: JoinHandle<()>,
    cancel: CancellationToken,
}

impl Joined {
    async fn through(etcd: &StartedEtcd, name: &str) -> Self {
        let cancel = CancellationToken::new();
        let settings = ClusterSettings {
            etcd: etcd.access().clone(),
            node: node(name),
            lease_ttl: Duration::from_secs(3),
            timeout: Duration::from_secs(2),
            load: watch::channel(Arc::new(LoadRecord::idle())).1,
            heartbeat: Duration::from_secs(1),
        };
        let (handle, task) = join(settings, cancel.clone()).await.unwrap();
        Self { handle, task, cancel }
    }

    async fn leave(self) {
        self.cancel.cancel();
        in_time("the node leaves", PATIENCE, self.task).await.unwrap();
    }

    async fn sees(&self, what: &str, within: Duration, met: impl FnMut(&Arc<Snapshot>) -> bool) {
        let mut snapshots = self.handle.snapshots.clone();
        drop(in_time(what, within, snapshots.wait_for(met)).await.unwrap());
    }
}

#[tokio::test]
async fn a_node_whose_own_etcd_is_silent_goes_on_through_another() {
    let first = Node::new("a", &[]);
    let (second, third) = (Node::new("b", &[&first]), Node::new("c", &[&first]));
    let a = first.start().await;
    let (b, c) = tokio::join!(second.start(), third.start());
    let founder = store(&a).await;
    voters(&founder, 3).await;
    let through_b = Joined::through(&b, "b").await;
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
