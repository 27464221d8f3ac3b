//! The forms in which players ask, who may listen, and whose connection it is.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::mpsc::{Receiver, channel};

use crate::rig::{Client, FRAME_BYTES, LONGEST, Rig, cheap_hash, frames, send_to, wait_until};

/// A rig whose `/live.mp3` plays, and its source.
fn playing(rig: &Rig) -> Client {
    let mut source = rig.source("/live.mp3");
    source.write(&frames(b'x', 20));
    wait_until("the mount plays", || {
        rig.send("GET /live.mp3 HTTP/1.0\r\n\r\n").read_head().starts_with("HTTP/1.0 200 ")
    });
    source
}

/// How a stream begins.
const OK: &str = "HTTP/1.0 200 ";

#[test]
fn every_form_in_which_players_ask_is_answered_in_the_form_they_take() {
    let rig = Rig::start();
    let _source = playing(&rig);
    let absolute = format!("GET http://[::1]:{}/live.mp3 HTTP/1.1\r\nHost: [::1]:80\r\n", rig.port);
    for (who, request, status, has) in [
        (
            "mpv",
            "GET /live.mp3 HTTP/1.1\r\nRange: bytes=0-\r\nIcy-MetaData: 1\r\n",
            OK,
            "icy-metaint:16000",
        ),
        ("mpg123", "GET /live.mp3 HTTP/1.0\r\nIcy-MetaData: 1\r\n", OK, "icy-metaint:16000"),
        ("souphttpsrc", "GET /live.mp3 HTTP/1.1\r\nicy-metadata: 1\r\n", OK, "icy-metaint:16000"),
        ("VLC, first", "GET /live.mp3 HTTP/1.1\r\nRange: bytes=0-\r\n", OK, "icy-name:"),
        ("Safari", "GET /live.mp3 HTTP/1.1\r\nRange: bytes=0-1\r\n", OK, "audio/mpeg"),
        ("no Host", "GET /live.mp3 HTTP/1.1\r\n", OK, "audio/mpeg"),
        (
            "an IPv6 literal",
            "GET /live.mp3 HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n",
            OK,
            "audio/mpeg",
        ),
        ("absolute form", &absolute, OK, "audio/mpeg"),
        ("a SHOUTcast suffix", "GET /live.mp3/;stream.mp3 HTTP/1.1\r\n", OK, "audio/mpeg"),
        ("a query, a slash, two slashes", "GET //live.mp3/?token=1 HTTP/1.0\r\n", OK, "audio/mpeg"),
        ("percent-encoded", "GET /%6cive.mp3 HTTP/1.0\r\n", OK, "audio/mpeg"),
        (
            "a browser",
            "GET /live.mp3 HTTP/1.1\r\nOrigin: http://x\r\n",
            OK,
            "Access-Control-Allow-Origin: *",
        ),
        ("HEAD", "HEAD /live.mp3 HTTP/1.1\r\n", "HTTP/1.1 200 ", "audio/mpeg"),
        (
            "a preflight",
            "OPTIONS /live.mp3 HTTP/1.1\r\nOrigin: http://x\r\n",
            "HTTP/1.1 204 ",
            "Icy-MetaData, Range",
        ),
        ("a page, kept alive", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n", OK, "text/html"),
    ] {
        let head = rig.send(format!("{request}\r\n")).read_head();
        assert!(head.starts_with(status) && head.contains(has), "{who}: {head}");
    }
}

#[test]
fn playlists_have_the_public_name_whatever_was_asked() {
    let rig = Rig::start();
    let url = format!("http://radio.test:{}/live.mp3", rig.port);
    for (suffix, host) in
        [(".m3u", "Host: [::1]:80\r\n"), (".pls", "Host: 10.0.0.1\r\n"), (".xspf", "")]
    {
        let page = rig.send(format!("GET /live.mp3{suffix} HTTP/1.0\r\n{host}\r\n")).read_all();
        assert!(page.contains(&url), "the public name, whatever was asked: {page}");
    }
}

#[test]
fn pages_close_after_one_answer_and_say_so() {
    let rig = Rig::start();
    let twice = "GET / HTTP/1.1\r\nHost: h\r\nConnection: keep-alive\r\n\r\n".repeat(2);
    let answers = rig.send(twice).read_all();
    assert_eq!(answers.matches("HTTP/1.1 200 ").count(), 1, "{answers}");
    assert!(answers.contains("connection: close"), "{answers}");
}

/// `anna:secret`.
const ANNA: &str = "Authorization: Basic YW5uYTpzZWNyZXQ=\r\n";
/// `anna:wrong`.
const WRONG: &str = "Authorization: Basic YW5uYTp3cm9uZw==\r\n";

#[test]
fn only_a_mounts_users_listen_to_it_and_nobody_gets_round_the_front() {
    let mut rig = Rig::start();
    let _source = playing(&rig);
    rig.change("/live.mp3", |record| {
        record.listener_users = Some(BTreeMap::from([("anna".to_owned(), cheap_hash("secret"))]));
    });
    let status = |port: u16, authorization: &str| {
        let request = format!("GET /live.mp3 HTTP/1.0\r\n{authorization}\r\n");
        send_to(port, request).read_head().split(' ').nth(1).unwrap_or_default().to_owned()
    };
    wait_until("Icecast has read its configuration", || status(rig.icecast.port, "") == "401");
    for port in [rig.port, rig.icecast.port] {
        assert_eq!(status(port, ""), "401", "nobody");
        assert_eq!(status(port, WRONG), "401", "a wrong password");
        assert_eq!(status(port, ANNA), "200", "the right one");
    }
    let challenge = rig.send("GET /live.mp3 HTTP/1.0\r\n\r\n").read_all();
    assert!(challenge.contains("\r\nWWW-Authenticate: Basic "), "{challenge}");
    let head = rig.send("HEAD /live.mp3 HTTP/1.0\r\n\r\n").read_head();
    assert!(head.starts_with("HTTP/1.0 200 "), "what it is, everybody may know: {head}");
    rig.change("/live.mp3", |record| record.listener_users = Some(BTreeMap::new()));
    assert_eq!(status(rig.port, ANNA), "401", "an empty list lets nobody in");
}

/// A program that lets in whoever has a token, and says what it was posted.
fn program() -> (u16, Receiver<String>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    let (sender, posted) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut request = Vec::new();
            let form = loop {
                let mut buffer = [0; 4_096];
                let read = stream.read(&mut buffer).expect("a request");
                request.extend_from_slice(&buffer[..read]);
                let text = String::from_utf8_lossy(&request).into_owned();
                if let Some((head, form)) = text.split_once("\r\n\r\n")
                    && head.contains(&format!("Content-Length: {}", form.len()))
                {
                    break form.to_owned();
                }
            };
            let allowed = u8::from(form.contains("token%3Dyes"));
            let answer = format!("HTTP/1.1 200 OK\r\nicecast-auth-user: {allowed}\r\n\r\n");
            stream.write_all(answer.as_bytes()).expect("an answer");
            if sender.send(form).is_err() {
                return;
            }
        }
    });
    (port, posted)
}

