//! A front in this process, a real Icecast behind it, and the clients of tests. Loopback only.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use argon2::{Algorithm, Argon2, Params, PasswordHasher, Version};
use autoradio_edge::clock;
use autoradio_edge::cluster::{
    Capacity, IcecastSecrets, LoadRecord, Master, MountPath, MountRecord, NodeName, NodeRecord,
    SCHEMA_VERSION, Snapshot, Standing, StandingReader,
};
use autoradio_edge::http::{Front, FrontSettings, FrontStats, MountView};
use autoradio_edge::peer::{OwnState, PeerState};
use autoradio_edge::placement::{Placement, place};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::icecast::Icecast;

pub(crate) const PASSWORD: &str = "hackme";
/// `source:hackme`.
pub(crate) const AUTHORIZATION: &str = "Authorization: Basic c291cmNlOmhhY2ttZQ==\r\n";
/// Nothing in these tests may take longer; liquidsoap takes seconds to start.
pub(crate) const LONGEST: Duration = Duration::from_secs(40);

/// A front on a free port, with mounts `/live.mp3` and `/two.mp3`, and its Icecast.
pub(crate) struct Rig {
    pub(crate) port: u16,
    pub(crate) stats: Arc<FrontStats>,
    pub(crate) snapshot: Snapshot,
    pub(crate) icecast: Icecast,
    placement: watch::Sender<Arc<Placement>>,
    cancel: CancellationToken,
    front: Option<tokio::task::JoinHandle<()>>,
    runtime: tokio::runtime::Runtime,
}

/// What the front answers peers.
fn own_state() -> PeerState {
    PeerState {
        name: node_name(),
        id: "an id".to_owned(),
        quorum: true,
        quorum_age_ms: 250,
        revision: 7,
    }
}

impl Rig {
    pub(crate) fn start() -> Self {
        Self::with_room_for(16_384)
    }

    /// One whose front holds that many connections.
    pub(crate) fn with_room_for(connections_max: usize) -> Self {
        Self::with(connections_max, true)
    }

    /// One that leaves listeners to Icecasts.
    pub(crate) fn without_proxy() -> Self {
        Self::with(16_384, false)
    }

    fn with(connections_max: usize, icecast_proxy: bool) -> Self {
        let icecast = Icecast::start();
        let snapshot = snapshot(icecast.port);
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let front = {
            let _inside = runtime.enter();
            Front::bind(&[0]).expect("a free port")
        };
        let port = front.local_ports()[0];
        let settings = FrontSettings {
            domain: "radio.test".to_owned(),
            node: node_name(),
            ports: vec![port],
            secrets: IcecastSecrets {
                source_password: "inner-source".to_owned(),
                relay_password: "inner-relay".to_owned(),
                admin_password: "inner-admin".to_owned(),
            },
            connections_max,
            standing: StandingReader::always(Standing::Sure),
            own_state: OwnState::new(own_state),
            icecast_proxy,
            icecast_port: icecast.port,
            capacity_whole: Capacity { listeners: 1_250, ..Capacity::default() },
            ledger: Arc::default(),
        };
        let (placement, placements) = watch::channel(Arc::new(place(&snapshot)));
        let (stats, cancel) = (Arc::new(FrontStats::default()), CancellationToken::new());
        let running = front.run(settings, placements, stats.clone(), cancel.clone());
        Self {
            front: Some(runtime.spawn(running)),
            port,
            stats,
            snapshot,
            icecast,
            placement,
            cancel,
            runtime,
        }
    }

    /// Puts `self.snapshot` in force.
    pub(crate) fn place(&self) {
        self.placement.send_replace(Arc::new(place(&self.snapshot)));
    }

