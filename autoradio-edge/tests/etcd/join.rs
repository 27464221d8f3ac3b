//! Nodes come, go, lose their disks, and come again.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::time::Duration;

use autoradio_edge::cluster::{ClusterError, ManagedEtcd, MemberStatus, known_endpoints};
use nix::sys::signal::Signal;

use crate::rig::{Joined, Node, names, only, store, three, voters};
use crate::support::{PATIENCE, in_time, mount, path, radioctl, signal, until};

#[tokio::test]
async fn nodes_that_join_at_one_time_become_voters_one_after_another() {
    let first = Node::new("a", &[]);
    let a = first.start().await;
    let founder = store(&a).await;
    founder.create_mount(&mount("/early")).await.unwrap();
    let (second, third) = (Node::new("b", &[&first]), Node::new("c", &[&first]));
    let (b, c) = tokio::join!(second.start(), third.start());

    let members = voters(&founder, 3).await;
    assert_eq!(names(&members), ["a", "b", "c"]);
    assert_eq!(members.iter().filter(|it| it.leader).count(), 1);
    for node in [&second, &third] {
        let local = only(node).await;
        assert!(local.mount(&path("/early")).await.is_ok(), "it answers for itself");
    }
    let shown = radioctl(&first.managed.endpoint(), &["cluster", "members", "-o", "json"], "");
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(shown.as_array().unwrap().len(), 3);
    assert!(shown[1]["healthy"] == true && shown[1]["learner"] == false, "{shown}");
    for etcd in [a, b, c] {
        etcd.stop().await;
    }
}

#[tokio::test]
async fn five_members_vote_and_the_sixth_node_is_a_client() {
    let first = Node::new("n1", &[]);
    let mut running = vec![first.start().await];
    for number in 2..=5 {
        let node = Node::new(&format!("n{number}"), &[&first]);
        running.push(node.start().await);
    }
    let last = Node::new("n6", &[&first]);
    let sixth = last.start().await;
    assert_eq!(sixth.pid(), None, "it runs no etcd");
    until("it notes for radioctl where the others are", PATIENCE, async || {
        known_endpoints(&last.managed.state_dir).contains(&first.managed.endpoint()).then_some(())
    })
    .await;
    let client = store(&sixth).await;
    client.create_mount(&mount("/from-afar")).await.unwrap();
    let members = voters(&client, 5).await;
    assert_eq!(names(&members), ["n1", "n2", "n3", "n4", "n5"]);
    sixth.stop().await;
    for etcd in running {
        etcd.stop().await;
    }
}

#[tokio::test]
async fn a_node_whose_disk_is_wiped_joins_again_and_nothing_is_lost() {
    let ([_first, second, _third], [a, b, c]) = three().await;
    let founder = store(&a).await;
    voters(&founder, 3).await;
    founder.create_mount(&mount("/kept")).await.unwrap();

    b.stop().await;
    second.wipe();
    let b = second.start().await;
    voters(&founder, 3).await;
    let local = only(&second).await;
    assert!(local.mount(&path("/kept")).await.is_ok());
    for etcd in [a, b, c] {
        etcd.stop().await;
    }
}

#[tokio::test]
async fn a_removed_member_joins_again_with_its_old_data_kept_aside() {
    let ([first, second, _third], [a, b, c]) = three().await;
    let founder = store(&a).await;
    voters(&founder, 3).await;

    b.stop().await;
    let url = first.managed.endpoint();
    let removed = radioctl(&url, &["cluster", "remove", "b"], "");
    assert!(removed.status.success(), "{removed:?}");
    let again = radioctl(&url, &["cluster", "remove", "b"], "");
    assert_eq!(again.status.code(), Some(3), "{again:?}");

    let forgotten = ManagedEtcd { join: Vec::new(), ..second.managed.clone() };
    let error = forgotten.start(PATIENCE).await.expect_err("removed");
    assert!(matches!(error, ClusterError::Removed { .. }), "{error}");
    assert!(error.to_string().contains("--join"), "{error}");

    let b = second.start().await;
    voters(&founder, 3).await;
    assert!(second.directories().contains(&"etcd.removed-1".to_owned()), "nothing is thrown away");
    for etcd in [a, b, c] {
        etcd.stop().await;
    }
}

#[tokio::test]
async fn removing_what_the_cluster_needs_is_refused() {
    let first = Node::new("a", &[]);
    let second = Node::new("b", &[&first]);
    let a = first.start().await;
    let url = first.managed.endpoint();
    let last = radioctl(&url, &["cluster", "remove", "a", "--force"], "");
    assert!(!last.status.success(), "{last:?}");
    assert!(String::from_utf8_lossy(&last.stderr).contains("the last that votes"), "{last:?}");
    let b = second.start().await;
    voters(&store(&a).await, 2).await;
    let shown = radioctl(&url, &["cluster", "members"], "");
    assert!(String::from_utf8_lossy(&shown.stdout).contains("weaker than one"), "{shown:?}");
    let gone = radioctl(&url, &["cluster", "remove", "b"], "");
    assert!(gone.status.success(), "one of two may leave: {gone:?}");
    b.stop().await;
    a.stop().await;
}

#[tokio::test]
async fn a_name_that_another_node_holds_is_refused_and_its_address_told() {
    let first = Node::new("a", &[]);
    let a = first.start().await;
    let error = Node::new("a", &[&first]).try_start().await.expect_err("taken");
    assert!(matches!(error, ClusterError::NameTaken { .. }), "{error}");
    let address = format!("http://127.0.0.1:{}", first.managed.peer_port);
    assert!(error.to_string().contains(&address), "{error}");
    a.stop().await;
}

