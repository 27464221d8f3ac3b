//! Where listeners are sent when this node has no room for them, and what those get who were sent here.

use std::sync::Arc;

use autoradio_common::limits::ICECAST_RELAYS_MAX;
use autoradio_edge::cluster::{NodeName, SourceRecord};

use crate::rig::{
    AUTHORIZATION, FRAME_BYTES, Rig, frames, master, mount, node_name, send_to, wait_until,
};

/// The answer's status line and its `Location`.
fn sent(rig: &Rig, request: &str) -> (String, Option<String>) {
    let answer = rig.send(format!("{request}\r\n\r\n")).read_all();
    let location = answer.lines().find_map(|line| line.strip_prefix("Location: "));
    (answer.lines().next().unwrap_or_default().to_owned(), location.map(str::to_owned))
}

fn found(location: &str) -> (String, Option<String>) {
    ("HTTP/1.0 302 Found".to_owned(), Some(location.to_owned()))
}

fn drain(rig: &mut Rig, node: NodeName) {
    rig.snapshot.draining.insert(node);
    rig.place();
}

#[test]
fn listeners_of_a_full_or_draining_node_are_sent_to_another_with_their_query() {
    let mut rig = Rig::start();
    let _source = rig.source("/live.mp3");
    rig.add_peer(0);
    rig.load(&node_name(1), 1_000);
    rig.place();
    let location = "http://node2.radio.test:8080/_stream/live.mp3?token=a%2f";
    let request = "GET /live.mp3?token=a%2f HTTP/1.0";
    assert_eq!(sent(&rig, request), found(location), "full");
    assert_eq!(rig.stats.view().listeners, 0);

    rig.load(&node_name(1), 0);
    rig.place();
    let mut listener = rig.send(format!("{request}\r\n\r\n"));
    assert!(listener.read_head().starts_with("HTTP/1.0 200 "), "headroom");

    drain(&mut rig, node_name(1));
    assert_eq!(sent(&rig, request), found(location), "draining");
    let answer = rig.send("HEAD /live.mp3 HTTP/1.0\r\n\r\n").read_all();
    assert!(answer.starts_with("HTTP/1.0 200 "), "HEAD stays: {answer}");
    let answer = rig.send(format!("{request}\r\n\r\n")).read_all();
    assert!(answer.contains("\r\nAccess-Control-Allow-Origin: *\r\n"), "{answer}");
}

#[test]
fn who_is_sent_elsewhere_may_ask_again_on_the_same_connection_but_not_by_way_of_a_proxy() {
    let request = "GET /live.mp3 HTTP/1.1\r\nHost: radio.test\r\n\r\n";
    let sent_away = |mut rig: Rig| {
        rig.add_peer(0);
        drain(&mut rig, node_name(1));
        let mut client = rig.send(request);
        let head = client.read_head();
        assert!(head.starts_with("HTTP/1.1 302 "), "{head}");
        (rig, client, head)
    };
    let (_rig, mut client, first) = sent_away(Rig::start());
    assert!(!first.contains("\r\nConnection: "), "{first}");
    client.write(request.as_bytes());
    assert_eq!(client.read_head(), first, "asked again");
    client.write(b"GET / HTTP/1.1\r\nHost: radio.test\r\n\r\n");
    let page = client.read_all();
    assert!(page.starts_with("HTTP/1.1 200 "), "asked for something else: {page}");

    let (_rig, mut client, first) = sent_away(Rig::behind_proxies());
    assert!(first.contains("\r\nConnection: close\r\n"), "{first}");
    client.wait_closed();
}

#[test]
fn a_listener_who_was_sent_here_is_served_or_refused_but_never_sent_on() {
    let mut rig = Rig::start();
    let mut source = rig.source("/live.mp3");
    let peer = rig.add_peer(0);
    rig.load(&node_name(1), 1_000);
    rig.place();
    let request = "GET /_stream/live.mp3 HTTP/1.0\r\n\r\n";
    let mut listener = rig.send(request);
    assert!(listener.read_head().starts_with("HTTP/1.0 200 "), "the reserve is used");
    source.write(&frames(b'x', 20));
    assert_eq!(listener.read_exactly(FRAME_BYTES), frames(b'x', 1));

    rig.load(&node_name(1), 1_250);
    rig.place();
    let refused = |rig: &Rig, why: &str| {
        let answer = rig.send(request).read_all();
        assert!(answer.starts_with("HTTP/1.0 503 "), "{why}: {answer}");
        assert!(answer.contains("\r\nRetry-After: "), "{why}: {answer}");
    };
    refused(&rig, "really full");
    rig.load(&node_name(1), 0);
    drain(&mut rig, node_name(1));
    refused(&rig, "draining");
    drain(&mut rig, peer);
    let answer = rig.send(request).read_head();
    assert!(answer.starts_with("HTTP/1.0 200 "), "all drain: {answer}");
}