    /// Adds a second node whose front is on a port of its own, with that much load.
    pub(crate) fn add_peer(&mut self, listeners: u64) -> NodeName {
        let name: NodeName = "node2".parse().expect("a node name");
        let own = NodeRecord::clone(&self.snapshot.nodes[&node_name()]);
        let peer = NodeRecord { name: name.clone(), http_port: 8_080, icecast_port: 8_001, ..own };
        self.snapshot.nodes.insert(name.clone(), Arc::new(peer));
        self.load(&name, listeners);
        name
    }

    /// Makes a node carry that many listeners of the thousand it may.
    pub(crate) fn load(&mut self, node: &NodeName, listeners: u64) {
        let load = LoadRecord { listeners, ..LoadRecord::idle() };
        self.snapshot.loads.insert(node.clone(), Arc::new(load));
    }

    /// Stops the front and waits until it has.
    pub(crate) fn stop(&mut self) {
        self.cancel.cancel();
        let front = self.front.take().expect("running");
        self.runtime
            .block_on(async { tokio::time::timeout(LONGEST, front).await })
            .expect("in time")
            .expect("no panic");
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Opens a connection and sends `request`.
    pub(crate) fn send(&self, request: impl AsRef<[u8]>) -> Client {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let mut stream = TcpStream::connect(address).expect("the front accepts");
        stream.set_read_timeout(Some(LONGEST)).expect("a timeout");
        stream.write_all(request.as_ref()).expect("the request is taken");
        Client { stream }
    }

    /// A source that is on the air.
    pub(crate) fn source(&self, mount: &str) -> Client {
        let head =
            format!("SOURCE {mount} HTTP/1.0\r\n{AUTHORIZATION}Content-Type: audio/mpeg\r\n\r\n");
        let mut source = self.send(head);
        assert_eq!(source.read_head(), "HTTP/1.0 200 OK\r\n\r\n");
        source
    }

    /// Waits until this node's view of a mount is as wanted.
    pub(crate) fn wait_for(&self, what: &str, wanted: impl Fn(&MountView) -> bool) {
        wait_until(what, || self.stats.view().mounts.iter().any(&wanted));
    }

    /// ffmpeg as a source, in its MP3 form.
    pub(crate) fn ffmpeg(&self, arguments: &[&str]) -> Process {
        let target = format!("127.0.0.1:{}/live.mp3", self.port);
        let mut command = encoder("libmp3lame", "mp3");
        command
            .args(["-content_type", "audio/mpeg"])
            .args(&arguments[1..])
            .arg(format!("icecast://source:{}@{target}", arguments[0]));
        Process::spawn(&mut command)
    }
}

/// ffmpeg with a tone as fast as it sounds; where to is left to say.
pub(crate) fn encoder(codec: &str, format: &str) -> Command {
    let mut command = Command::new("ffmpeg");
    command
        .args(["-hide_banner", "-nostdin", "-nostats", "-loglevel", "warning"])
        .args(["-re", "-f", "lavfi", "-i", "sine=frequency=440"])
        .args(["-c:a", codec, "-b:a", "128k", "-f", format]);
    command
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

pub(crate) fn node_name() -> NodeName {
    "node1".parse().expect("a node name")
}

fn snapshot(icecast_port: u16) -> Snapshot {
    let mut snapshot = Snapshot::default();
    let node = NodeRecord {
        schema: SCHEMA_VERSION,
        name: node_name(),
        domain: "radio.test".to_owned(),
        addresses: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
        peer_address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        http_port: 80,
        icecast_port,
        version: "0".to_owned(),
        id: String::new(),
        capacity: Capacity::default(),
        unknown: serde_json::Map::new(),
    };
    snapshot.nodes.insert(node_name(), Arc::new(node));
    for path in ["/live.mp3", "/two.mp3"] {
        let record = mount_record(path, PASSWORD);
        let master = Master { node: node_name(), epoch: 1 };
        snapshot.masters.insert(record.path.clone(), master);
        snapshot.mounts.insert(record.path.clone(), Arc::new(record));
    }
    snapshot
}

/// A mount whose password is hashed cheaply.
pub(crate) fn mount_record(path: &str, password: &str) -> MountRecord {
    let params = Params::new(64, 1, 1, None).expect("valid parameters");
    let hash = Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password(password.as_bytes())
        .expect("a hash");
    MountRecord {
        name: Some("A & B".to_owned()),
        ..MountRecord::new(mount(path), "source", hash.to_string())
    }
}

pub(crate) fn mount(path: &str) -> MountPath {
    path.parse().expect("a mount path")
}

/// One raw connection to the front.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
}

impl Client {
    /// Reads to the end of a head, and not past it.
    pub(crate) fn read_head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.read_exactly(1)[0]);
        }
        String::from_utf8_lossy(&head).into_owned()
    }

    pub(crate) fn read_exactly(&mut self, bytes: usize) -> Vec<u8> {
        let mut read = vec![0; bytes];
        self.stream.read_exact(&mut read).expect("more bytes in time");
        read
    }

    /// Everything until the front closes.
    pub(crate) fn read_all(&mut self) -> String {
        let mut read = Vec::new();
        self.stream.read_to_end(&mut read).expect("a clean close in time");
        String::from_utf8_lossy(&read).into_owned()
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the bytes are taken");
    }

    /// Waits until the front has closed, cleanly or by a reset.
    pub(crate) fn wait_closed(&mut self) {
        let mut byte = [0];
        match self.stream.read(&mut byte) {
            Ok(0) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
            other => panic!("the connection is still open: {other:?}"),
        }
    }
}