#[tokio::test]
async fn a_living_namesake_whose_etcd_is_out_of_reach_keeps_its_name_and_its_vote() {
    let ([first, _second, _third], [a, b, c]) = three().await;
    let founder = store(&a).await;
    let ids = |members: &[MemberStatus]| -> BTreeSet<u64> {
        members.iter().map(|it| it.member.id).collect()
    };
    let before = ids(&voters(&founder, 3).await);
    let joined = Joined::through(b.access(), "b").await;
    let pid = b.pid().unwrap();
    signal(pid, Signal::SIGSTOP);
    let other = Node::new("b", &[&first]);
    let error = other.try_start().await.expect_err("taken");
    assert!(matches!(error, ClusterError::NameTaken { .. }), "{error}");
    assert!(error.to_string().contains("radioctl cluster remove b"), "{error}");
    assert_eq!(ids(&founder.members().await.unwrap()), before, "nobody was removed");

    // Gone in earnest, it makes room for one that comes from elsewhere with its name.
    signal(pid, Signal::SIGCONT);
    joined.leave().await;
    b.stop().await;
    let b = other.start().await;
    let after = voters(&founder, 3).await;
    assert_eq!(names(&after), ["a", "b", "c"]);
    assert_ne!(ids(&after), before);
    for etcd in [a, b, c] {
        etcd.stop().await;
    }
}

#[tokio::test]
async fn an_address_that_another_member_has_is_refused_and_that_member_stays() {
    let ([first, second, _third], [a, b, c]) = three().await;
    let founder = store(&a).await;
    voters(&founder, 3).await;
    b.stop().await;
    let mut other = Node::new("z", &[&first]);
    other.managed.peer_port = second.managed.peer_port;
    let error = other.try_start().await.expect_err("taken");
    assert!(matches!(error, ClusterError::AddressTaken { .. }), "{error}");
    assert_eq!(names(&founder.members().await.unwrap()), ["a", "b", "c"]);
    for etcd in [a, c] {
        etcd.stop().await;
    }
}

#[tokio::test]
async fn a_node_that_cannot_start_its_etcd_leaves_no_member_behind() {
    let first = Node::new("a", &[]);
    let a = first.start().await;
    let founder = store(&a).await;
    let count = async || founder.members().await.unwrap().len();
    let second = Node::new("b", &[&first]);
    let taken = TcpListener::bind(("127.0.0.1", second.managed.peer_port)).unwrap();
    let error = second.try_start().await.expect_err("taken");
    assert!(matches!(error, ClusterError::PortTaken { .. }), "{error}");
    assert_eq!(count().await, 1, "it was not even added");
    drop(taken);
    let broken = ManagedEtcd { program: "/bin/false".into(), ..second.managed.clone() };
    broken.start(Duration::from_secs(1)).await.expect_err("it ends at once");
    assert_eq!(count().await, 1, "it was taken back");

    // What a node leaves that dies in between; nobody else could join as long as it stands.
    first.ctl(&["member", "add", "x", "--learner", "--peer-urls=http://127.0.0.1:9"]);
    let members = founder.members().await.unwrap();
    let id = members.iter().find(|it| it.member.name.is_empty()).unwrap().member.id;
    let url = first.managed.endpoint();
    let shown = radioctl(&url, &["cluster", "members"], "");
    assert!(String::from_utf8_lossy(&shown.stdout).contains(&format!("{id:x}")), "{shown:?}");
    let removed = radioctl(&url, &["cluster", "remove", &format!("{id:x}")], "");
    assert!(removed.status.success(), "{removed:?}");
    assert_eq!(count().await, 1);
    a.stop().await;
}

#[tokio::test]
async fn nodes_that_are_switched_on_at_one_time_find_their_quorum() {
    let first = Node::new("a", &[]);
    let second = Node::new("b", &[&first]);
    let a = first.start().await;
    let b = second.start().await;
    voters(&store(&a).await, 2).await;
    a.stop().await;
    b.stop().await;

    // Alone, each would wait for the other: patience instead of a deadline.
    let waiting = first.managed.start(Duration::from_millis(100));
    let late = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        second.start().await
    };
    let (a, b) = in_time("both are up", PATIENCE, async { tokio::join!(waiting, late) }).await;
    let a = a.unwrap();
    voters(&store(&a).await, 2).await;
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn a_learner_that_is_killed_before_it_votes_gets_its_vote_later() {
    let first = Node::new("a", &[]);
    let second = Node::new("b", &[&first]);
    let a = first.start().await;
    let founder = store(&a).await;
    let b = second.start().await;
    // The supervisor starts it again; whether it voted by then or not, in the end it does.
    signal(b.pid().unwrap(), Signal::SIGKILL);
    voters(&founder, 2).await;
    until("it answers for itself", PATIENCE, async || {
        founder.members().await.ok().filter(|members| members.iter().all(|it| it.healthy))
    })
    .await;
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn a_join_that_broke_off_half_way_is_begun_anew() {
    let first = Node::new("a", &[]);
    let second = Node::new("b", &[&first]);
    let a = first.start().await;
    // What a node leaves that dies between being added and its first start.
    let peer = format!("--peer-urls=http://127.0.0.1:{}", second.managed.peer_port);
    first.ctl(&["member", "add", "b", "--learner", &peer]);
    let b = second.start().await;
    let members = voters(&store(&a).await, 2).await;
    assert_eq!(names(&members), ["a", "b"]);
    a.stop().await;
    b.stop().await;
}