#[test]
fn a_program_is_asked_about_each_listener_and_told_when_they_leave() {
    let mut rig = Rig::start();
    let mut source = playing(&rig);
    let (port, posted) = program();
    rig.change("/live.mp3", |record| {
        record.listener_add_url = Some(format!("http://127.0.0.1:{port}/add"));
        record.listener_remove_url = Some(format!("http://127.0.0.1:{port}/remove"));
    });
    let refused = rig.send("GET /live.mp3?token=no HTTP/1.0\r\n\r\n").read_all();
    assert!(refused.starts_with("HTTP/1.0 401 "), "{refused}");
    let form = posted.recv_timeout(LONGEST).expect("asked");
    assert!(form.starts_with("action=listener_add&") && form.contains("token%3Dno"), "{form}");

    let mut listener = rig.send("GET /live.mp3?token=yes HTTP/1.0\r\nUser-Agent: mpv\r\n\r\n");
    let head = listener.read_head();
    assert!(head.starts_with("HTTP/1.0 200 "), "{head}");
    let asked = posted.recv_timeout(LONGEST).expect("asked");
    assert!(asked.contains("&ip=127%2E0%2E0%2E1&") && asked.contains("&agent=mpv"), "{asked}");
    drop(listener);
    let mut told = None;
    wait_until("the program is told", || {
        source.write(&frames(b'z', 4));
        told = posted.try_recv().ok();
        told.is_some()
    });
    let (told, client) = (told.expect("told"), asked.split('&').nth(2).expect("a number"));
    assert!(told.starts_with("action=listener_remove&") && told.contains(client), "{told}");

    rig.change("/live.mp3", |record| {
        record.listener_add_url = Some("http://127.0.0.1:9/".to_owned());
    });
    let unknown = rig.send("GET /live.mp3?token=yes HTTP/1.0\r\n\r\n").read_all();
    assert!(unknown.starts_with("HTTP/1.0 503 ") && !unknown.contains("refused"), "{unknown}");
}

