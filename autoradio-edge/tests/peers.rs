//! Peers who ask each other while one of them is cut off from etcd, through a real front.
#![expect(clippy::unwrap_used, reason = "a test stops where it cannot go on")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use autoradio_edge::cluster::{Capacity, EtcdAccess, NodeRecord, Snapshot, Standing};
use autoradio_edge::http::{
    Front, FrontSettings, FrontStats, ListenerGate, SourceGate, TrustedProxies,
};
use autoradio_edge::peer::ask_all;
use autoradio_edge::placement::{Ledger, Placer};
use nix::sys::signal::Signal;
use support::{Etcd, Joined, PATIENCE, in_time, node, signal};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// A way to etcd that can be cut: connections end, new ones are closed at once.
struct Way {
    port: u16,
    open: watch::Sender<bool>,
}

impl Way {
    async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own_port = listener.local_addr().unwrap().port();
        let (open, is_open) = watch::channel(true);
        tokio::spawn(async move {
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                let mut is_open = is_open.clone();
                tokio::spawn(async move {
                    if !*is_open.borrow() {
                        return;
                    }
                    let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                        _ = is_open.wait_for(|open| !open) => {}
                    }
                });
            }
        });
        Self { port: own_port, open }
    }
}

/// A node whose front answers, for its peers at least.
async fn joined_with_front(etcd: &Etcd, name: &str, way: Option<&Way>) -> (Joined, NodeRecord) {
    joined_with_room(etcd, name, way, 100).await
}

async fn joined_with_room(
    etcd: &Etcd,
    name: &str,
    way: Option<&Way>,
    connections_max: usize,
) -> (Joined, NodeRecord) {
    let front = Front::bind(&[0]).unwrap();
    let record = NodeRecord { http_port: front.local_ports()[0], ..node(name) };
    let mut settings = etcd.settings(record.clone());
    if let Some(way) = way {
        settings.etcd = EtcdAccess::plain(vec![format!("http://127.0.0.1:{}", way.port)]);
    }
    let joined = Joined::with(settings).await;
    let own = Arc::new(record.clone());
    let alone = Snapshot::default().or_alone(&own);
    let placement = Placer::default().place(&alone, 0, &Ledger::default());
    let placements = watch::channel(Arc::new(placement)).1;
    let gate = SourceGate::new(
        record.name.clone(),
        joined.handle.secrets.clone(),
        placements.clone(),
        joined.handle.standing.clone(),
    );
    let relay_password = joined.handle.secrets.relay_password.clone();
    let server = ("radio.test".to_owned(), 80);
    let settings = FrontSettings {
        listener_gate: Arc::new(ListenerGate::new(server, relay_password, placements.clone())),
        trusted_proxies: TrustedProxies::default(),
        domain: "radio.test".to_owned(),
        node: record.name.clone(),
        ports: front.local_ports(),
        secrets: joined.handle.secrets.clone(),
        connections_max,
        connections_per_address: 0,
        standing: joined.handle.standing.clone(),
        own_state: joined.handle.own_state.clone(),
        icecast_proxy: true,
        icecast: ([127, 0, 0, 1], 8000).into(),
        gate: Arc::new(gate),
        titles: joined.handle.titles.clone(),
        ended: None,
        capacity_whole: Capacity::default(),
        ledger: Arc::default(),
    };
    let stats = Arc::new(FrontStats::default());
    tokio::spawn(front.run(settings, placements, stats, CancellationToken::new()));
    (joined, record)
}

#[tokio::test]
async fn a_front_tells_its_state_to_peers_and_to_nobody_else() {
    let etcd = Etcd::start().await;
    let (b, record) = joined_with_front(&etcd, "b", None).await;
    b.stands("it is sure", PATIENCE, Standing::Sure).await;
    let record = [Arc::new(record)];
    let heard = ask_all(&record, &b.handle.secrets.relay_password).await.heard;
    assert_eq!(heard.len(), 1);
    let state = &heard[0].state;
    assert!(state.quorum && state.quorum_age_ms < 3_000 && state.revision > 0, "{state:?}");
    let stranger = ask_all(&record, "guess").await;
    assert!(stranger.heard.is_empty() && stranger.mute == 1, "{stranger:?}");
    b.leave().await;
    etcd.child.stop().await;
}

