//! The front with a real Icecast behind it and real clients before it: icecast2, ffmpeg, oggfwd, liquidsoap and curl.

mod clients;
mod cluster;
mod hub;
mod listeners;
mod node;
#[path = "../support/ports.rs"]
mod ports;
mod redirects;
mod rig;
mod sources;

use std::sync::Arc;

use autoradio_edge::cluster::Master;
use autoradio_edge::http::{Front, FrontError};
use rig::{
    AUTHORIZATION, Client, FRAME_BYTES, PASSWORD, Rig, frames, mount, mount_record, wait_until,
};

/// Panics unless what `source` sends comes out at `listener`, in whole frames.
fn assert_heard(source: &mut Client, listener: &mut Client, letter: u8) {
    source.write(&frames(letter, 20));
    wait_until("the listener hears the source", || {
        let frame = listener.read_exactly(FRAME_BYTES);
        assert_eq!(frame[..4], frames(letter, 1)[..4], "no frame begins here");
        frame[4] == letter
    });
}

/// A listener whose answer's head has come.
fn listen(rig: &Rig, fields: &str) -> (Client, String) {
    let mut found = None;
    wait_until("the mount plays", || {
        let mut listener = rig.send(format!("GET /live.mp3 HTTP/1.0\r\n{fields}\r\n"));
        let head = listener.read_head();
        let playing = head.starts_with("HTTP/1.0 200 ");
        found = playing.then_some((listener, head));
        playing
    });
    found.expect("a listener")
}

#[test]
fn a_listener_gets_icecasts_own_head_and_titles() {
    let rig = Rig::start();
    let mut source = rig.source("/live.mp3");
    source.write(&frames(b'a', 10));
    let (mut listener, head) = listen(&rig, "icy-metadata: 1\r\nRange: bytes=0-\r\n");
    assert!(head.contains("\r\nicy-metaint:16000\r\n"), "{head}");
    assert!(head.contains("\r\nContent-Type: audio/mpeg\r\n"), "{head}");

    let update = "GET /admin/metadata?mode=updinfo&mount=%2flive%2emp3&song=A+b";
    let mut without = rig.send(format!("{update} HTTP/1.1\r\nHost: h\r\n\r\n"));
    assert!(without.read_all().starts_with("HTTP/1.1 401 "));
    let mut with = rig.send(format!("{update} HTTP/1.0\r\n{AUTHORIZATION}\r\n"));
    let answer = with.read_all();
    assert!(answer.starts_with("HTTP/1.0 200 "), "{answer}");

    source.write(&frames(b'b', 100));
    let stream = listener.read_exactly(33_000);
    let text = String::from_utf8_lossy(&stream);
    assert!(text.contains("StreamTitle='A b';"), "no title in the stream");
}

#[test]
fn chunks_of_a_source_do_not_reach_its_listeners() {
    let rig = Rig::start();
    let mut source = rig.send(format!(
        "PUT /live.mp3 HTTP/1.1\r\n{AUTHORIZATION}Content-Type: audio/mpeg\r\n\
         Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
    ));
    assert_eq!(source.read_head(), "HTTP/1.1 100 Continue\r\n\r\n");
    let (mut listener, _) = listen(&rig, "");
    let audio: Vec<u8> = (0..40).flat_map(|number| frames(b'a' + number % 26, 1)).collect();
    for piece in audio.chunks(777) {
        source.write(format!("{:x}\r\n", piece.len()).as_bytes());
        source.write(piece);
        source.write(b"\r\n");
    }
    // Icecast keeps what is no whole block to itself, and the hub the last frame until the next one begins.
    let heard = listener.read_exactly(audio.len() - 10 * FRAME_BYTES);
    assert!(audio.starts_with(&heard), "the audio was changed");
    source.write(b"0\r\n\r\n");
    let answer = source.read_all();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"), "{answer}");
}

#[test]
fn a_source_that_breaks_its_chunks_is_told_so() {
    let rig = Rig::start();
    let mut source = rig.send(format!(
        "PUT /live.mp3 HTTP/1.1\r\n{AUTHORIZATION}Content-Type: audio/mpeg\r\n\
         Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
    ));
    assert_eq!(source.read_head(), "HTTP/1.1 100 Continue\r\n\r\n");
    source.write(b"5\r\nhello\r\nno size\r\n");
    source.stream.shutdown(std::net::Shutdown::Write).expect("still open");
    let answer = source.read_all();
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("chunked body"), "{answer}");
}

