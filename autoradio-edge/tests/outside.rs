//! A daemon as the outside sees it beside the Icecast behind it: what it says of a stream, who listens, and its access log.
#![expect(clippy::unwrap_used, reason = "a test stops where it cannot go on")]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::process::Child;
use std::sync::mpsc;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use support::{
    DaemonPorts, PATIENCE, daemon_on_loopback, fails, json, radioctl, signal, state_dir, until,
};
use tempfile::TempDir;

/// `source:hackme`, `admin:secret`
const SOURCE: &str = "Authorization: Basic c291cmNlOmhhY2ttZQ==\r\n";
const ADMIN: &str = "Authorization: Basic YWRtaW46c2VjcmV0\r\n";

/// A daemon on loopback.
struct Daemon {
    process: Child,
    dir: TempDir,
    http: u16,
    icecast: u16,
    etcd: String,
}

impl Daemon {
    /// Starts one that writes an access log, and waits until it is ready.
    async fn start() -> Self {
        let (dir, ports) = (state_dir(), DaemonPorts::free());
        let mut command = daemon_on_loopback(dir.path(), &ports);
        command.arg("--access-log").arg(dir.path().join("access.log"));
        let process = command.spawn().unwrap();
        let etcd = format!("http://127.0.0.1:{}", ports.etcd);
        let daemon = Self { process, dir, http: ports.http, icecast: ports.icecast, etcd };
        let ready =
            async || get(ports.admin, "/readyz", "").starts_with("HTTP/1.0 200").then_some(());
        until("the node is ready", PATIENCE, ready).await;
        daemon
    }

    fn access_log(&self) -> String {
        fs::read_to_string(self.dir.path().join("access.log")).unwrap()
    }

    /// An admin page, with the password `secret`.
    fn admin(&self, page: &str) -> String {
        get(self.http, &format!("/admin/{page}"), ADMIN)
    }

    /// The one source of `/status-json.xsl`, and the whole text.
    fn status(&self) -> (Value, String) {
        status(self.http)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        signal(i32::try_from(self.process.id()).unwrap(), Signal::SIGTERM);
        signal(i32::try_from(self.process.id()).unwrap(), Signal::SIGTERM);
        let _ = self.process.wait();
    }
}

/// The whole answer, empty when nobody answers.
fn get(port: u16, path: &str, fields: &str) -> String {
    let mut answer = Vec::new();
    if let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let _ = write!(stream, "GET {path} HTTP/1.0\r\n{fields}\r\n");
        let _ = stream.read_to_end(&mut answer);
    }
    String::from_utf8_lossy(&answer).into_owned()
}

fn status(port: u16) -> (Value, String) {
    let answer = get(port, "/status-json.xsl", "");
    let text = answer.split_once("\r\n\r\n").unwrap().1.to_owned();
    let document: Value = serde_json::from_str(&text).unwrap();
    (document["icestats"]["source"].clone(), text)
}

/// Opens a connection and sends a request; the connection, once its answer's status is 200.
async fn open(port: u16, request: &str) -> TcpStream {
    until("the request is taken", PATIENCE, async || {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut status = [0; 12];
        let read = stream.read_exact(&mut status);
        (read.is_ok() && status == *b"HTTP/1.0 200").then_some(stream)
    })
    .await
}

/// A source that plays until this is dropped.
async fn source(daemon: &Daemon) -> mpsc::Sender<()> {
    let head = format!(
        "SOURCE /live.mp3 HTTP/1.0\r\n{SOURCE}Content-Type: audio/mpeg\r\nUser-Agent: Testcaster\r\n\
         ice-name: Caf\u{e9} & B\r\nice-genre: rock\r\nice-url: http://x.y/\r\nice-public: 1\r\n\
         ice-audio-info: ice-bitrate=128;ice-channels=2\r\nice-bitrate: 128\r\n\r\n"
    );
    let mut stream = open(daemon.http, &head).await;
    let (playing, over) = mpsc::channel();
    std::thread::spawn(move || {
        // MPEG 1 layer III, 128 kb/s at 44.1 kHz.
        let frame = [&[0xff, 0xfb, 0x90, 0xc4][..], &[0; 413]].concat();
        let pause = Duration::from_millis(100);
        while over.recv_timeout(pause) == Err(mpsc::RecvTimeoutError::Timeout) {
            if stream.write_all(&frame.repeat(4)).is_err() {
                return;
            }
        }
    });
    playing
}

