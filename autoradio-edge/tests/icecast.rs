//! The real Icecast with our configuration.
#![expect(clippy::unwrap_used, reason = "a test stops where it cannot go on")]

mod support;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use autoradio_common::limits::MOUNTS_MAX;
use autoradio_edge::cluster::{IcecastSecrets, Master, Snapshot};
use autoradio_edge::icecast::{
    Icecast, IcecastDoor, IcecastError, IcecastSettings, RelayCounts, start,
};
use autoradio_edge::placement::{Placement, place};
use autoradio_edge::supervise::ChildState;
use nix::sys::signal::Signal;
use support::{PATIENCE, free_ports, in_time, lives, mount, node, path, signal, state_dir, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Mounts of a peer at an IPv6 address, so that Icecast has relays to know.
fn placement(paths: &[String]) -> Arc<Placement> {
    let mut snapshot = Snapshot::default();
    let mut peer = node("peer");
    peer.peer_address = "::1".parse().unwrap();
    snapshot.nodes.insert(peer.name.clone(), Arc::new(peer));
    for it in paths {
        let master = Master { node: "peer".parse().unwrap(), epoch: 1 };
        snapshot.masters.insert(path(it), master);
        snapshot.mounts.insert(path(it), Arc::new(mount(it)));
    }
    Arc::new(place(&snapshot))
}

fn secrets() -> IcecastSecrets {
    IcecastSecrets {
        source_password: "hackme".into(),
        relay_password: "relay".into(),
        admin_password: "admin".into(),
    }
}

fn settings(dir: &std::path::Path, port: u16) -> IcecastSettings {
    // Nobody listens there: no source is let in.
    let own = ("own".parse().unwrap(), (Ipv4Addr::LOCALHOST, 9).into());
    IcecastSettings {
        listen_address: Some(Ipv4Addr::LOCALHOST.into()),
        ..IcecastSettings::debian(dir.to_owned(), own, port, "radio.test".to_owned(), 5_000)
    }
}

/// Says yes to every source that Icecast asks about; where it is asked.
async fn open_gate() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut asker, _)) = listener.accept().await {
            let mut question = [0; 4_096];
            let _ = asker.read(&mut question).await;
            let _ = asker.write_all(b"HTTP/1.0 200 OK\r\nicecast-auth-user: 1\r\n\r\n").await;
        }
    });
    address
}

/// A source of `/live.mp3` that Icecast has let in.
async fn on_air(port: u16) -> tokio::net::TcpStream {
    let mut stream = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
    let head = "SOURCE /live.mp3 HTTP/1.0\r\nAuthorization: Basic c291cmNlOmhhY2ttZQ==\r\n\
        Content-Type: audio/mpeg\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.0 200");
    stream
}

/// Status line of an answer, `None` while nobody answers.
fn status(port: u16, target: &str) -> Option<String> {
    Some(whole(port, target)?.lines().next()?.to_owned())
}

/// The whole answer, `None` while nobody answers.
fn whole(port: u16, target: &str) -> Option<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    let auth = "Authorization: Basic YWRtaW46YWRtaW4=\r\n";
    write!(stream, "GET {target} HTTP/1.0\r\n{auth}\r\n").ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    Some(String::from_utf8_lossy(&answer).into_owned())
}

fn pid(icecast: &Icecast) -> Option<i32> {
    match *icecast.state.borrow() {
        ChildState::Running { pid } => Some(pid),
        _ => None,
    }
}

#[tokio::test]
async fn icecast_takes_the_configuration_and_every_change_of_it_without_a_restart() {
    let dir = state_dir();
    let [port] = free_ports();
    let (place, placements) = watch::channel(placement(&["/live.mp3".to_owned()]));
    let cancel = CancellationToken::new();
    let (icecast, task) =
        start(settings(dir.path(), port), secrets(), placements, cancel.clone()).await.unwrap();
    let answers = async || status(port, "/status-json.xsl").filter(|line| line.contains(" 200 "));
    let mut answering = icecast.answers.clone();
    in_time("Icecast answers", PATIENCE, answering.wait_for(|answers| *answers)).await.unwrap();
    until("Icecast answers", PATIENCE, answers).await;
    let first = pid(&icecast).unwrap();
    let nasty = ["/live.mp3", "/<b>&'\" ü.ogg", "/a/b/c%41"].map(str::to_owned);
    place.send_replace(placement(&nasty));
    let config = dir.path().join("icecast/icecast.xml");
    until("the new mounts are written", Duration::from_secs(2), async || {
        let text = std::fs::read_to_string(&config).unwrap();
        text.contains("/a/b/c%41").then_some(())
    })
    .await;
    until("the new mounts are known", PATIENCE, async || {
        whole(port, "/admin/stats")?.contains("c%41").then_some(())
    })
    .await;
    assert_eq!(pid(&icecast), Some(first), "reloaded, not restarted");

    signal(first, Signal::SIGKILL);
    until("a killed Icecast answers again", Duration::from_secs(2), answers).await;
    let second = pid(&icecast).unwrap();
    assert_ne!(first, second);

    cancel.cancel();
    in_time("Icecast stops", PATIENCE, task).await.unwrap();
    assert!(!lives(second));
}

