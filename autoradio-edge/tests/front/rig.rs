//! The nodes of a test, what they know, and their clients. Loopback only.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::ops::{Deref, DerefMut};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use argon2::{Algorithm, Argon2, Params, PasswordHasher, Version};
use autoradio_edge::clock;
use autoradio_edge::cluster::{
    Capacity, LoadRecord, Master, MountPath, MountRecord, NodeName, NodeRecord, SCHEMA_VERSION,
    Snapshot,
};
use autoradio_edge::http::MountView;
use autoradio_edge::placement::place;

use crate::node::{Kind, Node};
use crate::ports::free_ports;

pub(crate) const PASSWORD: &str = "hackme";
/// `source:hackme`.
pub(crate) const AUTHORIZATION: &str = "Authorization: Basic c291cmNlOmhhY2ttZQ==\r\n";
/// Nothing in these tests may take longer; liquidsoap takes seconds to start.
pub(crate) const LONGEST: Duration = Duration::from_secs(40);

/// Nodes `node1`, `node2`, … that know mounts `/live.mp3` and `/two.mp3`, of which `node1` is master. What is asked of
/// the rig itself is asked of `node1`.
pub(crate) struct Rig {
    pub(crate) snapshot: Snapshot,
    pub(crate) nodes: Vec<Node>,
    runtime: tokio::runtime::Runtime,
}

impl Deref for Rig {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.nodes[0]
    }
}

impl DerefMut for Rig {
    fn deref_mut(&mut self) -> &mut Node {
        &mut self.nodes[0]
    }
}

impl Rig {
    pub(crate) fn start() -> Self {
        Self::of(1, Kind::default())
    }

    /// One whose front holds that many connections.
    pub(crate) fn with_room_for(connections_max: usize) -> Self {
        Self::of(1, Kind { connections_max, ..Kind::default() })
    }

    /// One that leaves listeners to Icecasts.
    pub(crate) fn without_proxy() -> Self {
        Self::of(1, Kind { icecast_proxy: false, ..Kind::default() })
    }

    /// One that believes proxies on this machine.
    pub(crate) fn behind_proxies() -> Self {
        Self::of(1, Kind { trusted_proxy: Some("127.0.0.0/8"), ..Kind::default() })
    }

    pub(crate) fn of_nodes(nodes: usize) -> Self {
        Self::of(nodes, Kind::default())
    }

    /// Nodes whose Icecasts relay what others are master of. No daemon has it so together with a front that serves listeners,
    /// but tests that listen to an Icecast do.
    pub(crate) fn of_relaying_nodes(nodes: usize) -> Self {
        Self::of(nodes, Kind { relays: true, ..Kind::default() })
    }

    fn of(nodes: usize, kind: Kind) -> Self {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let inside = runtime.enter();
        let mut snapshot = snapshot();
        let mut started = Vec::new();
        for number in 1..=nodes {
            let [icecast_port] = free_ports();
            let mut record = node_record(number, icecast_port);
            let node = Node::start(record.name.clone(), kind, icecast_port);
            record.http_port = node.port;
            started.push(node);
            snapshot.nodes.insert(record.name.clone(), Arc::new(record));
        }
        drop(inside);
        let mut rig = Self { snapshot, nodes: started, runtime };
        rig.place();
        rig
    }

    /// Changes the record of a mount, everywhere.
    pub(crate) fn change(&mut self, path: &str, change: impl FnOnce(&mut MountRecord)) {
        let mut record = MountRecord::clone(&self.snapshot.mounts[&mount(path)]);
        change(&mut record);
        self.snapshot.mounts.insert(record.path.clone(), Arc::new(record));
        self.place();
    }

    /// Puts `self.snapshot` in force on all nodes.
    pub(crate) fn place(&mut self) {
        let placement = Arc::new(place(&self.snapshot));
        for node in &mut self.nodes {
            node.place(&placement);
        }
    }

    /// Makes a node master of `/live.mp3` in this epoch, everywhere.
    pub(crate) fn make_master(&mut self, number: usize, epoch: i64) {
        self.snapshot.masters.insert(mount("/live.mp3"), master(number, epoch));
        self.place();
    }

    /// Tells of a second node, which nobody started, whose front is on port 8080, with that much load.
    pub(crate) fn add_peer(&mut self, listeners: u64) -> NodeName {
        let record = NodeRecord { http_port: 8_080, ..node_record(2, 8_001) };
        let name = record.name.clone();
        self.snapshot.nodes.insert(name.clone(), Arc::new(record));
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
}

impl Node {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Opens a connection and sends `request`.
    pub(crate) fn send(&self, request: impl AsRef<[u8]>) -> Client {
        send_to(self.port, request)
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

/// Length of a frame of [`frames`], in bytes.
pub(crate) const FRAME_BYTES: usize = 417;

/// Frames of MPEG 1 layer III, 128 kb/s at 44.1 kHz, filled with a letter: 38 of them a second.
pub(crate) fn frames(letter: u8, count: usize) -> Vec<u8> {
    let frame = [&[0xff, 0xfb, 0x90, 0xc4][..], &[letter; FRAME_BYTES - 4]].concat();
    frame.repeat(count)
}

pub(crate) fn node_name(number: usize) -> NodeName {
    format!("node{number}").parse().expect("a node name")
}

pub(crate) fn master(number: usize, epoch: i64) -> Master {
    Master { node: node_name(number), epoch }
}

fn node_record(number: usize, icecast_port: u16) -> NodeRecord {
    NodeRecord {
        schema: SCHEMA_VERSION,
        name: node_name(number),
        domain: "radio.test".to_owned(),
        addresses: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
        peer_address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        http_port: 80,
        icecast_port,
        version: "0".to_owned(),
        id: String::new(),
        capacity: Capacity::default(),
        unknown: serde_json::Map::new(),
    }
}

fn snapshot() -> Snapshot {
    let mut snapshot = Snapshot::default();
    for path in ["/live.mp3", "/two.mp3"] {
        let record = mount_record(path, PASSWORD);
        snapshot.masters.insert(record.path.clone(), master(1, 1));
        snapshot.mounts.insert(record.path.clone(), Arc::new(record));
    }
    snapshot
}

/// A mount whose password is hashed cheaply.
pub(crate) fn mount_record(path: &str, password: &str) -> MountRecord {
    MountRecord {
        name: Some("A & B".to_owned()),
        ..MountRecord::new(mount(path), "source", cheap_hash(password))
    }
}

/// A hash that takes no time to check.
pub(crate) fn cheap_hash(password: &str) -> String {
    let params = Params::new(64, 1, 1, None).expect("valid parameters");
    let hash = Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password(password.as_bytes())
        .expect("a hash");
    hash.to_string()
}

pub(crate) fn mount(path: &str) -> MountPath {
    path.parse().expect("a mount path")
}

/// Opens a connection to a port of this machine and sends `request`.
pub(crate) fn send_to(port: u16, request: impl AsRef<[u8]>) -> Client {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect(address).expect("somebody accepts");
    stream.set_read_timeout(Some(LONGEST)).expect("a timeout");
    stream.write_all(request.as_ref()).expect("the request is taken");
    Client { stream }
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

    /// Whether the stream has ended, after whatever of it was still to come.
    pub(crate) fn stream_ended(&mut self) -> bool {
        !matches!(self.stream.read(&mut [0; 4_096]), Ok(1..))
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

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
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