#[test]
fn without_proxying_listeners_go_to_an_icecast() {
    let mut rig = Rig::without_proxy();
    let here = format!("http://node1.radio.test:{}/live.mp3?x=1", rig.icecast.port);
    let request = "GET /live.mp3?x=1 HTTP/1.0";
    assert_eq!(sent(&rig, request), found(&here));
    rig.add_peer(0);
    drain(&mut rig, node_name(1));
    assert_eq!(sent(&rig, request), found("http://node2.radio.test:8001/live.mp3?x=1"));
}

#[test]
fn without_proxying_the_master_gets_the_listeners_of_a_mount_that_other_icecasts_may_not_relay() {
    let mut rig = Rig::without_proxy();
    let peer = rig.add_peer(0);
    rig.snapshot.masters.insert(mount("/two.mp3"), master(2, 1));
    let record = rig.snapshot.mounts[&mount("/two.mp3")].clone();
    for number in rig.snapshot.mounts.len()..=ICECAST_RELAYS_MAX {
        rig.snapshot.mounts.insert(mount(&format!("/{number}")), record.clone());
    }
    rig.place();
    let at_master = found("http://node2.radio.test:8001/two.mp3");
    assert_eq!(sent(&rig, "GET /two.mp3 HTTP/1.0"), at_master);

    let limited = rig.snapshot.mounts.get_mut(&mount("/two.mp3")).expect("the mount");
    Arc::make_mut(limited).max_listeners = Some(3);
    let mut listen = |listeners| {
        let load = rig.snapshot.loads.get_mut(&peer).expect("a load");
        Arc::make_mut(load).mounts.insert(mount("/two.mp3"), listeners);
        rig.place();
        sent(&rig, "GET /two.mp3 HTTP/1.0")
    };
    assert_eq!(listen(2), at_master);
    let (status, _) = listen(3);
    assert!(status.starts_with("HTTP/1.0 503 "), "its Icecast would take a fourth: {status}");
}

#[test]
fn a_crowd_within_one_heartbeat_is_sent_by_what_is_on_its_way() {
    let mut rig = Rig::start();
    let peer = rig.add_peer(997);
    rig.load(&node_name(1), 1_000);
    rig.place();
    for _ in 0..5 {
        let (status, _) = sent(&rig, "GET /two.mp3 HTTP/1.0");
        assert!(
            status.starts_with("HTTP/1.0 302 "),
            "nothing plays, so nobody is expected: {status}"
        );
    }
    let source = SourceRecord { since_unix_s: 1, content_type: "audio/mpeg".to_owned() };
    let load = rig.snapshot.loads.get_mut(&peer).expect("a load");
    Arc::make_mut(load).sources.insert(mount("/live.mp3"), source);
    rig.place();
    for _ in 0..3 {
        let location = "http://node2.radio.test:8080/_stream/live.mp3";
        assert_eq!(sent(&rig, "GET /live.mp3 HTTP/1.0"), found(location));
    }
    // Its last headroom is on the way to it: what is left is the reserve here, where nothing plays.
    let (status, _) = sent(&rig, "GET /live.mp3 HTTP/1.0");
    assert!(status.starts_with("HTTP/1.0 404 "), "{status}");
}

#[test]
fn head_tells_the_type_that_another_front_reports_or_that_icecast_knows() {
    let mut rig = Rig::start();
    let peer = rig.add_peer(0);
    let mut load = (*rig.snapshot.loads[&peer]).clone();
    let source = SourceRecord { since_unix_s: 1, content_type: "audio/flac".to_owned() };
    load.sources.insert("/live.mp3".parse().expect("a mount path"), source);
    rig.snapshot.loads.insert(peer, load.into());
    rig.place();
    let head = |path: &str| rig.send(format!("HEAD {path} HTTP/1.0\r\n\r\n")).read_all();
    assert!(head("/live.mp3").contains("\r\nContent-Type: audio/flac\r\n"));
    assert!(head("/two.mp3").starts_with("HTTP/1.0 404 "));

    let head_of_source =
        format!("SOURCE /two.mp3 HTTP/1.0\r\n{AUTHORIZATION}Content-Type: audio/aac\r\n\r\n");
    let mut direct = send_to(rig.icecast.port, head_of_source);
    assert!(direct.read_head().starts_with("HTTP/1.0 200 "), "it comes past the front");
    direct.write(&[0; 4_000]);
    wait_until("Icecast plays", || head("/two.mp3").starts_with("HTTP/1.0 200 "));
    assert!(head("/two.mp3").contains("\r\nContent-Type: audio/aac\r\n"));
}
