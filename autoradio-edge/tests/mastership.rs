//! Who is master: rank, drain, hand-over, many mounts; several nodes on one real etcd.
#![expect(clippy::unwrap_used, reason = "a test stops where it cannot go on")]

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use autoradio_edge::clock;
use autoradio_edge::cluster::{LoadRecord, Master, MountPath, NodeName, Snapshot, SourceRecord};
use autoradio_edge::placement::rendezvous;
use support::{Etcd, Joined, PATIENCE, mount, node, path};
use tokio::sync::watch;

const MOUNTS: usize = 40;

fn name(name: &str) -> NodeName {
    name.parse().unwrap()
}

fn paths() -> Vec<MountPath> {
    (0..MOUNTS).map(|number| path(&format!("/m{number}"))).collect()
}

/// Whom the cluster prefers.
fn preferred(snapshot: &Snapshot, mount: &MountPath) -> NodeName {
    let candidates = rendezvous::candidates(snapshot);
    let first = candidates.iter().find(|it| rendezvous::rank(&candidates, it, mount, 1) == 0);
    first.unwrap().name.clone()
}

fn held(snapshot: &Snapshot, by: &str) -> usize {
    snapshot.masters.values().filter(|master| master.node == name(by)).count()
}

async fn both(etcd: &Etcd) -> (Joined, Joined) {
    let (a, b) = (etcd.join("a").await, etcd.join("b").await);
    for joined in [&a, &b] {
        joined.until("both are there", PATIENCE, |it| it.nodes.len() == 2).await;
    }
    (a, b)
}

#[tokio::test]
async fn mounts_go_to_whom_all_nodes_prefer_and_stay_when_another_joins() {
    let etcd = Etcd::start().await;
    let (a, b) = both(&etcd).await;
    let store = etcd.store().await;
    for path in paths() {
        store.create_mount(&mount(path.as_str())).await.unwrap();
    }
    let all = |it: &Arc<Snapshot>| it.masters.len() == MOUNTS;
    let snapshot = a.until("every mount has a master", PATIENCE, all).await;
    let as_preferred = |path: &MountPath| snapshot.masters[path].node == preferred(&snapshot, path);
    // A busy machine may let the second in rank be first now and then.
    let agreed = paths().iter().filter(|path| as_preferred(path)).count();
    assert!(agreed > MOUNTS * 3 / 4, "{agreed} of {MOUNTS}");
    assert!(held(&snapshot, "a") > 5 && held(&snapshot, "b") > 5, "both have a share");

    let c = etcd.join("c").await;
    let joined = c.until("the third is there", PATIENCE, |it| it.nodes.len() == 3).await;
    c.until("it has told its load", PATIENCE, |it| it.loads.contains_key(&name("c"))).await;
    assert_eq!(joined.masters, snapshot.masters, "a node that joins moves nothing");
    for joined in [a, b, c] {
        joined.leave().await;
    }
    etcd.child.stop().await;
}

#[tokio::test]
async fn a_node_that_leaves_leaves_its_mounts_to_others_and_theirs_alone() {
    let etcd = Etcd::start().await;
    let (a, b) = both(&etcd).await;
    let store = etcd.store().await;
    for path in paths() {
        store.create_mount(&mount(path.as_str())).await.unwrap();
    }
    let before = a.until("all are held", PATIENCE, |it| it.masters.len() == MOUNTS).await;
    let since = clock::now();
    b.leave().await;
    let after = a.until("one holds all", PATIENCE, |it| held(it, "a") == MOUNTS).await;
    assert!(clock::now() - since < PATIENCE);
    for (path, master) in &before.masters {
        let kept = after.masters[path] == *master;
        assert_eq!(kept, master.node == name("a"), "{path}: {master:?}");
        assert!(kept || after.masters[path].epoch > master.epoch, "a new epoch");
    }
    a.leave().await;
    etcd.child.stop().await;
}

