//! Listeners who come at a given pace, and stay.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage, setrlimit};
use nix::sys::time::{TimeVal, TimeValLike};
use serde::{Deserialize, Serialize};

use super::listener::Listener;
use super::micros;
use crate::clock;

/// Most events that are taken in one look.
const EVENTS: usize = 1_024;
/// Bytes of one read: more than a burst.
const READ_BYTES: usize = 128 * 1024;
/// Longest wait in one look, in milliseconds: while some are still to come, and later.
const LOOK_MS: [u8; 2] = [1, 20];
/// How long the last ones may wait for their first byte.
const DECIDED_MAX: Duration = Duration::from_secs(10);
/// Time after that until what bursts left behind has gone.
const SETTLED: Duration = Duration::from_secs(2);

/// How a crowd behaves.
#[derive(Clone, Debug)]
pub struct Crowd {
    /// Where it listens.
    pub server: SocketAddr,
    /// The mount's path.
    pub path: String,
    /// How many they are.
    pub listeners: u32,
    /// How many of them come in a second.
    pub per_second: u32,
    /// How long they stay after all have come.
    pub stay: Duration,
}

/// What a crowd heard.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Heard {
    /// Those who had audio from their first byte to the end, as much as it played.
    pub served: u32,
    /// Microseconds from connect to the first byte of audio, of each who was connected to the end.
    pub first_byte_us: Vec<u64>,
    /// The longest time without any audio, in microseconds, likewise.
    pub longest_gap_us: Vec<u64>,
    /// Why others were not, and how many.
    pub failures: BTreeMap<String, u32>,
    /// Share of its core that the crowd itself used while it stayed: near 1, the figures are its own.
    pub busy: f64,
}

struct Present<'a> {
    crowd: &'a Crowd,
    request: String,
    epoll: Epoll,
    start: Instant,
    listeners: Vec<Listener>,
    buffer: Vec<u8>,
    events: Vec<EpollEvent>,
    failures: BTreeMap<String, u32>,
}

impl Crowd {
    /// Comes, says `steady` once all are there, and stays; then calls `leave` and goes when that returns.
    pub fn run(
        &self,
        steady: impl FnOnce() -> io::Result<()>,
        leave: impl FnOnce(&Heard) -> io::Result<()>,
    ) -> io::Result<()> {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
        let mut present = Present::new(self)?;
        present.come()?;
        let come = present.now();
        while !present.listeners.iter().all(Listener::is_decided)
            && present.now() < come + DECIDED_MAX
        {
            present.hear(LOOK_MS[1])?;
        }
        present.hear_for(SETTLED)?;
        steady()?;
        let (began, used) = (present.now(), used()?);
        present.hear_for(self.stay)?;
        let wall = present.now().saturating_sub(began);
        let used = Duration::from_micros(self::used()?.saturating_sub(used));
        leave(&present.heard(used.as_secs_f64() / wall.as_secs_f64()))
    }
}

/// CPU time of this process so far, in microseconds.
fn used() -> io::Result<u64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let us = |time: TimeVal| u64::try_from(time.num_microseconds()).unwrap_or_default();
    Ok(us(usage.user_time()) + us(usage.system_time()))
}

impl<'a> Present<'a> {
    fn new(crowd: &'a Crowd) -> io::Result<Self> {
        let Crowd { server, path, .. } = crowd;
        Ok(Self {
            crowd,
            request: format!(
                "GET {path} HTTP/1.0\r\nHost: {server}\r\nUser-Agent: autoradio-load\r\n\r\n"
            ),
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            start: clock::now(),
            listeners: Vec::new(),
            buffer: vec![0; READ_BYTES],
            events: vec![EpollEvent::empty(); EVENTS],
            failures: BTreeMap::new(),
        })
    }

    fn now(&self) -> Duration {
        clock::now().duration_since(self.start)
    }

    /// All come, each in its time, and those who are there listen.
    fn come(&mut self) -> io::Result<()> {
        let Crowd { server, listeners, per_second, .. } = *self.crowd;
        for number in 0..listeners {
            let due = Duration::from_secs(1) * number / per_second.max(1);
            while self.now() < due {
                self.hear(LOOK_MS[0])?;
            }
            match Listener::dial(server, self.now()) {
                Ok(listener) => self.watch(listener)?,
                Err(error) => *self.failures.entry(error.to_string()).or_default() += 1,
            }
        }
        Ok(())
    }

    fn watch(&mut self, listener: Listener) -> io::Result<()> {
        if let Some(socket) = listener.socket() {
            let event = EpollEvent::new(listener.interest(), self.listeners.len() as u64);
            self.epoll.add(socket, event)?;
        }
        self.listeners.push(listener);
        Ok(())
    }

    fn hear_for(&mut self, time: Duration) -> io::Result<()> {
        let end = self.now() + time;
        while self.now() < end {
            self.hear(LOOK_MS[1])?;
        }
        Ok(())
    }

    /// Takes what has come, or waits a moment for something.
    fn hear(&mut self, wait_ms: u8) -> io::Result<()> {
        let ready = match self.epoll.wait(&mut self.events, wait_ms) {
            Err(nix::errno::Errno::EINTR) => 0,
            ready => ready?,
        };
        for event in &self.events[..ready] {
            let index = usize::try_from(event.data()).unwrap_or(usize::MAX);
            let Some(listener) = self.listeners.get_mut(index) else { continue };
            let before = listener.interest();
            let now = clock::now().duration_since(self.start);
            listener.go_on(self.request.as_bytes(), &mut self.buffer, now);
            change(&self.epoll, listener, before, event.data())?;
        }
        Ok(())
    }

    fn heard(&self, busy: f64) -> Heard {
        let now = self.now();
        let notes: Vec<_> = self.listeners.iter().filter_map(|it| it.note(now)).collect();
        let mut failures = self.failures.clone();
        for listener in &self.listeners {
            let silent = || (!listener.is_decided()).then_some("no byte of audio");
            if let Some(why) = listener.failure().or_else(silent) {
                *failures.entry(why.to_owned()).or_default() += 1;
            }
        }
        let served = notes.iter().filter(|note| note.served).count();
        Heard {
            served: u32::try_from(served).unwrap_or(u32::MAX),
            first_byte_us: notes.iter().map(|note| micros(note.first_byte)).collect(),
            longest_gap_us: notes.iter().map(|note| micros(note.longest_gap)).collect(),
            failures,
            busy,
        }
    }
}

/// Tells the kernel if a listener now waits for something else. One without a socket is forgotten by itself.
fn change(epoll: &Epoll, listener: &Listener, before: EpollFlags, data: u64) -> io::Result<()> {
    match listener.socket() {
        Some(socket) if listener.interest() != before => {
            Ok(epoll.modify(socket, &mut EpollEvent::new(listener.interest(), data))?)
        }
        _ => Ok(()),
    }
}
