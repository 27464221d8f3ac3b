//! Two nodes: who takes a source when masters change, and what its listeners go on hearing.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use autoradio_common::limits::HTTP_MASTER_MS_MAX;
use autoradio_edge::cluster::Standing;
use autoradio_edge::placement::place;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::node::Node;
use crate::rig::{
    AUTHORIZATION, Client, FRAME_BYTES, PASSWORD, Rig, frames, master, mount, mount_record,
    send_to, wait_until,
};

/// What Icecast passes on at a time, in bytes: less stays with it until more comes.
const BLOCK: usize = 1_400;

/// A client whose answer has the status, from the first try that has.
fn wait_for_status(what: &str, status: &str, mut ask: impl FnMut() -> Client) -> Client {
    let mut found = None;
    wait_until(what, || {
        let mut client = ask();
        let answered = client.read_head().starts_with(status);
        found = answered.then_some(client);
        answered
    });
    found.expect("a client")
}

/// A listener straight at a node's Icecast, as in direct mode.
fn listen_directly(node: &Node) -> Client {
    let request = "GET /live.mp3 HTTP/1.0\r\nIcy-MetaData: 1\r\n\r\n";
    wait_for_status("the mount plays", "HTTP/1.0 200 ", || send_to(node.icecast.port, request))
}

fn direct_source(node: &Node) -> Client {
    let head =
        format!("SOURCE /live.mp3 HTTP/1.0\r\n{AUTHORIZATION}Content-Type: audio/mpeg\r\n\r\n");
    send_to(node.icecast.port, head)
}

fn assert_streams(source: &mut Client, listener: &mut Client, letter: u8) {
    source.write(&[letter; 8 * BLOCK]);
    let mut heard = Vec::new();
    wait_until("the listener hears the source", || {
        heard = listener.read_exactly(100);
        heard.contains(&letter)
    });
}

#[test]
fn a_source_at_a_slave_is_heard_everywhere_and_again_at_the_next_master() {
    let mut rig = Rig::of_relaying_nodes(2);
    let mut source = rig.nodes[1].source("/live.mp3");
    for number in 0..2 {
        let mut listener = listen_directly(&rig.nodes[number]);
        assert_streams(&mut source, &mut listener, b'a' + number as u8);
    }
    rig.make_master(2, 2);
    source.wait_closed();
    let mut again = rig.nodes[0].source("/live.mp3");
    for number in 0..2 {
        let mut listener = listen_directly(&rig.nodes[number]);
        assert_streams(&mut again, &mut listener, b'c' + number as u8);
    }
}

#[test]
fn a_slave_with_listeners_on_its_relay_takes_a_source_soon_after_it_became_master() {
    let mut rig = Rig::of_relaying_nodes(2);
    let mut source = rig.nodes[0].source("/live.mp3");
    let mut listener = listen_directly(&rig.nodes[1]);
    assert_streams(&mut source, &mut listener, b'a');
    rig.make_master(2, 2);
    let head =
        format!("SOURCE /live.mp3 HTTP/1.0\r\n{AUTHORIZATION}Content-Type: audio/mpeg\r\n\r\n");
    // As a client does: again, should this machine be too busy for the relay to go in time.
    let mut again =
        wait_for_status("the relay makes room", "HTTP/1.0 200 ", || rig.nodes[0].send(&head));
    let mut listener = listen_directly(&rig.nodes[1]);
    assert_streams(&mut again, &mut listener, b'b');
}

#[test]
fn a_source_at_another_front_or_straight_at_icecast_is_taken_over() {
    let rig = Rig::of_nodes(2);
    let mut at_one = rig.nodes[0].source("/live.mp3");
    let mut at_two = rig.nodes[1].source("/live.mp3");
    at_one.wait_closed();
    at_two.write(b"still mine");
    let again = rig.nodes[0].source("/live.mp3");
    at_two.wait_closed();
    again.stream.shutdown(std::net::Shutdown::Both).expect("open");
    let mut direct =
        wait_for_status("Icecast lets in", "HTTP/1.0 200 ", || direct_source(&rig.nodes[0]));
    let mut last = rig.nodes[1].source("/live.mp3");
    direct.wait_closed();
    let mut listener = listen_directly(&rig.nodes[0]);
    assert_streams(&mut last, &mut listener, b'l');
}