/// A child that does not outlive its test. What it writes is read as it comes, so that no full pipe stops it.
pub(crate) struct Process {
    child: Child,
    feeder: Option<Child>,
    out: Option<JoinHandle<Vec<u8>>>,
    err: Option<JoinHandle<Vec<u8>>>,
}

impl Process {
    pub(crate) fn spawn(command: &mut Command) -> Self {
        Self::start(command.stdin(Stdio::null()))
    }

    /// A child that reads what `feeder` writes.
    pub(crate) fn spawn_fed(feeder: &mut Command, command: &mut Command) -> Self {
        let mut feeder = spawn(feeder.stdin(Stdio::null()).stdout(Stdio::piped()));
        let audio = feeder.stdout.take().expect("piped");
        let mut process = Self::start(command.stdin(audio));
        process.feeder = Some(feeder);
        process
    }

    fn start(command: &mut Command) -> Self {
        let mut child = spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
        let (out, err) = (child.stdout.take(), child.stderr.take());
        Self { child, feeder: None, out: collect(out), err: collect(err) }
    }

    pub(crate) fn kill(&mut self) {
        for child in self.feeder.iter_mut().chain([&mut self.child]) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Waits for its own end; what it wrote to stdout and stderr.
    pub(crate) fn output(mut self) -> (Vec<u8>, String) {
        wait_until("a child ends", || matches!(self.child.try_wait(), Ok(Some(_))));
        let [out, err] = [self.out.take(), self.err.take()]
            .map(|reading| reading.expect("taken once").join().expect("no panic"));
        (out, String::from_utf8_lossy(&err).into_owned())
    }
}

fn spawn(command: &mut Command) -> Child {
    let child = command.spawn();
    child.unwrap_or_else(|error| panic!("{command:?} does not start: {error}"))
}

fn collect(pipe: Option<impl Read + Send + 'static>) -> Option<JoinHandle<Vec<u8>>> {
    let mut pipe = pipe?;
    Some(std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read before an error counts.
        let _ = pipe.read_to_end(&mut bytes);
        bytes
    }))
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Polls `wanted` until it holds; panics after [`LONGEST`].
pub(crate) fn wait_until(what: &str, mut wanted: impl FnMut() -> bool) {
    let deadline: Instant = clock::now() + LONGEST;
    while !wanted() {
        assert!(clock::now() < deadline, "not in time: {what}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}
