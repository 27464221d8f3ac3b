//! A crowd of listeners who stay: one thread hears them all, and judges every byte that each of them gets.
//!
//! Every second one asks for titles, which are taken out again. The sockets never block.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};

use super::hearing::{Hearing, Titles};
use super::{Format, Moment, Worker, failed, is_silence, stopped};
use crate::{Client, LabError, Node};

const PORT: u16 = 80;
const DIAL: Duration = Duration::from_secs(2);
/// How long the thread waits for anything before it looks whether it should end.
const LOOK_MS: u8 = 50;
const EVENTS_MAX: usize = 256;
/// Largest read.
const READ_BYTES: usize = 64 * 1024;
/// Longest head of an answer, in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Silence after which a listener does not hear its stream any more.
const HEARS_MS: u64 = 1_500;

/// Listeners of one mount at one node.
#[derive(Clone, Debug)]
pub struct Party {
    /// The node, which is asked to serve them itself.
    pub node: Ipv4Addr,
    /// The mount's path.
    pub mount: String,
    /// What its source sends.
    pub format: Format,
    /// How many.
    pub listeners: usize,
}

impl Party {
    /// So many listeners of `mount` at `node`.
    pub fn new(node: &Node, mount: &str, format: Format, listeners: usize) -> Self {
        Self { node: node.host().v4(), mount: mount.to_owned(), format, listeners }
    }
}

/// A crowd.
#[derive(Debug)]
pub struct Crowd {
    listeners: Arc<Mutex<Vec<Listener>>>,
    _worker: Worker,
}

/// What became of a crowd, or of a part of it, since the last [`Crowd::mark`].
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Those counted.
    pub listeners: usize,
    /// Why some of them were refused or have lost their connection, and how many.
    pub lost: BTreeMap<String, usize>,
    /// What was wrong with what some of them got, and how many.
    pub faults: BTreeMap<String, usize>,
    /// Of each who still listens, the longest time without a byte, in milliseconds, rising.
    pub gaps_ms: Vec<u64>,
    /// Most frames that a new session had been on air before one of them heard its first.
    pub late_frames_max: u32,
}

impl Tally {
    /// The gap that so many percent of the listeners did not exceed; 0 if there are none.
    pub fn gap_ms(&self, percent: usize) -> u64 {
        let rank = (self.gaps_ms.len() * percent).div_ceil(100).saturating_sub(1);
        self.gaps_ms.get(rank).copied().unwrap_or(0)
    }

    /// Whether none was lost, and all got what they should.
    pub fn is_whole(&self) -> bool {
        self.lost.is_empty() && self.faults.is_empty()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p99, max] = [50, 99, 100].map(|percent| self.gap_ms(percent));
        write!(
            out,
            "{} listeners, lost {:?}, faults {:?}, gap p50 {p50} p99 {p99} max {max} ms, \
             {} frames of a new session missed at most",
            self.listeners, self.lost, self.faults, self.late_frames_max
        )
    }
}

#[derive(Debug)]
struct Listener {
    /// `None` once it is lost.
    socket: Option<TcpStream>,
    node: Ipv4Addr,
    mount: Arc<str>,
    /// The answer's head while it is not whole.
    head: Option<Vec<u8>>,
    titles: Option<Titles>,
    hearing: Hearing,
    /// When the last byte came.
    heard_at: Moment,
    /// Longest time between two bytes since the last mark.
    gap_ms: u64,
    lost: Option<String>,
}

impl Crowd {
    /// Has all of them come, as fast as they can.
    pub fn start(client: &Client, parties: &[Party]) -> Result<Self, LabError> {
        let listeners = Arc::new(Mutex::new(Vec::new()));
        let (shared, parties) = (listeners.clone(), parties.to_vec());
        let worker = Worker::start(client, move |stop| {
            if let Err(error) = run(stop, &parties, &shared) {
                eprintln!("the crowd has dissolved: {}", failed("listening in a crowd")(error));
            }
        })?;
        Ok(Self { listeners, _worker: worker })
    }