#[test]
fn only_the_master_lets_a_direct_source_in_and_only_with_the_mounts_password() {
    let mut rig = Rig::of_nodes(2);
    let slave = direct_source(&rig.nodes[1]).read_head();
    assert!(slave.starts_with("HTTP/1.0 401 "), "{slave}");
    // `source:inner-source`, which was right once.
    let inner = "Authorization: Basic c291cmNlOmlubmVyLXNvdXJjZQ==\r\n";
    let refused =
        send_to(rig.icecast.port, format!("SOURCE /live.mp3 HTTP/1.0\r\n{inner}\r\n")).read_head();
    assert!(refused.starts_with("HTTP/1.0 401 "), "{refused}");
    let mut source = direct_source(&rig.nodes[0]);
    assert!(source.read_head().starts_with("HTTP/1.0 200 "));
    let title = format!(
        "GET /admin/metadata?mode=updinfo&mount=/live.mp3&song=x HTTP/1.0\r\n{AUTHORIZATION}\r\n"
    );
    let answer = send_to(rig.icecast.port, title).read_head();
    assert!(answer.starts_with("HTTP/1.0 200 "), "{answer}");
    rig.make_master(2, 2);
    source.wait_closed();
}

#[test]
fn a_front_that_means_another_epoch_is_refused_until_it_knows_better() {
    let mut rig = Rig::of_nodes(2);
    let behind = Arc::new(place(&rig.snapshot));
    rig.make_master(1, 2);
    rig.nodes[1].place(&behind);
    let head = format!("SOURCE /live.mp3 HTTP/1.0\r\n{AUTHORIZATION}\r\n");
    let mut late = rig.nodes[1].send(&head);
    assert!(late.read_head().starts_with("HTTP/1.0 503 "), "the front stays behind");
    let mut source = rig.nodes[1].send(&head);
    rig.place();
    assert_eq!(source.read_head(), "HTTP/1.0 200 OK\r\n\r\n");
}

#[test]
fn a_mount_whose_path_has_to_be_encoded_is_taken_titled_taken_over_and_left_like_any_other() {
    let mut rig = Rig::of_nodes(2);
    let record = mount_record("/a b.mp3", PASSWORD);
    rig.snapshot.masters.insert(record.path.clone(), master(1, 1));
    rig.snapshot.mounts.insert(record.path.clone(), Arc::new(record));
    rig.place();
    let mut at_one = rig.nodes[0].source("/a%20b.mp3");
    let mut at_two = rig.nodes[1].source("/a%20b.mp3");
    at_one.wait_closed();
    let title = format!(
        "GET /admin/metadata?mode=updinfo&mount=/a%20b.mp3&song=x HTTP/1.0\r\n{AUTHORIZATION}\r\n"
    );
    for port in [rig.nodes[1].port, rig.icecast.port] {
        let answer = send_to(port, &title).read_head();
        assert!(answer.starts_with("HTTP/1.0 200 "), "{answer}");
    }
    at_two.write(b"still mine");
    rig.standing.send_replace(Standing::SteppedDown);
    at_two.wait_closed();
    rig.standing.send_replace(Standing::Sure);
    let direct = format!("SOURCE /a%20b.mp3 HTTP/1.0\r\n{AUTHORIZATION}\r\n");
    let mut direct =
        wait_for_status("Icecast lets in", "HTTP/1.0 200 ", || send_to(rig.icecast.port, &direct));
    rig.standing.send_replace(Standing::SteppedDown);
    direct.wait_closed();
}