#[test]
fn a_mount_is_pulled_from_elsewhere_and_takes_no_source() {
    let elsewhere = Rig::start();
    let mut source = playing(&elsewhere);
    let mut rig = Rig::start();
    let url = format!("http://127.0.0.1:{}/live.mp3?x=1", elsewhere.port);
    rig.change("/two.mp3", |record| record.relay_url = Some(url));
    wait_until("the mount is pulled", || {
        source.write(&frames(b'x', 4));
        rig.send("GET /two.mp3 HTTP/1.0\r\n\r\n").read_head().starts_with("HTTP/1.0 200 ")
    });
    let mut listener = rig.send("GET /two.mp3 HTTP/1.0\r\n\r\n");
    assert!(listener.read_head().contains("\r\nContent-Type: audio/mpeg\r\n"));
    wait_until("what is played there is heard here", || {
        source.write(&frames(b'y', 4));
        listener.read_exactly(FRAME_BYTES)[4] == b'y'
    });
    let request = format!("SOURCE /two.mp3 HTTP/1.0\r\n{}\r\n", crate::rig::AUTHORIZATION);
    for port in [rig.port, rig.icecast.port] {
        let answer = send_to(port, &request).read_all();
        assert!(answer.starts_with("HTTP/1.0 40"), "{answer}");
    }
}

#[test]
fn a_trusted_proxy_says_who_listens_and_nobody_else_does() {
    let line = "PROXY TCP4 203.0.113.7 127.0.0.1 1 80\r\n";
    let field = "X-Forwarded-For: 198.51.100.1, 203.0.113.7\r\n";
    for (trusted, want) in [(true, "203%2E0%2E113%2E7"), (false, "127%2E0%2E0%2E1")] {
        let mut rig = if trusted { Rig::behind_proxies() } else { Rig::start() };
        let (port, posted) = program();
        rig.change("/live.mp3", |record| {
            record.listener_add_url = Some(format!("http://127.0.0.1:{port}/"));
        });
        let request = |before: &str, field: &str| {
            rig.send(format!("{before}GET /live.mp3 HTTP/1.0\r\n{field}\r\n")).read_all()
        };
        let answer = request("", field);
        assert!(answer.starts_with("HTTP/1.0 401 "), "{answer}");
        let form = posted.recv_timeout(LONGEST).expect("asked");
        assert!(form.contains(&format!("&ip={want}&")), "trusted {trusted}: {form}");
        let answer = request(line, "");
        if trusted {
            let form = posted.recv_timeout(LONGEST).expect("asked");
            assert!(form.contains(&format!("&ip={want}&")), "{form}");
        } else {
            assert!(answer.starts_with("HTTP/1.0 400 "), "{answer}");
        }
    }
    let rig = Rig::behind_proxies();
    let answer = rig.send("PROXY TCP4 nobody\r\n").read_all();
    assert!(answer.starts_with("HTTP/1.0 400 ") && answer.contains("PROXY"), "{answer}");
    let page = rig.send(format!("{line}GET / HTTP/1.1\r\nHost: h\r\n\r\n")).read_all();
    assert!(page.starts_with("HTTP/1.1 200 "), "pages are served without the line: {page}");
}
