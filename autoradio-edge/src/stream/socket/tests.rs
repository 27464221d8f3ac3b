//! The hub between Icecasts and listeners: who hears what, for how long.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use autoradio_common::limits::{STREAM_RING_BYTES_MAX, STREAM_SKIPS_MAX};

use super::testing::{FRAME, Icecast, Rig, in_order, mount, numbers};
use crate::cluster::Master;
use crate::placement::place;
use crate::stream::StreamError;

#[tokio::test(flavor = "multi_thread")]
async fn many_listeners_have_one_upstream_and_each_hears_whole_frames_from_its_border_on() {
    let rig = Rig::start(|_| {}).await;
    rig.icecast.play("/a", "audio/mpeg");
    let mut first = rig.listen("/a").await;
    rig.icecast.send("/a", 0..300);
    first.hear(250).await;
    let mut late = rig.listen("/a").await;
    rig.icecast.send("/a", 300..400);
    let heard = late.hear(390).await;
    assert!(heard.windows(2).all(|pair| pair[1] == pair[0] + 1), "{heard:?}");
    let burst = 65_536 / FRAME as u32;
    assert!((299 - burst - 5..300 - burst + 5).contains(&heard[0]), "a burst: {}", heard[0]);
    assert_eq!(rig.icecast.asked.load(Ordering::Relaxed), 1);
    let views = rig.hub.listeners();
    assert_eq!(views.len(), 2);
    assert_eq!((views[0].mount.as_str(), views[0].agent.as_deref()), ("/a", Some("test")));
    assert!(views[0].bytes >= 251 * FRAME as u64, "what it has read it got");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_stays_while_the_stream_is_lost_and_hears_no_frame_twice() {
    let rig = Rig::start(|_| {}).await;
    rig.icecast.play("/a", "audio/mpeg");
    let mut listener = rig.listen("/a").await;
    rig.icecast.send("/a", 0..100);
    let mut heard = listener.hear(90).await;
    rig.icecast.end("/a");
    rig.icecast.play("/a", "audio/mpeg");
    let asked = rig.icecast.asked.load(Ordering::Relaxed);
    rig.wait_until("the hub asks again", |_| {
        rig.icecast.asked.load(Ordering::Relaxed) > asked && rig.icecast.audio.receiver_count() > 0
    })
    .await;
    // As an Icecast with a burst does: what was heard comes again.
    rig.icecast.send("/a", 20..200);
    heard.extend(listener.hear(190).await);
    assert!(in_order(&heard), "{heard:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mount_that_does_not_play_is_refused_and_one_that_begins_to_is_not() {
    let rig = Rig::start(|_| {}).await;
    let refused = rig.hub.tune(&mount("/a")).await.expect_err("nothing plays");
    assert_eq!(refused, StreamError::NoSource);
    let unknown = rig.hub.tune(&mount("/c")).await.expect_err("no such mount");
    assert_eq!(unknown, StreamError::MountUnknown);
    let hub = rig.hub.clone();
    let waiting = tokio::spawn(async move { hub.tune(&mount("/a")).await });
    rig.wait_until("it is asked for", |_| rig.icecast.asked.load(Ordering::Relaxed) > 1).await;
    rig.icecast.play("/a", "audio/mpeg");
    assert!(waiting.await.expect("no panic").is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fallback_plays_for_a_mount_without_a_source_until_it_has_one() {
    let rig = Rig::start(|record| {
        record.fallback = (record.path.as_str() == "/a").then(|| mount("/b"));
    })
    .await;
    rig.icecast.play("/b", "audio/mpeg");
    let mut listener = rig.listen("/a").await;
    rig.icecast.send("/b", 1_000..1_100);
    listener.hear(1_090).await;
    assert_eq!(rig.hub.listeners()[0].mount.as_str(), "/a", "its mount is its own");
    rig.icecast.play("/a", "audio/mpeg");
    let mut number = 5_000;
    let own = loop {
        rig.icecast.send("/b", 1_100..1_101);
        rig.icecast.send("/a", number..number + 10);
        number += 10;
        let frame = numbers(&listener.read(FRAME).await)[0];
        if frame >= 5_000 {
            break frame;
        }
    };
    listener.hear(own + 20).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn listeners_are_closed_after_the_grace_or_when_the_type_changes_and_told_to_the_log() {
    let mut rig = Rig::start(|record| record.grace_s = 1).await;
    rig.icecast.play("/a", "audio/mpeg");
    let mut listener = rig.listen("/a").await;
    rig.icecast.send("/a", 0..100);
    listener.hear(90).await;
    rig.icecast.end("/a");
    listener.wait_closed().await;
    let ended = rig.ended.recv().await.expect("told");
    assert_eq!((ended.request.as_str(), ended.view.mount.as_str()), ("GET / HTTP/1.0", "/a"));
    assert!(ended.view.bytes >= 90 * FRAME as u64);

    rig.icecast.play("/a", "audio/mpeg");
    let mut listener = rig.listen("/a").await;
    rig.icecast.end("/a");
    rig.icecast.play("/a", "application/ogg");
    listener.wait_closed().await;
    let tuned = rig.hub.tune(&mount("/a")).await.expect("it plays");
    assert_eq!(tuned.head.content_type, "application/ogg");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_follows_its_mount_to_another_master() {
    let mut rig = Rig::start(|_| {}).await;
    let second = Icecast::start().await;
    rig.icecast.play("/a", "audio/mpeg");
    let mut listener = rig.listen("/a").await;
    rig.icecast.send("/a", 0..100);
    listener.hear(90).await;
    let mut record = (**rig.snapshot.nodes.values().next().expect("a node")).clone();
    record.name = "node2".parse().expect("a name");
    record.peer_address = second.address.ip();
    record.icecast_port = second.address.port();
    let node = record.name.clone();
    rig.snapshot.nodes.insert(node.clone(), Arc::new(record));
    rig.snapshot.masters.insert(mount("/a"), Master { node, epoch: 2 });
    rig.placement.send_replace(Arc::new(place(&rig.snapshot)));
    rig.wait_until("the new master is asked", |_| second.asked.load(Ordering::Relaxed) > 0).await;
    rig.icecast.send("/a", 100..120);
    listener.hear(110).await;
    second.play("/a", "audio/mpeg");
    rig.wait_until("the new master plays", |_| second.audio.receiver_count() > 0).await;
    second.send("/a", 200..300);
    listener.hear(290).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_closes_a_listener_and_moves_all_of_a_mount() {
    let rig = Rig::start(|_| {}).await;
    rig.icecast.play("/a", "audio/mpeg");
    rig.icecast.play("/b", "audio/mpeg");
    let (mut one, mut two) = (rig.listen("/a").await, rig.listen("/a").await);
    rig.icecast.send("/a", 0..100);
    assert!(!rig.hub.close(1_000));
    assert!(rig.hub.close(rig.hub.listeners()[0].id));
    one.wait_closed().await;
    two.hear(90).await;
    assert_eq!(rig.hub.move_all(&mount("/a"), &mount("/c")), None);
    assert_eq!(rig.hub.move_all(&mount("/b"), &mount("/a")), None, "nobody listens there");
    assert_eq!(rig.hub.move_all(&mount("/a"), &mount("/b")), Some(1));
    rig.wait_until("it is listed there", |hub| {
        hub.listeners().iter().any(|view| view.mount.as_str() == "/b")
    })
    .await;
    rig.icecast.send("/b", 500..600);
    let heard = two.hear(590).await;
    assert!(in_order(&heard), "{heard:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_leaves_while_nothing_plays_is_noticed() {
    let rig = Rig::start(|_| {}).await;
    rig.icecast.play("/a", "audio/mpeg");
    drop(rig.listen("/a").await);
    rig.wait_until("it is gone", |hub| hub.listeners().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_listener_skips_to_the_live_edge_in_whole_frames_and_holds_up_nobody() {
    const STEP: u32 = 1_000;
    let mut rig = Rig::start(|_| {}).await;
    rig.icecast.play("/a", "audio/mpeg");
    let (mut good, mut slow) = (rig.listen("/a").await, rig.listen("/a").await);
    let rings = STREAM_RING_BYTES_MAX as u32 / FRAME as u32;
    let mut number = 0;
    while number < 2 * rings {
        rig.icecast.send("/a", number..number + STEP);
        number += STEP;
        let heard = good.hear(number - 10).await;
        assert_eq!(heard.len() as u32, heard.last().expect("some") - heard[0] + 1, "no gap");
    }
    let mut heard = Vec::new();
    rig.icecast.send("/a", number..number + STEP);
    number += STEP;
    while heard.last().is_none_or(|last| *last < number - 10) {
        heard.extend(numbers(&slow.read(FRAME).await));
    }
    assert!(in_order(&heard), "out of order");
    let gaps = heard.windows(2).filter(|pair| pair[1] != pair[0] + 1).count();
    assert!((1..=usize::from(STREAM_SKIPS_MAX)).contains(&gaps), "{gaps} gaps");
    assert!(rig.ended.try_recv().is_err(), "nobody was closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_stops_closes_all() {
    let rig = Rig::start(|_| {}).await;
    rig.icecast.play("/a", "audio/mpeg");
    let mut listener = rig.listen("/a").await;
    rig.hub.stop().await;
    listener.wait_closed().await;
    let refused = rig.hub.tune(&mount("/a")).await.expect_err("it has stopped");
    assert_eq!(refused, StreamError::Stopping);
}