#[test]
fn a_head_that_icecast_cannot_take_is_refused_with_a_sentence() {
    let rig = Rig::start();
    let described = |bytes: usize| {
        let head = format!(
            "SOURCE /live.mp3 HTTP/1.0\r\n{AUTHORIZATION}Content-Type: audio/mpeg\r\nice-genre: "
        );
        rig.send(format!("{head}{}\r\n\r\n", "x".repeat(bytes)))
    };
    assert_eq!(described(3_800).read_head(), "HTTP/1.0 200 OK\r\n\r\n");
    let answer = described(4_095).read_all();
    assert!(answer.starts_with("HTTP/1.0 431 ") && answer.contains("takes 4095"), "{answer}");
    let song = "x".repeat(4_095);
    let answer = rig
        .send(format!(
            "GET /admin/metadata?mode=updinfo&mount=/live.mp3&song={song} HTTP/1.0\r\n{AUTHORIZATION}\r\n"
        ))
        .read_all();
    assert!(answer.starts_with("HTTP/1.0 431 "), "{answer}");
}

#[test]
fn sources_are_refused_before_they_are_told_to_continue() {
    let rig = Rig::start();
    let wrong = "Authorization: Basic c291cmNlOndyb25n\r\n";
    for (why, target, authorization, want) in [
        ("no password", "/live.mp3", "", "HTTP/1.1 401 "),
        ("wrong password", "/live.mp3", wrong, "HTTP/1.1 401 "),
        ("no such mount", "/no.mp3", AUTHORIZATION, "HTTP/1.1 404 "),
    ] {
        let mut client = rig
            .send(format!("PUT {target} HTTP/1.1\r\n{authorization}Expect: 100-continue\r\n\r\n"));
        let answer = client.read_all();
        assert!(answer.starts_with(want), "{why}: {answer}");
        assert!(!answer.contains("\r\nAllow:") && !answer.contains("\r\nUpgrade:"), "{answer}");
    }
    let (_, said) = rig.ffmpeg(&["wrong"]).output();
    assert!(said.contains("401"), "{said}");
    assert_eq!(rig.stats.view().sources, 0);
}

#[test]
fn libshouts_probes_are_answered_and_never_counted() {
    let rig = Rig::start();
    for (request, want) in [
        (
            "OPTIONS * HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: TLS/1.0, HTTP/1.1\r\n\r\n",
            "HTTP/1.1 200 ",
        ),
        ("GET /admin/!POKE HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 400 "),
        ("SOURCE /live.mp3 HTTP/1.0\r\nContent-Length: 0\r\n\r\n", "HTTP/1.0 401 "),
    ] {
        let answer = rig.send(request).read_all();
        assert!(answer.starts_with(want), "{request}: {answer}");
    }
    assert_eq!(rig.stats.view().sources, 0);
}

#[test]
fn a_new_source_takes_over_and_the_listener_goes_on() {
    let rig = Rig::start();
    let mut first = rig.source("/live.mp3");
    let mut other = rig.source("/two.mp3");
    first.write(b"first");
    let mut second = rig.source("/live.mp3");
    first.wait_closed();
    other.write(b"still here");
    let (mut listener, _) = listen(&rig, "");
    assert_heard(&mut second, &mut listener, b's');
    assert_eq!(rig.stats.view().sources, 2);
}

#[test]
fn a_question_about_the_password_does_not_end_a_live_source() {
    let rig = Rig::start();
    let mut source = rig.source("/live.mp3");
    let answer = rig
        .send(format!("PUT /live.mp3 HTTP/1.1\r\n{AUTHORIZATION}Content-Length: 0\r\n\r\n"))
        .read_all();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let (mut listener, _) = listen(&rig, "");
    assert_heard(&mut source, &mut listener, b'l');
}

#[test]
fn a_source_is_closed_when_icecast_dies_and_told_to_wait_until_it_is_back() {
    let mut rig = Rig::start();
    let mut source = rig.source("/live.mp3");
    source.write(b"audio");
    rig.icecast.kill();
    source.wait_closed();
    for request in [
        format!("SOURCE /live.mp3 HTTP/1.0\r\n{AUTHORIZATION}\r\n"),
        "GET /live.mp3 HTTP/1.0\r\n\r\n".to_owned(),
    ] {
        let answer = rig.send(request).read_all();
        assert!(answer.starts_with("HTTP/1.0 503 "), "{answer}");
        assert!(answer.contains("\r\nRetry-After: "), "{answer}");
    }
    rig.wait_for("the source has left", |mount| !mount.source_connected);
}

#[test]
fn a_source_is_closed_when_its_mount_changes_hands_password_or_existence() {
    let mut rig = Rig::start();
    let path = mount("/live.mp3");

    let mut source = rig.source("/live.mp3");
    rig.place();
    let (mut listener, _) = listen(&rig, "");
    assert_heard(&mut source, &mut listener, b's');
    let node = rig.snapshot.masters[&path].node.clone();
    rig.snapshot.masters.insert(path.clone(), Master { node, epoch: 2 });
    rig.place();
    source.wait_closed();

    let mut source = rig.source("/live.mp3");
    let record = Arc::new(mount_record("/live.mp3", "other"));
    rig.snapshot.mounts.insert(path.clone(), record);
    rig.place();
    source.wait_closed();

    let record = Arc::new(mount_record("/live.mp3", PASSWORD));
    rig.snapshot.mounts.insert(path.clone(), record);
    rig.place();
    let mut source = rig.source("/live.mp3");
    rig.snapshot.mounts.remove(&path);
    rig.place();
    source.wait_closed();
}

