//! Sources that speak no HTTP, and what ends sources that may not go on.

use std::io::Write;

use autoradio_edge::cluster::SourceLimits;

use crate::rig::{AUTHORIZATION, Client, FRAME_BYTES, PASSWORD, Rig, frames, send_to, wait_until};

/// Panics unless a listener of the mount hears what `source` sends, and is told what `says` is.
fn assert_heard(rig: &Rig, path: &str, source: &mut Client, says: &str) {
    let mut head = String::new();
    wait_until("the mount plays", || {
        let mut listener = rig.send(format!("GET {path} HTTP/1.0\r\n\r\n"));
        head = listener.read_head();
        if !head.starts_with("HTTP/1.0 200 ") {
            return false;
        }
        source.write(&frames(b'x', 20));
        listener.read_exactly(FRAME_BYTES) == frames(b'x', 1)
    });
    assert!(head.contains(says), "{head}");
}

fn shoutcast(rig: &Rig, login: &[u8]) -> Client {
    send_to(rig.shoutcast_port, login)
}

const WELCOME: &str = "OK2\r\nicy-caps:11\r\n\r\n";
const DESCRIBED: &[u8] = b"icy-genre:Jazz\r\nicy-pub:1\r\nicy-br:128\r\n\r\n";

#[test]
fn every_form_of_a_shoutcast_login_leads_to_its_mount() {
    let mut rig = Rig::start();
    rig.change("/live.mp3", |record| record.shoutcast_sid = Some(1));
    rig.change("/two.mp3", |record| record.shoutcast_sid = Some(2));
    for (login, path) in [
        (&b"hackme\r\n"[..], "/live.mp3"),
        (b"hackme\n", "/live.mp3"),
        (b"hackme\r\r\n", "/live.mp3"),
        (b"source:hackme\r\n", "/live.mp3"),
        (b"hackme:#2\r\n", "/two.mp3"),
        (b"/two.mp3:hackme\r\n", "/two.mp3"),
    ] {
        let mut source = shoutcast(&rig, login);
        assert_eq!(source.read_head(), "OK2\r\nicy-caps:11\r\n\r\n", "{}", login.escape_ascii());
        source.write(DESCRIBED);
        assert_heard(&rig, path, &mut source, "\r\nicy-genre:Jazz\r\n");
        drop(source);
        rig.wait_for("the source has left", |mount| !mount.source_connected);
    }
    // libshout does not wait for the answer.
    let mut source = shoutcast(&rig, &[b"hackme\n", DESCRIBED].concat());
    assert_eq!(source.read_head(), WELCOME);
    assert_heard(&rig, "/live.mp3", &mut source, "\r\nContent-Type: audio/mpeg\r\n");
}

#[test]
fn a_wrong_login_is_refused_and_one_without_a_mount_too() {
    let rig = Rig::start();
    for (why, login) in [
        ("two mounts, neither meant", &b"hackme\r\n"[..]),
        ("a wrong password", b"/live.mp3:wrong\r\n"),
        ("libshout looks how errors look here", b"!POKE\nicy-name:x\n\n"),
    ] {
        let answer = shoutcast(&rig, login).read_all();
        assert_eq!(answer, "invalid password\r\n", "{why}");
    }
    let answer = rig.send("hackme\r\n").read_all();
    assert!(answer.starts_with("HTTP/1.0 400 "), "not on the ordinary port: {answer}");
    assert_eq!(rig.stats.view().sources, 0);
}

#[test]
fn the_shoutcast_port_takes_requests_as_well() {
    let rig = Rig::start();
    let answer = shoutcast(&rig, b"GET / HTTP/1.0\r\n\r\n").read_all();
    assert!(answer.starts_with("HTTP/1.0 200 "), "{answer}");
    let head = format!("SOURCE /live.mp3 HTTP/1.0\r\n{AUTHORIZATION}\r\n");
    let mut source = shoutcast(&rig, head.as_bytes());
    assert_eq!(source.read_head(), "HTTP/1.0 200 OK\r\n\r\n");
}

#[test]
fn a_shoutcast_source_that_says_nonsense_after_its_login_is_closed() {
    let rig = Rig::start();
    let mut source = shoutcast(&rig, b"/live.mp3:hackme\r\n");
    assert_eq!(source.read_head(), WELCOME);
    source.write(b"\xff\xfb\x90\x64\r\n");
    source.wait_closed();
    assert_eq!(rig.stats.view().sources, 0);
}

#[test]
fn an_icecast_1_source_is_heard_and_a_wrong_one_told() {
    let rig = Rig::start();
    let login = |password: &str| {
        rig.send(format!(
            "SOURCE {password} /live.mp3\nx-audiocast-genre: Jazz\nx-audiocast-public: 0\n\n"
        ))
    };
    let mut source = login(PASSWORD);
    assert_eq!(source.read_exactly(4), b"OK\r\n");
    assert_heard(&rig, "/live.mp3", &mut source, "\r\nicy-genre:Jazz\r\n");
    let answer = login("wrong").read_all();
    assert!(answer.starts_with("HTTP/1.0 401 ") && !answer.contains("OK"), "{answer}");
}