    /// How many listeners of these nodes have heard a frame, and have heard something just now.
    pub fn hearing(&self, nodes: &[Ipv4Addr]) -> usize {
        self.count(nodes, |listener| listener.hearing.frames > 0)
    }

    /// The same of one mount, and of those to whom this session of its source, or a later one, has come.
    pub fn hearing_session(&self, nodes: &[Ipv4Addr], mount: &str, session: u32) -> usize {
        self.count(nodes, |listener| {
            &*listener.mount == mount && listener.hearing.session() >= session
        })
    }

    /// From here on gaps count.
    pub fn mark(&self) {
        lock(&self.listeners).iter_mut().for_each(|listener| listener.gap_ms = 0);
    }

    /// What became of the listeners of these nodes since the last mark.
    pub fn tally(&self, nodes: &[Ipv4Addr]) -> Tally {
        let (listeners, now) = (lock(&self.listeners), Moment::now());
        let mut tally = Tally::default();
        for listener in listeners.iter().filter(|listener| nodes.contains(&listener.node)) {
            listener.count_in(&mut tally, now);
        }
        tally.gaps_ms.sort_unstable();
        tally
    }

    fn count(&self, nodes: &[Ipv4Addr], counts: impl Fn(&Listener) -> bool) -> usize {
        let (listeners, now) = (lock(&self.listeners), Moment::now());
        let here = listeners.iter().filter(|listener| nodes.contains(&listener.node));
        here.filter(|listener| {
            listener.socket.is_some()
                && now.ms_since(listener.heard_at) < HEARS_MS
                && counts(listener)
        })
        .count()
    }
}

fn lock(listeners: &Mutex<Vec<Listener>>) -> MutexGuard<'_, Vec<Listener>> {
    listeners.lock().unwrap_or_else(PoisonError::into_inner)
}

fn run(stop: &AtomicBool, parties: &[Party], shared: &Mutex<Vec<Listener>>) -> io::Result<()> {
    let epoll = Epoll::new(EpollCreateFlags::empty())?;
    for party in parties {
        let mount: Arc<str> = party.mount.as_str().into();
        for _ in 0..party.listeners {
            if stopped(stop) {
                return Ok(());
            }
            let mut listeners = lock(shared);
            let index = listeners.len();
            let listener = Listener::come(party, mount.clone(), index % 2 == 1);
            if let Some(socket) = &listener.socket {
                epoll.add(socket, EpollEvent::new(EpollFlags::EPOLLIN, index as u64))?;
            }
            listeners.push(listener);
        }
    }
    let mut events = [EpollEvent::empty(); EVENTS_MAX];
    let mut buffer = vec![0; READ_BYTES];
    while !stopped(stop) {
        let count = match epoll.wait(&mut events, LOOK_MS) {
            Err(nix::Error::EINTR) => 0,
            other => other?,
        };
        let mut listeners = lock(shared);
        for event in &events[..count] {
            if let Some(listener) = listeners.get_mut(event.data() as usize) {
                listener.read(&mut buffer);
            }
        }
    }
    Ok(())
}

impl Listener {
    fn come(party: &Party, mount: Arc<str>, titles: bool) -> Self {
        let dialled = dial(party, titles);
        let lost = dialled.as_ref().err().map(|error| format!("no connection: {error}"));
        Self {
            socket: dialled.ok(),
            node: party.node,
            mount,
            head: Some(Vec::new()),
            titles: None,
            hearing: Hearing::new(party.format),
            heard_at: Moment::now(),
            gap_ms: 0,
            lost,
        }
    }