#[test]
fn a_mount_without_a_master_asks_for_patience() {
    let mut rig = Rig::start();
    rig.snapshot.masters.clear();
    rig.place();
    for request in [
        format!("PUT /live.mp3 HTTP/1.1\r\n{AUTHORIZATION}Expect: 100-continue\r\n\r\n"),
        "GET /live.mp3 HTTP/1.1\r\n\r\n".to_owned(),
    ] {
        let answer = rig.send(request).read_all();
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(answer.contains("\r\nRetry-After: "), "{answer}");
    }
}

#[test]
fn listeners_over_the_mounts_limit_are_refused() {
    let mut rig = Rig::start();
    let path = mount("/live.mp3");
    let mut record = mount_record("/live.mp3", PASSWORD);
    record.max_listeners = Some(1);
    // The same hash, or the source would have to connect again.
    record.source_password_hash = rig.snapshot.mounts[&path].source_password_hash.clone();
    rig.snapshot.mounts.insert(path, Arc::new(record));
    rig.place();
    let _source = rig.source("/live.mp3");
    let (listener, _) = listen(&rig, "");
    let answer = rig.send("GET /live.mp3 HTTP/1.0\r\n\r\n").read_all();
    assert!(answer.starts_with("HTTP/1.0 503 "), "{answer}");
    drop(listener);
}

#[test]
fn one_connection_more_is_told_so_and_has_its_place_when_another_leaves() {
    let rig = Rig::with_room_for(2);
    let page = "GET / HTTP/1.0\r\n\r\n";
    let idle = [rig.send(""), rig.send("")];
    let answer = rig.send(page).read_all();
    assert!(answer.starts_with("HTTP/1.0 503 "), "{answer}");
    assert!(answer.contains("\r\nRetry-After: ") && answer.contains(" 2 connections"), "{answer}");
    drop(idle);
    wait_until("a place is free", || rig.send(page).read_all().starts_with("HTTP/1.0 200 "));
}

#[test]
fn short_requests_have_short_answers() {
    let rig = Rig::start();
    let huge = format!("GET / HTTP/1.1\r\na: {}\r\n\r\n", "x".repeat(20_000));
    let url = format!("http://radio.test:{}/live.mp3", rig.port);
    for (request, status, part) in [
        ("GET /live.mp3 HTTP/1.1\r\n\r\n", "HTTP/1.1 404 ", "no source"),
        ("HEAD /live.mp3 HTTP/1.1\r\n\r\n", "HTTP/1.1 404 ", ""),
        ("GET /no.mp3 HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 404 ", "nothing here"),
        ("GET / HTTP/1.0\r\n\r\n", "HTTP/1.0 200 ", "A &amp; B"),
        ("GET / HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 200 ", "connection: close"),
        ("GET /live.mp3.m3u HTTP/1.0\r\n\r\n", "HTTP/1.0 200 ", url.as_str()),
        ("GET http://h/live.mp3.pls HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 200 ", "audio/x-scpls"),
        ("GET /live.mp3.xspf HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 200 ", "application/xspf+xml"),
        ("OPTIONS /live.mp3 HTTP/1.1\r\n\r\n", "HTTP/1.1 204 ", "Access-Control-Allow-Origin: *"),
        ("DELETE / HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 405 ", "DELETE"),
        ("hackme\r\n", "HTTP/1.0 400 ", "malformed"),
        (&huge, "HTTP/1.0 431 ", "larger than 16384 bytes"),
    ] {
        let answer = rig.send(request).read_all();
        assert!(answer.starts_with(status), "{request}: {answer}");
        assert!(answer.contains(part), "{request}: {answer}");
    }
}

#[test]
fn head_of_a_live_mount_tells_its_type_and_opens_no_stream() {
    let rig = Rig::start();
    let mut source = rig.send(format!(
        "SOURCE /two.mp3 HTTP/1.0\r\n{AUTHORIZATION}Content-Type: application/ogg\r\n\r\n"
    ));
    source.read_head();
    let answer = rig.send("HEAD /two.mp3 HTTP/1.1\r\n\r\n").read_all();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains("\r\nContent-Type: application/ogg\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
    assert_eq!(rig.stats.view().bytes_out, 0);
}

#[test]
fn a_stopping_front_ends_its_streams_and_frees_its_port() {
    let mut rig = Rig::start();
    let mut source = rig.source("/live.mp3");
    let (mut listener, _) = listen(&rig, "");
    rig.stop();
    source.wait_closed();
    listener.wait_closed();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let _inside = runtime.enter();
    let again = Front::bind(&[rig.port]).expect("the port is free");
    let taken = Front::bind(&again.local_ports()).expect_err("the port is taken");
    assert!(matches!(taken, FrontError::Port { port, .. } if port == rig.port));
}
