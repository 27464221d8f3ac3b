//! Clients that mean no good, or are badly made: many of one manner, from one thread.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};

use super::{Moment, Worker, is_silence, stopped};
use crate::{Client, LabError};

const PORT: u16 = 80;
const DIAL: Duration = Duration::from_secs(5);
/// Pause between two rounds over all connections.
const PAUSE: Duration = Duration::from_millis(200);
/// What a reader that never reads has room for, in bytes; the kernel doubles it.
const DEAF_BYTES: usize = 4 * 1024;
/// Piece of a header that does not end.
const PIECE: [u8; 4 * 1024] = [b'x'; 4 * 1024];

/// How a client behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// It says nothing.
    Silent,
    /// It sends its head byte by byte, and never all of it.
    SlowHead,
    /// It sends a header without end, as fast as it is taken.
    HugeHead,
    /// It asks for a stream and never reads.
    Deaf,
    /// It asks for a stream, says that it will send no more, and reads.
    HalfClosed,
    /// It says that it will send no more in the middle of its head.
    HalfHead,
}

/// Clients of one manner.
#[derive(Debug)]
pub struct Hostiles {
    counts: Arc<Mutex<Counts>>,
    _worker: Worker,
}

/// What became of them so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections that were opened.
    pub opened: usize,
    /// Connections that could not be opened.
    pub failed: usize,
    /// Connections that the other side has closed.
    pub closed: usize,
    /// The longest life of one of these, in milliseconds.
    pub closed_after_ms_max: u64,
    /// Bytes that they got.
    pub bytes_read: u64,
}

impl Counts {
    /// Connections that are open.
    pub fn open(&self) -> usize {
        self.opened - self.closed
    }
}

impl Hostiles {
    /// Has `count` of them come to `node`, as fast as they can. Those who ask for a stream ask for `mount`.
    pub fn start(
        client: &Client,
        node: Ipv4Addr,
        mount: &str,
        (manner, count): (Manner, usize),
    ) -> Result<Self, LabError> {
        let counts = Arc::new(Mutex::new(Counts::default()));
        let (shared, mount) = (counts.clone(), mount.to_owned());
        let worker = Worker::start(client, move |stop| {
            let mut clients = Vec::new();
            for _ in 0..count {
                if stopped(stop) {
                    return;
                }
                let opened = Connection::open(node, &mount, manner);
                let mut counts = lock(&shared);
                counts.opened += usize::from(opened.is_ok());
                counts.failed += usize::from(opened.is_err());
                clients.extend(opened);
            }
            run(stop, &shared, manner, clients);
        })?;
        Ok(Self { counts, _worker: worker })
    }

    /// What became of them so far.
    pub fn counts(&self) -> Counts {
        lock(&self.counts).clone()
    }
}

fn lock(counts: &Mutex<Counts>) -> MutexGuard<'_, Counts> {
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

fn run(
    stop: &AtomicBool,
    counts: &Mutex<Counts>,
    manner: Manner,
    mut connections: Vec<Connection>,
) {
    while !stopped(stop) {
        connections.retain_mut(|connection| {
            let mut read = 0;
            let open = connection.go_on(manner, &mut read);
            let mut counts = lock(counts);
            counts.bytes_read += read;
            if !open {
                counts.closed += 1;
                let life_ms = Moment::now().ms_since(connection.since);
                counts.closed_after_ms_max = counts.closed_after_ms_max.max(life_ms);
            }
            open
        });
        std::thread::sleep(PAUSE);
    }
}

struct Connection {
    socket: TcpStream,
    since: Moment,
}

impl Connection {
    fn open(node: Ipv4Addr, mount: &str, manner: Manner) -> io::Result<Self> {
        let since = Moment::now();
        let mut socket = TcpStream::connect_timeout(&SocketAddr::from((node, PORT)), DIAL)?;
        socket.set_nodelay(true)?;
        let request = format!("GET /_stream{mount} HTTP/1.0\r\nUser-Agent: hostile\r\n");
        match manner {
            Manner::Silent | Manner::SlowHead => {}
            Manner::HugeHead | Manner::HalfHead => socket.write_all(request.as_bytes())?,
            Manner::Deaf => {
                setsockopt(&socket, sockopt::RcvBuf, &DEAF_BYTES)?;
                socket.write_all(format!("{request}\r\n").as_bytes())?;
            }
            Manner::HalfClosed => socket.write_all(format!("{request}\r\n").as_bytes())?,
        }
        if matches!(manner, Manner::HalfClosed | Manner::HalfHead) {
            socket.shutdown(Shutdown::Write)?;
        }
        socket.set_nonblocking(true)?;
        Ok(Self { socket, since })
    }

    /// Does what it does. Returns whether the connection is still open.
    fn go_on(&mut self, manner: Manner, read: &mut u64) -> bool {
        let sent = match manner {
            Manner::SlowHead => self.socket.write(b"G"),
            Manner::HugeHead => self.socket.write(&PIECE),
            _ => Ok(0),
        };
        // Where the other side has closed it, the read says so: there may be an answer before that.
        sent.map(drop).unwrap_or_default();
        manner == Manner::Deaf || self.read_all(read)
    }

    fn read_all(&mut self, read: &mut u64) -> bool {
        let mut buffer = [0; 16 * 1024];
        loop {
            match self.socket.read(&mut buffer) {
                Ok(0) => return false,
                Ok(bytes) => *read += bytes as u64,
                Err(error) => return is_silence(&error),
            }
        }
    }
}