#[test]
fn a_crowd_of_listeners_that_comes_at_once_is_let_in_whole() {
    const CROWD: usize = 300;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("up to the hard limit");
    let rig = Rig::of_nodes(2);
    let mut source = rig.nodes[0].source("/live.mp3");
    source.write(&frames(b'x', 40));
    drop(listen_directly(&rig.nodes[0]));
    let request = "GET /live.mp3 HTTP/1.0\r\n\r\n";
    let mut crowd: Vec<_> = (0..CROWD).map(|number| rig.nodes[number % 2].send(request)).collect();
    for (number, listener) in crowd.iter_mut().enumerate() {
        let head = listener.read_head();
        assert!(head.starts_with("HTTP/1.0 200 "), "listener {number}: {head}");
    }
    source.write(&frames(b'y', 40));
    for listener in &mut crowd {
        let frame = listener.read_exactly(FRAME_BYTES);
        assert!([frames(b'x', 1), frames(b'y', 1)].contains(&frame));
    }
}

#[test]
fn a_source_waits_a_moment_for_a_master() {
    let mut rig = Rig::of_nodes(2);
    rig.snapshot.masters.clear();
    rig.place();
    let head = format!("SOURCE /live.mp3 HTTP/1.0\r\n{AUTHORIZATION}\r\n");
    let mut source = rig.nodes[0].send(&head);
    rig.make_master(2, 5);
    assert_eq!(source.read_head(), "HTTP/1.0 200 OK\r\n\r\n");
    source.write(b"audio");
    // Its Icecast dies; who comes now is taken by the next master.
    rig.nodes[1].icecast.kill();
    source.wait_closed();
    let mut source = rig.nodes[0].send(&head);
    rig.make_master(1, 6);
    assert_eq!(source.read_head(), "HTTP/1.0 200 OK\r\n\r\n");
}

#[test]
fn a_source_may_come_before_the_news_of_its_mount() {
    let mut rig = Rig::of_nodes(1);
    let path = mount("/live.mp3");
    let record = rig.snapshot.mounts.remove(&path).unwrap();
    rig.place();
    let mut source = rig.nodes[0].send(format!("SOURCE /live.mp3 HTTP/1.0\r\n{AUTHORIZATION}\r\n"));
    // Whoever is sent away at once has been by the time that others are answered.
    for _ in 0..10 {
        rig.send("GET / HTTP/1.0\r\n\r\n").read_all();
    }
    rig.snapshot.mounts.insert(path, record);
    rig.place();
    assert_eq!(source.read_head(), "HTTP/1.0 200 OK\r\n\r\n");
}

#[test]
fn a_node_that_steps_down_closes_the_sources_it_took_and_takes_none() {
    let mut rig = Rig::of_nodes(2);
    rig.snapshot.masters.insert(mount("/two.mp3"), master(2, 1));
    rig.place();
    let mut own = rig.nodes[0].source("/live.mp3");
    let mut to_other = rig.nodes[0].source("/two.mp3");
    rig.standing.send_replace(Standing::SteppedDown);
    own.wait_closed();
    let head = format!("SOURCE /live.mp3 HTTP/1.0\r\n{AUTHORIZATION}\r\n");
    let answer = rig.nodes[1].send(&head).read_head();
    assert!(answer.starts_with("HTTP/1.0 503 "), "{answer}");
    to_other.write(b"untouched");
    rig.wait_for("the other node's source stays", |mount| {
        mount.path.as_str() == "/two.mp3" && mount.source_connected && mount.bytes_in == 9
    });

    rig.standing.send_replace(Standing::Sure);
    let mut through_other = rig.nodes[1].source("/live.mp3");
    rig.standing.send_replace(Standing::HoldingOver { alone: true });
    through_other.write(b"goes on");
    rig.nodes[1].wait_for("it is carried", |mount| mount.bytes_in == 7);
    rig.standing.send_replace(Standing::SteppedDown);
    through_other.wait_closed();
}