    /// Reads once: if there is more, the next look at the socket says so.
    fn read(&mut self, buffer: &mut [u8]) {
        let Some(socket) = &mut self.socket else { return };
        let lost = match socket.read(buffer) {
            Ok(0) => Some("closed".to_owned()),
            Ok(bytes) => self.take(&buffer[..bytes]).err(),
            Err(error) if is_silence(&error) => None,
            Err(error) => Some(error.to_string()),
        };
        if lost.is_some() {
            self.socket = None;
            self.lost = lost;
        }
    }

    /// `Err`: it was refused, for that reason.
    fn take(&mut self, bytes: &[u8]) -> Result<(), String> {
        let now = Moment::now();
        self.gap_ms = self.gap_ms.max(now.ms_since(self.heard_at));
        self.heard_at = now;
        let Some(head) = &mut self.head else {
            self.hear(bytes);
            return Ok(());
        };
        head.extend_from_slice(bytes);
        let Some(end) = head.windows(4).position(|window| window == b"\r\n\r\n") else {
            let endless = head.len() > HEAD_BYTES_MAX;
            return if endless { Err("a head without end".to_owned()) } else { Ok(()) };
        };
        let audio = head.split_off(end + 4);
        self.titles = titles_of(head)?;
        self.head = None;
        self.hear(&audio);
        Ok(())
    }

    fn hear(&mut self, bytes: &[u8]) {
        match &mut self.titles {
            Some(titles) => self.hearing.push(&titles.strip(bytes)),
            None => self.hearing.push(bytes),
        }
    }

    fn count_in(&self, tally: &mut Tally, now: Moment) {
        tally.listeners += 1;
        tally.late_frames_max = tally.late_frames_max.max(self.hearing.late_frames_max);
        if let Some(fault) = &self.hearing.fault {
            *tally.faults.entry(format!("{}: {fault}", self.mount)).or_default() += 1;
        }
        match &self.lost {
            Some(why) => *tally.lost.entry(format!("{}: {why}", self.mount)).or_default() += 1,
            None => tally.gaps_ms.push(self.gap_ms.max(now.ms_since(self.heard_at))),
        }
    }
}

fn dial(party: &Party, titles: bool) -> io::Result<TcpStream> {
    let address = SocketAddr::from((party.node, PORT));
    let mut socket = TcpStream::connect_timeout(&address, DIAL)?;
    let asked = if titles { "Icy-MetaData: 1\r\n" } else { "" };
    // The path of those who were sent here by another node.
    let request = format!(
        "GET /_stream{} HTTP/1.0\r\nUser-Agent: autoradio-crowd\r\n{asked}\r\n",
        party.mount
    );
    socket.write_all(request.as_bytes())?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// How titles come, by the head of the answer. `Err`: what it is unless 200.
fn titles_of(head: &[u8]) -> Result<Option<Titles>, String> {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let status = head.lines().next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("200") {
        return Err(format!("answered {status:?}"));
    }
    let every = head.lines().find_map(|line| line.strip_prefix("icy-metaint:"));
    Ok(every.and_then(|bytes| bytes.trim().parse().ok()).map(Titles::new))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_tells_whether_there_are_titles_and_a_refusal_is_told() {
        assert!(
            titles_of(b"HTTP/1.0 200 OK\r\nContent-Type: audio/mpeg\r\n\r\n").unwrap().is_none()
        );
        assert!(titles_of(b"HTTP/1.0 200 OK\r\nicy-metaint:16000\r\n\r\n").unwrap().is_some());
        let refusal = titles_of(b"HTTP/1.0 503 Service Unavailable\r\n\r\n").unwrap_err();
        assert!(refusal.contains("503"), "{refusal}");
    }

    #[test]
    fn a_percentile_is_the_gap_of_the_listener_at_that_rank() {
        let tally = Tally { gaps_ms: (1..=200).collect(), ..Tally::default() };
        assert_eq!([50, 99, 100].map(|percent| tally.gap_ms(percent)), [100, 198, 200]);
        assert_eq!(Tally::default().gap_ms(99), 0);
    }
}
