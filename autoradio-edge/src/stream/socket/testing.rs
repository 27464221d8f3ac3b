//! Makings of the hub's tests: Icecasts that do as they are told, and listeners that are plain sockets.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, mpsc, watch};

use super::Seat;
use crate::clock;
use crate::cluster::{IcecastSecrets, Master, MountPath, MountRecord, Snapshot};
use crate::placement::tests::one_node_snapshot;
use crate::placement::{Placement, place};
use crate::stream::{Ended, Guest, Hub, HubSettings};

/// Nothing here may take longer.
const LONGEST: Duration = Duration::from_secs(20);
pub(super) const FRAME: usize = 417;

/// Frames of MPEG 1 layer III with these numbers, 417 bytes each.
pub(super) fn frames(numbers: std::ops::Range<u32>) -> Vec<u8> {
    let frame = |number: u32| {
        [&[0xff, 0xfb, 0x90, 0xc4][..], &number.to_be_bytes(), &[0x55; FRAME - 8]].concat()
    };
    numbers.flat_map(frame).collect()
}

/// The numbers of whole frames; anything else panics.
pub(super) fn numbers(audio: &[u8]) -> Vec<u32> {
    let number = |frame: &[u8]| {
        assert!(frame.starts_with(&[0xff, 0xfb, 0x90, 0xc4]), "no frame: {:?}", &frame[..8]);
        assert!(frame[8..].iter().all(|byte| *byte == 0x55), "a torn frame");
        u32::from_be_bytes(frame[4..8].try_into().expect("four bytes"))
    };
    audio.chunks_exact(FRAME).map(number).collect()
}

/// What an Icecast does: it plays to all who ask while `mounts` says so.
pub(super) struct Icecast {
    pub(super) address: SocketAddr,
    mounts: Mutex<Vec<(&'static str, &'static str)>>,
    pub(super) audio: broadcast::Sender<(&'static str, Vec<u8>)>,
    pub(super) asked: AtomicU64,
}

impl Icecast {
    pub(super) async fn start() -> Arc<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let icecast = Arc::new(Self {
            address: listener.local_addr().expect("an address"),
            mounts: Mutex::default(),
            audio: broadcast::channel(1_024).0,
            asked: AtomicU64::new(0),
        });
        let serving = icecast.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serving.clone().serve(client));
            }
        });
        icecast
    }

    async fn serve(self: Arc<Self>, mut client: TcpStream) {
        let mut request = [0; 1_024];
        let bytes = client.read(&mut request).await.unwrap_or(0);
        let request = String::from_utf8_lossy(&request[..bytes]).into_owned();
        self.asked.fetch_add(1, Ordering::Relaxed);
        assert!(request.contains("\r\nIcy-MetaData: 1\r\n"), "{request}");
        let playing = self.mounts.lock().expect("no panic").clone();
        let asked = playing.iter().find(|(path, _)| request.starts_with(&format!("GET {path} ")));
        let Some((path, content_type)) = asked else {
            let _ = client.write_all(b"HTTP/1.0 404 File Not Found\r\n\r\n").await;
            return;
        };
        let mut audio = self.audio.subscribe();
        let head = format!("HTTP/1.0 200 OK\r\nContent-Type: {content_type}\r\nicy-name:x\r\n\r\n");
        let _ = client.write_all(head.as_bytes()).await;
        while let Ok((mount, bytes)) = audio.recv().await {
            // Nothing is the end of the source.
            if mount == *path && (bytes.is_empty() || client.write_all(&bytes).await.is_err()) {
                return;
            }
        }
    }

    pub(super) fn play(&self, path: &'static str, content_type: &'static str) {
        self.mounts.lock().expect("no panic").push((path, content_type));
    }

    /// The source of a mount leaves.
    pub(super) fn end(&self, path: &'static str) {
        self.mounts.lock().expect("no panic").retain(|(known, _)| *known != path);
        let _ = self.audio.send((path, Vec::new()));
    }

    pub(super) fn send(&self, path: &'static str, numbers: std::ops::Range<u32>) {
        let _ = self.audio.send((path, frames(numbers)));
    }
}