#[test]
fn a_node_in_doubt_keeps_its_sources_and_one_that_is_alone_closes_each_once() {
    let rig = Rig::of_nodes(2);
    let mut own = rig.nodes[0].source("/live.mp3");
    let mut through_other = rig.nodes[1].source("/two.mp3");
    rig.standing.send_replace(Standing::Asking);
    own.write(b"goes on");
    rig.wait_for("a source stays while peers are asked", |mount| mount.bytes_in == 7);
    rig.standing.send_replace(Standing::HoldingOver { alone: true });
    rig.close_once.send_replace(1);
    own.wait_closed();
    through_other.wait_closed();
    let mut back = rig.nodes[0].source("/live.mp3");
    back.write(b"here again");
    rig.wait_for("who comes back is kept", |mount| mount.source_connected && mount.bytes_in == 17);
}

#[test]
fn the_last_title_plays_on_at_the_next_master() {
    let mut rig = Rig::of_relaying_nodes(2);
    let mut source = rig.nodes[0].source("/live.mp3");
    let update = "GET /admin/metadata?mode=updinfo&mount=%2flive%2emp3&song=Old+one";
    let answer = rig.nodes[1].send(format!("{update} HTTP/1.0\r\n{AUTHORIZATION}\r\n")).read_all();
    assert!(answer.starts_with("HTTP/1.0 200 "), "{answer}");
    let kept = rig.nodes[1].titles.waiting_for(&mount("/live.mp3")).expect("kept");
    assert_eq!(kept.epoch, 1);

    rig.snapshot.titles.insert(mount("/live.mp3"), Arc::new(kept));
    rig.make_master(2, 2);
    source.wait_closed();
    let head =
        format!("SOURCE /live.mp3 HTTP/1.0\r\n{AUTHORIZATION}Content-Type: audio/mpeg\r\n\r\n");
    // As a client does: again, should this machine be too busy for the next master to be ready in time.
    let mut source = wait_for_status("the next master takes the source", "HTTP/1.0 200 ", || {
        rig.nodes[0].send(&head)
    });
    wait_until("the title is recorded anew", || {
        rig.titles.waiting_for(&mount("/live.mp3")).is_some_and(|title| title.epoch == 2)
    });
    // On the relay too.
    for node in &rig.nodes {
        let mut listener = listen_directly(node);
        source.write(&vec![0; 40_000]);
        let stream = listener.read_exactly(17_000);
        let text = String::from_utf8_lossy(&stream);
        assert!(text.contains("StreamTitle='Old one';"), "no title in the stream");
    }
}

#[test]
fn a_client_that_left_while_it_waited_takes_the_mount_from_nobody() {
    let mut rig = Rig::of_nodes(2);
    rig.snapshot.masters.remove(&mount("/live.mp3"));
    rig.place();
    let head =
        format!("SOURCE /live.mp3 HTTP/1.0\r\n{AUTHORIZATION}Content-Type: audio/mpeg\r\n\r\n");
    drop(rig.nodes[1].send(&head));
    rig.make_master(1, 2);
    let source = rig.nodes[0].source("/live.mp3");
    // Longer than any source waits for a master.
    source
        .stream
        .set_read_timeout(Some(Duration::from_millis(HTTP_MASTER_MS_MAX)))
        .expect("a timeout");
    let closed = (&source.stream).read(&mut [0]).expect_err("nobody takes over");
    assert_eq!(closed.kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn a_source_with_another_password_is_taken_over_by_nobody() {
    let rig = Rig::of_nodes(2);
    let mut source = rig.nodes[0].source("/live.mp3");
    let wrong = "Authorization: Basic c291cmNlOndyb25n\r\n";
    let head = format!("SOURCE /live.mp3 HTTP/1.0\r\n{wrong}\r\n");
    assert!(rig.nodes[1].send(&head).read_head().starts_with("HTTP/1.0 401 "));
    assert!(send_to(rig.icecast.port, &head).read_head().starts_with("HTTP/1.0 401 "));
    let mut listener = listen_directly(&rig.nodes[0]);
    assert_streams(&mut source, &mut listener, b's');
}