/// Makes the mount and the password of the admin pages.
async fn set_up(daemon: &Daemon) {
    fails(&radioctl(&daemon.etcd, &["set-admin-password", "--password-stdin"], "\n"), 2, "empty");
    let made = json(&radioctl(&daemon.etcd, &["set-admin-password", "-o", "json"], ""));
    assert_eq!(made["username"], "admin");
    assert_eq!(made["password"].as_str().unwrap().len(), 24);
    let given = ["set-admin-password", "--password-stdin", "-o", "json"];
    let given = json(&radioctl(&daemon.etcd, &given, "secret\n"));
    assert_eq!(given.get("password"), None, "who typed it knows it");
    let made = ["create-mount", "/live.mp3", "--password-stdin"];
    assert!(radioctl(&daemon.etcd, &made, "hackme\n").status.success());
    until("the node knows the password", PATIENCE, async || {
        daemon.admin("listmounts").starts_with("HTTP/1.0 200").then_some(())
    })
    .await;
}

/// Panics unless `ours` has, in Icecast's order, what Icecast's source has, and no more than is said to.
fn assert_same_shape(ours: &(Value, String), icecasts: &(Value, String)) {
    let [ours, icecasts] =
        [ours, icecasts].map(|(source, text)| (source.as_object().unwrap(), text));
    let mut names: Vec<_> = ours.0.keys().filter(|name| *name != "unique_listeners").collect();
    assert_eq!(names, icecasts.0.keys().collect::<Vec<_>>());
    names.sort_by_key(|name| icecasts.1.rfind(&format!("\"{name}\":")));
    let places: Vec<_> = names.iter().map(|name| ours.1.rfind(&format!("\"{name}\":"))).collect();
    // The last `dummy` is the document's own.
    let inner = &places[..places.len() - 1];
    assert!(inner.is_sorted(), "{names:?} in {}", ours.1);
    for name in ["audio_info", "bitrate", "genre", "ice-channels", "server_type", "server_url"] {
        assert_eq!(ours.0[name], icecasts.0[name], "{name}");
    }
}

#[tokio::test]
async fn one_node_tells_of_its_stream_and_listeners_as_icecast_does_and_logs_who_leaves() {
    let daemon = Daemon::start().await;
    set_up(&daemon).await;
    assert!(daemon.status().0.is_null(), "nothing plays");
    let _playing = source(&daemon).await;
    let request = "GET /live.mp3?token=mine HTTP/1.0\r\nUser-Agent: Player \"1\"\r\n\r\n";
    let mut listener = open(daemon.http, request).await;
    let titled = daemon.admin("metadata?mode=updinfo&mount=/live.mp3&song=1979&charset=UTF-8");
    assert!(titled.starts_with("HTTP/1.0 200"), "{titled}");
    let ours = until("the status tells of the listener and the title", PATIENCE, async || {
        let (source, text) = daemon.status();
        (source["listeners"] == 1 && source["title"] == "1979").then_some((source, text))
    })
    .await;
    assert_same_shape(&ours, &status(daemon.icecast));
    assert_eq!(ours.0["server_name"], "Caf\u{e9} & B", "not spoilt as Icecast spoils it");
    assert_eq!(ours.0["listenurl"], format!("http://radio.test:{}/live.mp3", daemon.http));
    assert_eq!((&ours.0["listener_peak"], &ours.0["unique_listeners"]), (&1.into(), &1.into()));

    let stats = daemon.admin("stats?mount=/live.mp3");
    for want in [
        "<listener_connections>1</listener_connections><listeners>1</listeners>",
        "<sources>1</sources>",
        "<max_listeners>unlimited</max_listeners>",
        "<user_agent>Testcaster</user_agent>",
    ] {
        assert!(stats.contains(want), "{want} in {stats}");
    }
    assert!(!stats.contains("<total_bytes_read>0<"), "{stats}");
    let listed = daemon.admin("listclients?mount=/live.mp3");
    assert!(listed.contains("<UserAgent>Player \"1\"</UserAgent>"), "{listed}");
    let id = listed.split("<ID>").nth(1).unwrap().split('<').next().unwrap();
    assert_eq!(daemon.access_log(), "", "nobody has left");
    let killed = daemon.admin(&format!("killclient?mount=/live.mp3&id={id}"));
    assert!(killed.contains("<return>1</return>"), "{killed}");
    listener.read_to_end(&mut Vec::new()).unwrap();
    let _ = listener.shutdown(Shutdown::Both);
    let line = until("the line is written", PATIENCE, async || {
        Some(daemon.access_log()).filter(|log| log.ends_with('\n'))
    })
    .await;
    assert!(line.starts_with("127.0.0.1 - - [") && line.lines().count() == 1, "{line}");
    let rest = line.split_once("+0000] \"GET /live.mp3 HTTP/1.0\" 200 ").unwrap().1;
    let (bytes, rest) = rest.split_once(" \"-\" \"Player .1.\" ").unwrap();
    assert!(bytes.parse::<u64>().unwrap() > 1_000, "{line}");
    rest.trim_end().parse::<u64>().unwrap();
    until("the status forgets it", PATIENCE, async || {
        (daemon.status().0["listeners"] == 0).then_some(())
    })
    .await;
    assert_eq!(daemon.status().0["listener_peak"], 1);
}