#[tokio::test]
async fn a_drained_node_hands_its_mounts_over_and_claims_none() {
    let etcd = Etcd::start().await;
    let (a, b) = both(&etcd).await;
    let store = etcd.store().await;
    for path in paths() {
        store.create_mount(&mount(path.as_str())).await.unwrap();
    }
    a.until("all are held", PATIENCE, |it| it.masters.len() == MOUNTS).await;
    assert!(store.drain(&name("a")).await.unwrap());
    assert!(!store.drain(&name("a")).await.unwrap(), "it drains already");
    b.until("the other holds all", PATIENCE, |it| held(it, "b") == MOUNTS).await;
    store.create_mount(&mount("/new")).await.unwrap();
    let new = path("/new");
    let snapshot = a.until("it has a master", PATIENCE, |it| it.masters.contains_key(&new)).await;
    assert_eq!(snapshot.masters[&new].node, name("b"));

    assert!(store.drain(&name("b")).await.unwrap());
    store.create_mount(&mount("/newer")).await.unwrap();
    let newer = path("/newer");
    let snapshot = a
        .until("all drain: somebody takes it", PATIENCE, |it| it.masters.contains_key(&newer))
        .await;
    assert_eq!(held(&snapshot, "b") + held(&snapshot, "a"), MOUNTS + 2, "nothing is let go");
    assert!(store.undrain(&name("a")).await.unwrap());
    assert!(!store.undrain(&name("a")).await.unwrap(), "it does not drain any more");
    b.until("the first one takes all", PATIENCE, |it| held(it, "a") == MOUNTS + 2).await;
    a.leave().await;
    b.leave().await;
    etcd.child.stop().await;
}

#[tokio::test]
async fn live_mounts_are_handed_over_one_at_a_time() {
    let etcd = Etcd::start().await;
    let store = etcd.store().await;
    for path in paths() {
        store.create_mount(&mount(path.as_str())).await.unwrap();
    }
    // All mounts have sources, as the front of `a` tells.
    let mut load = LoadRecord::idle();
    let source = SourceRecord { since_unix_s: 1, content_type: "audio/mpeg".to_owned() };
    load.sources = paths().into_iter().map(|path| (path, source.clone())).collect();
    let mut settings = etcd.settings(node("a"));
    settings.load = watch::channel(Arc::new(load)).1;
    let a = Joined::with(settings).await;
    a.until("one holds all", PATIENCE, |it| held(it, "a") == MOUNTS).await;
    let b = etcd.join("b").await;
    b.until("both are there", PATIENCE, |it| it.nodes.len() == 2 && it.loads.len() == 2).await;

    // The node's own wish does what the operator's does.
    a.handle.drain();
    b.until("the other holds all", PATIENCE, |it| held(it, "b") == MOUNTS).await;
    let history = b.handle.snapshots.borrow().clone();
    let epochs: BTreeSet<i64> =
        history.masters.values().map(|master: &Master| master.epoch).collect();
    assert_eq!(epochs.len(), MOUNTS, "no two of them moved in one transaction");
    a.leave().await;
    b.until("its wish went with it", PATIENCE, |it| it.draining.is_empty()).await;
    b.leave().await;
    etcd.child.stop().await;
}

#[tokio::test]
async fn ten_thousand_mounts_find_their_masters() {
    let etcd = Etcd::start().await;
    let (a, b) = both(&etcd).await;
    let record = serde_json::to_string(&mount("/m")).unwrap();
    for hundred in 0..100 {
        let puts = (0..100).map(|number| {
            let path = format!("/m{}", hundred * 100 + number);
            let value = record.replace("\"/m\"", &format!("{path:?}"));
            format!("put /autoradio/v1/mounts/{} {}\n", &path[1..], serde_json::json!(value))
        });
        let puts: String = puts.collect();
        etcd.ctl_with_input(&["txn"], &format!("\n{puts}\n\n"));
    }
    let all = |it: &Arc<Snapshot>| it.masters.len() == 10_000;
    let within = Duration::from_secs(120);
    let snapshot = a.until("every mount has a master", within, all).await;
    assert_eq!(snapshot.mounts.len(), 10_000);
    // On a busy machine one of them claims for the other, too: how many each holds is no promise.
    let shares = [held(&snapshot, "a"), held(&snapshot, "b")];
    assert!(shares.iter().all(|share| *share > 0), "both claim: {shares:?}");
    a.leave().await;
    b.leave().await;
    etcd.child.stop().await;
}