/// A hub with two mounts, `/a` and `/b`, and an Icecast.
pub(super) struct Rig {
    pub(super) icecast: Arc<Icecast>,
    pub(super) hub: Arc<Hub>,
    pub(super) snapshot: Snapshot,
    pub(super) placement: watch::Sender<Arc<Placement>>,
    pub(super) ended: mpsc::Receiver<Ended>,
}

#[derive(Default)]
struct NoSeat;

impl Seat for NoSeat {
    fn sent(&self, _bytes: u64) {}

    fn move_to(&mut self, _mount: &MountPath) {}
}

pub(super) fn mount(path: &str) -> MountPath {
    path.parse().expect("a mount path")
}

impl Rig {
    pub(super) async fn start(settings: impl Fn(&mut MountRecord)) -> Self {
        let icecast = Icecast::start().await;
        let mut snapshot = one_node_snapshot();
        let node = snapshot.nodes.keys().next().expect("a node").clone();
        for path in ["/a", "/b"] {
            let mut record = MountRecord::new(mount(path), "source", String::new());
            settings(&mut record);
            snapshot.masters.insert(mount(path), Master { node: node.clone(), epoch: 1 });
            snapshot.mounts.insert(mount(path), Arc::new(record));
        }
        let (placement, placements) = watch::channel(Arc::new(place(&snapshot)));
        let (sender, ended) = mpsc::channel(8);
        let settings = HubSettings {
            node,
            icecast: icecast.address,
            secrets: IcecastSecrets {
                source_password: String::new(),
                relay_password: "relays".to_owned(),
                admin_password: String::new(),
            },
            ended: Some(sender),
        };
        let hub = Hub::start(settings, placements);
        Self { icecast, hub, snapshot, placement, ended }
    }

    pub(super) async fn listen(&self, path: &str) -> Listener {
        let tuned = self.hub.tune(&mount(path)).await.expect("it plays");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (client, server) = tokio::join!(TcpStream::connect(address), listener.accept());
        let guest = Guest {
            address: Ipv4Addr::LOCALHOST.into(),
            request: "GET / HTTP/1.0".into(),
            referer: None,
            agent: Some("test".into()),
        };
        let (server, _) = server.expect("a connection");
        self.hub.enter(tuned, server, guest, false, Box::new(NoSeat)).expect("it enters");
        let mut listener = Listener { stream: client.expect("a connection") };
        assert!(listener.head().await.starts_with("HTTP/1.0 200 OK\r\n"));
        listener
    }

    /// Waits until what others see of the listeners is as wanted.
    pub(super) async fn wait_until(&self, what: &str, wanted: impl Fn(&Hub) -> bool) {
        let deadline = clock::now() + LONGEST;
        while !wanted(&self.hub) {
            assert!(clock::now() < deadline, "not in time: {what}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

pub(super) struct Listener {
    stream: TcpStream,
}

impl Listener {
    async fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.extend(self.read(1).await);
        }
        String::from_utf8(head).expect("text")
    }

    pub(super) async fn read(&mut self, bytes: usize) -> Vec<u8> {
        let mut read = vec![0; bytes];
        let reading = tokio::time::timeout(LONGEST, self.stream.read_exact(&mut read));
        reading.await.expect("in time").expect("open");
        read
    }

    /// Reads frames until that number has come.
    pub(super) async fn hear(&mut self, last: u32) -> Vec<u32> {
        let mut heard = Vec::new();
        while heard.last() != Some(&last) {
            heard.extend(numbers(&self.read(FRAME).await));
        }
        heard
    }

    pub(super) async fn wait_closed(&mut self) {
        let mut rest = Vec::new();
        let closed = tokio::time::timeout(LONGEST, self.stream.read_to_end(&mut rest)).await;
        assert!(closed.is_ok(), "still open");
    }
}

pub(super) fn in_order(heard: &[u32]) -> bool {
    heard.windows(2).all(|pair| pair[0] < pair[1])
}