#[test]
fn a_shoutcast_sources_title_reaches_its_listeners() {
    let mut rig = Rig::start();
    rig.change("/live.mp3", |record| record.shoutcast_sid = Some(1));
    let mut source = rig.source("/live.mp3");
    source.write(&frames(b'a', 10));
    let mut listener = None;
    wait_until("the mount plays", || {
        let mut client = rig.send("GET /live.mp3 HTTP/1.0\r\nIcy-MetaData: 1\r\n\r\n");
        let playing = client.read_head().starts_with("HTTP/1.0 200 ");
        listener = playing.then_some(client);
        playing
    });
    let title = |pass: &str| {
        let update = format!("GET /admin.cgi?mode=updinfo&pass={pass}&song=A+%26+%c3%a9 HTTP/1.0");
        rig.send(format!("{update}\r\nUser-Agent: x (Mozilla compatible)\r\n\r\n")).read_all()
    };
    assert!(title("wrong").starts_with("HTTP/1.0 401 "));
    let answer = title(PASSWORD);
    assert!(answer.starts_with("HTTP/1.0 200 "), "{answer}");
    source.write(&frames(b'b', 100));
    let stream = listener.expect("a listener").read_exactly(33_000);
    // Icecast hands it on in Latin-1.
    let title = b"StreamTitle='A & \xe9';";
    assert!(stream.windows(title.len()).any(|part| part == title), "no title in the stream");
}

#[test]
fn a_source_over_a_limit_of_its_mount_is_closed() {
    let mut rig = Rig::start();
    let limited = |rig: &mut Rig, limits: SourceLimits| {
        rig.change("/live.mp3", |record| record.source_limits = limits);
        rig.source("/live.mp3")
    };
    let bytes = SourceLimits { bytes: Some(10_000), ..SourceLimits::default() };
    let mut source = limited(&mut rig, bytes);
    source.write(&[0; 10_000]);
    rig.wait_for("all of it is taken", |mount| mount.bytes_in == 10_000);
    source.write(&[0]);
    source.wait_closed();

    let seconds = SourceLimits { seconds: Some(1), ..SourceLimits::default() };
    limited(&mut rig, seconds).wait_closed();

    let rate = SourceLimits { bits_per_second: Some(64_000), ..SourceLimits::default() };
    let mut source = limited(&mut rig, rate);
    // The front may close at any moment of this.
    let _ = source.stream.write_all(&vec![0; 200_000]);
    source.wait_closed();
    rig.wait_for("nothing of it is left", |mount| !mount.source_connected);
}

#[test]
fn what_a_mount_says_of_itself_goes_before_what_its_source_says() {
    let mut rig = Rig::start();
    rig.change("/live.mp3", |record| {
        record.genre = Some("Jazz".to_owned());
        record.url = Some("http://radio.test/".to_owned());
        record.public = Some(false);
    });
    let mut source = rig.send(format!(
        "SOURCE /live.mp3 HTTP/1.0\r\n{AUTHORIZATION}Content-Type: audio/mpeg\r\nice-genre: Noise\r\n\
         ice-public: 1\r\nice-url: http://elsewhere/\r\n\r\n"
    ));
    assert_eq!(source.read_head(), "HTTP/1.0 200 OK\r\n\r\n");
    let told = "icy-genre:Jazz\r\n";
    assert_heard(&rig, "/live.mp3", &mut source, told);
    let head = rig.send("GET /live.mp3 HTTP/1.0\r\n\r\n").read_head();
    assert!(
        head.contains("icy-url:http://radio.test/\r\n") && head.contains("icy-pub:0\r\n"),
        "{head}"
    );
}

#[test]
fn every_form_of_a_source_is_refused_before_it_is_told_to_continue() {
    let rig = Rig::start();
    let wrong = "Authorization: Basic c291cmNlOndyb25n\r\n";
    for (who, request) in [
        ("ffmpeg", "PUT /live.mp3 HTTP/1.1\r\nExpect: 100-continue\r\nConnection: close\r\n"),
        ("liquidsoap, PUT", "PUT /live.mp3 HTTP/1.0\r\nExpect: 100-continue\r\n"),
        ("liquidsoap, POST", "POST /live.mp3 HTTP/1.1\r\nExpect: 100-continue\r\n"),
        ("liquidsoap, SOURCE", "SOURCE /live.mp3 HTTP/1.0\r\nice-name:x\r\n"),
        (
            "curl",
            "PUT /live.mp3 HTTP/1.1\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n",
        ),
        (
            "curl with a file",
            "PUT /live.mp3 HTTP/1.1\r\nContent-Length: 9\r\nExpect: 100-continue\r\n",
        ),
        (
            "butt",
            "PUT /live.mp3 HTTP/1.1\r\nHost: radio.test\r\nExpect: 100-continue\r\nice-audio-info: ice-bitrate=128\r\n",
        ),
        ("butt, when that failed", "SOURCE /live.mp3 HTTP/1.0\r\n"),
        ("an ICE/1.0 token", "SOURCE /live.mp3 ICE/1.0\r\n"),
    ] {
        for authorization in ["", wrong] {
            let answer = rig.send(format!("{request}{authorization}\r\n")).read_all();
            let status = answer.split(' ').nth(1);
            assert_eq!(status, Some("401"), "{who}: {answer}");
            assert!(!answer.contains("100 Continue"), "{who}: {answer}");
        }
        let mut taken = rig.send(format!("{request}{AUTHORIZATION}\r\n"));
        let wants = if request.contains("Expect") { " 100 " } else { " 200 " };
        let head = taken.read_head();
        assert!(head.contains(wants), "{who}: {head}");
    }
}
