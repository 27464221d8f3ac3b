//! What a node misses while it cannot reach etcd, it learns afterwards: even if history was compacted or set back.

use std::path::Path;
use std::process::Command;

use autoradio_edge::cluster::EtcdAccess;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::rig::{Joined, Node, only};
use crate::support::{PATIENCE, free_ports, in_time, mount, path};

/// A way to etcd that can be cut.
struct Way {
    port: u16,
    to: u16,
    task: JoinHandle<()>,
}

impl Way {
    fn to(node: &Node) -> Self {
        let [port] = free_ports();
        let to = node.managed.client_port;
        Self { port, to, task: tokio::spawn(carry(port, to)) }
    }

    fn access(&self) -> EtcdAccess {
        EtcdAccess::plain(vec![format!("http://127.0.0.1:{}", self.port)])
    }

    async fn cut(&mut self) {
        self.task.abort();
        // An aborted task ends with an error, as it should.
        let _ = (&mut self.task).await;
    }

    fn heal(&mut self) {
        self.task = tokio::spawn(carry(self.port, self.to));
    }
}

async fn carry(port: u16, to: u16) {
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    // Dropped with this task, and all its connections with it.
    let mut connections = JoinSet::new();
    loop {
        let (mut near, _) = listener.accept().await.unwrap();
        connections.spawn(async move {
            if let Ok(mut far) = TcpStream::connect(("127.0.0.1", to)).await {
                let _ = copy_bidirectional(&mut near, &mut far).await;
            }
        });
    }
}

async fn watching(joined: &Joined, watching: bool) {
    let mut health = joined.handle.health.clone();
    let met = health.wait_for(|health| health.watching == watching);
    drop(in_time("the watch is lost or found", PATIENCE, met).await.unwrap());
}

#[tokio::test]
async fn what_was_compacted_meanwhile_is_listed_and_nothing_is_lost() {
    let node = Node::new("a", &[]);
    let etcd = node.start().await;
    let store = only(&node).await;
    for name in ["/stays", "/goes"] {
        store.create_mount(&mount(name)).await.unwrap();
    }
    let mut way = Way::to(&node);
    let joined = Joined::through(&way.access(), "a").await;
    watching(&joined, true).await;
    way.cut().await;
    watching(&joined, false).await;
    store.delete_mount(&path("/goes")).await.unwrap();
    store.create_mount(&mount("/comes")).await.unwrap();
    let status = node.ctl(&["endpoint", "status", "-w", "json"]);
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    let revision = status[0]["Status"]["header"]["revision"].to_string();
    node.ctl(&["compact", &revision]);
    way.heal();
    joined
        .sees("the new listing", PATIENCE, |it| {
            let names: Vec<String> = it.mounts.keys().map(ToString::to_string).collect();
            names == ["/comes", "/stays"]
        })
        .await;
    joined.leave().await;
    etcd.stop().await;
}

#[tokio::test]
async fn an_etcd_that_was_restored_from_a_backup_is_listed_anew() {
    let node = Node::new("a", &[]);
    let etcd = node.start().await;
    let store = only(&node).await;
    store.create_mount(&mount("/saved")).await.unwrap();
    let backup = node.data_dir().with_file_name("backup.db");
    node.ctl(&["snapshot", "save", backup.to_str().unwrap()]);
    for number in 0..20 {
        store.create_mount(&mount(&format!("/lost{number}"))).await.unwrap();
    }
    let mut way = Way::to(&node);
    let joined = Joined::through(&way.access(), "a").await;
    watching(&joined, true).await;
    assert_eq!(joined.handle.snapshots.borrow().mounts.len(), 21);

    way.cut().await;
    etcd.stop().await;
    restore(&node, &backup);
    let etcd = node.start().await;
    way.heal();
    joined.sees("what the backup holds", PATIENCE, |it| it.mounts.len() == 1).await;
    only(&node).await.create_mount(&mount("/new")).await.unwrap();
    joined.sees("what came since", PATIENCE, |it| it.mounts.contains_key(&path("/new"))).await;
    joined.leave().await;
    etcd.stop().await;
}

#[tokio::test]
async fn a_restored_etcd_that_has_come_as_far_as_before_is_listed_anew_too() {
    let node = Node::new("a", &[]);
    let etcd = node.start().await;
    let store = only(&node).await;
    store.create_mount(&mount("/saved")).await.unwrap();
    let backup = node.data_dir().with_file_name("backup.db");
    node.ctl(&["snapshot", "save", backup.to_str().unwrap()]);
    store.create_mount(&mount("/lost")).await.unwrap();
    let mut way = Way::to(&node);
    let joined = Joined::through(&way.access(), "a").await;
    watching(&joined, true).await;
    assert_eq!(joined.handle.snapshots.borrow().mounts.len(), 2);
    let known = joined.handle.snapshots.borrow().revision;

    way.cut().await;
    etcd.stop().await;
    restore(&node, &backup);
    let etcd = node.start().await;
    let store = only(&node).await;
    store.create_mount(&mount("/other")).await.unwrap();
    while store.snapshot().await.unwrap().0.revision <= known + 10 {
        node.ctl(&["put", "unrelated", "x"]);
    }
    way.heal();
    joined
        .sees("what it holds now", PATIENCE, |it| {
            it.mounts.keys().map(ToString::to_string).eq(["/other", "/saved"])
        })
        .await;
    joined.leave().await;
    etcd.stop().await;
}

fn restore(node: &Node, backup: &Path) {
    let (data, peer) = (node.data_dir(), format!("http://127.0.0.1:{}", node.managed.peer_port));
    let old = data.with_file_name("old");
    std::fs::rename(&data, &old).unwrap();
    let restored = Command::new("etcdctl")
        .env("ETCDCTL_API", "3")
        .args(["snapshot", "restore", backup.to_str().unwrap(), "--name=a"])
        .arg(format!("--data-dir={}", data.display()))
        .arg(format!("--initial-cluster=a={peer}"))
        .arg(format!("--initial-advertise-peer-urls={peer}"))
        .output()
        .unwrap();
    assert!(restored.status.success(), "{restored:?}");
    let owner = format!("--reference={}", old.display());
    let given = Command::new("chown").args(["-R", &owner]).arg(&data).status().unwrap();
    assert!(given.success());
}