#[tokio::test]
async fn ten_thousand_mounts_are_known_and_changed_within_seconds() {
    let dir = state_dir();
    let [port] = free_ports();
    let paths: Vec<String> = (0..MOUNTS_MAX).map(|number| format!("/{number:05}.mp3")).collect();
    let (place, placements) = watch::channel(placement(&paths));
    let cancel = CancellationToken::new();
    let (icecast, task) =
        start(settings(dir.path(), port), secrets(), placements, cancel.clone()).await.unwrap();
    let knows = async |path: &str| whole(port, "/admin/stats")?.contains(path).then_some(());
    until("Icecast starts", PATIENCE, async || knows("/00001.mp3").await).await;
    let pid = pid(&icecast);

    place.send_replace(placement(&paths[5_000..]));
    until("it knows the change", PATIENCE, async || knows("/05001.mp3").await).await;
    let answers = status(port, "/status-json.xsl").unwrap();
    assert!(answers.contains(" 200 "), "{answers}");
    assert_eq!(self::pid(&icecast), pid, "reloaded, not restarted");
    cancel.cancel();
    in_time("Icecast stops", PATIENCE, task).await.unwrap();
}

#[tokio::test]
async fn the_configuration_is_not_for_everybodys_eyes() {
    use std::os::unix::fs::PermissionsExt;
    let dir = state_dir();
    let [port] = free_ports();
    let (_place, placements) = watch::channel(placement(&[]));
    let cancel = CancellationToken::new();
    let (_, task) =
        start(settings(dir.path(), port), secrets(), placements, cancel.clone()).await.unwrap();
    let config = dir.path().join("icecast/icecast.xml");
    assert_eq!(config.metadata().unwrap().permissions().mode() & 0o777, 0o640);
    cancel.cancel();
    in_time("Icecast stops", PATIENCE, task).await.unwrap();
}

/// A listener of `/live.mp3` whose address is `from`; it stays while its connection does. A source takes a moment to play.
async fn listen(from: [u8; 4], port: u16) -> tokio::net::TcpStream {
    until("Icecast plays", PATIENCE, async || {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind((Ipv4Addr::from(from), 0).into()).unwrap();
        let mut stream = socket.connect((Ipv4Addr::LOCALHOST, port).into()).await.ok()?;
        stream.write_all(b"GET /live.mp3 HTTP/1.0\r\n\r\n").await.ok()?;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.ok()?;
        (&answer == b"HTTP/1.0 200").then_some(stream)
    })
    .await
}

#[tokio::test]
async fn icecasts_listeners_are_counted_without_the_relays_of_other_nodes() {
    let dir = state_dir();
    let [port] = free_ports();
    let (_place, placements) = watch::channel(placement(&[]));
    let cancel = CancellationToken::new();
    let settings = IcecastSettings { admin: open_gate().await, ..settings(dir.path(), port) };
    let (icecast, task) = start(settings, secrets(), placements, cancel.clone()).await.unwrap();
    let mut answering = icecast.answers.clone();
    in_time("Icecast answers", PATIENCE, answering.wait_for(|answers| *answers)).await.unwrap();
    let door = IcecastDoor::new(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), &secrets());
    let relay = std::net::IpAddr::from([127, 0, 0, 2]);
    let listeners = async || {
        let is_relay = |address: &std::net::IpAddr| *address == relay;
        door.listeners(is_relay, &mut RelayCounts::default()).await.unwrap()
    };
    assert_eq!(listeners().await, [], "nothing plays");
    let mut source = on_air(port).await;
    source.write_all(&vec![0; 40_000]).await.unwrap();
    let _relay = listen([127, 0, 0, 2], port).await;
    let _people = [listen([127, 0, 0, 3], port).await, listen([127, 0, 0, 4], port).await];
    until("both people are counted, and the relay is not", PATIENCE, async || {
        (listeners().await == [(path("/live.mp3"), 2)]).then_some(())
    })
    .await;
    let wrong = IcecastSecrets { admin_password: "wrong".into(), ..secrets() };
    let door = IcecastDoor::new(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), &wrong);
    let asked = door.listeners(|_| false, &mut RelayCounts::default()).await;
    let error = asked.expect_err("a wrong password");
    assert!(error.to_string().contains("status 401"), "{error}");
    cancel.cancel();
    in_time("Icecast stops", PATIENCE, task).await.unwrap();
}

#[tokio::test]
async fn a_taken_port_is_an_error_that_names_it() {
    let dir = state_dir();
    let taken = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let (_place, placements) = watch::channel(placement(&[]));
    let error = start(settings(dir.path(), port), secrets(), placements, CancellationToken::new())
        .await
        .expect_err("taken");
    assert!(matches!(error, IcecastError::PortTaken { port: named, .. } if named == port));
}