#[tokio::test]
async fn a_front_that_is_full_answers_its_peers_still() {
    let etcd = Etcd::start().await;
    let (b, record) = joined_with_room(&etcd, "b", None, 1).await;
    let _only_client = TcpStream::connect(("127.0.0.1", record.http_port)).await.unwrap();
    let mut refused = TcpStream::connect(("127.0.0.1", record.http_port)).await.unwrap();
    refused.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    in_time("it is full", PATIENCE, refused.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.0 503"), "{answer}");
    let record = [Arc::new(record)];
    let answers = ask_all(&record, &b.handle.secrets.relay_password).await;
    assert_eq!((answers.heard.len(), answers.mute), (1, 0), "{answers:?}");
    b.leave().await;
    etcd.child.stop().await;
}

#[tokio::test]
async fn a_node_cut_off_from_etcd_steps_down_while_a_peer_has_it_and_comes_back() {
    let etcd = Etcd::start().await;
    let way = Way::to(etcd.managed.client_port).await;
    let (a, _) = joined_with_front(&etcd, "a", Some(&way)).await;
    let (b, _) = joined_with_front(&etcd, "b", None).await;
    for joined in [&a, &b] {
        joined.until("both are there", PATIENCE, |it| it.nodes.len() == 2).await;
        joined.stands("it is sure", PATIENCE, Standing::Sure).await;
    }
    way.open.send_replace(false);
    a.stands("it steps down", Duration::from_secs(20), Standing::SteppedDown).await;
    assert_eq!(b.handle.standing.now(), Standing::Sure, "the other one lost nothing");
    b.until("its lease ends", PATIENCE, |it| it.nodes.len() == 1).await;
    assert_eq!(a.handle.standing.now(), Standing::SteppedDown);
    way.open.send_replace(true);
    a.stands("it comes back", PATIENCE, Standing::Sure).await;
    b.until("it has a lease again", PATIENCE, |it| it.nodes.len() == 2).await;
    a.leave().await;
    b.leave().await;
    etcd.child.stop().await;
}

#[tokio::test]
async fn nodes_that_have_lost_etcd_together_hold_over_and_never_step_down() {
    let etcd = Etcd::start().await;
    let (a, _) = joined_with_front(&etcd, "a", None).await;
    let (b, _) = joined_with_front(&etcd, "b", None).await;
    for joined in [&a, &b] {
        joined.until("both are there", PATIENCE, |it| it.nodes.len() == 2).await;
        joined.stands("it is sure", PATIENCE, Standing::Sure).await;
    }
    let pid = etcd.child.pid().unwrap();
    signal(pid, Signal::SIGSTOP);
    let mut seen = Vec::new();
    for joined in [&a, &b] {
        let mut reader = joined.handle.standing.clone();
        while reader.now() != (Standing::HoldingOver { alone: false }) {
            in_time("it holds over", PATIENCE, reader.changed()).await;
            seen.push(reader.now());
        }
    }
    assert!(!seen.contains(&Standing::SteppedDown), "{seen:?}");
    signal(pid, Signal::SIGKILL);
    for joined in [&a, &b] {
        joined.stands("it is sure again", PATIENCE, Standing::Sure).await;
    }
    a.leave().await;
    b.leave().await;
    etcd.child.stop().await;
}

#[tokio::test]
async fn a_node_that_hears_of_etcds_return_from_a_peer_waits_for_its_own_answer() {
    let etcd = Etcd::start().await;
    let way = Way::to(etcd.managed.client_port).await;
    let (a, _) = joined_with_front(&etcd, "a", Some(&way)).await;
    let (b, _) = joined_with_front(&etcd, "b", None).await;
    for joined in [&a, &b] {
        joined.until("both are there", PATIENCE, |it| it.nodes.len() == 2).await;
        joined.stands("it is sure", PATIENCE, Standing::Sure).await;
    }
    let pid = etcd.child.pid().unwrap();
    signal(pid, Signal::SIGSTOP);
    for joined in [&a, &b] {
        let held = Standing::HoldingOver { alone: false };
        joined.stands("it holds over", PATIENCE, held).await;
    }
    way.open.send_replace(false);
    signal(pid, Signal::SIGKILL);
    let mut reader = a.handle.standing.clone();
    b.stands("it is sure again", PATIENCE, Standing::Sure).await;
    while reader.now() != Standing::Asking {
        in_time("it hears from its peer", PATIENCE, reader.changed()).await;
        assert_ne!(reader.now(), Standing::SteppedDown, "nobody can have claimed yet");
    }
    way.open.send_replace(true);
    while reader.now() != Standing::Sure {
        in_time("it is sure again too", PATIENCE, reader.changed()).await;
        assert_ne!(reader.now(), Standing::SteppedDown, "its lease was extended");
    }
    a.leave().await;
    b.leave().await;
    etcd.child.stop().await;
}
