//! Asks one server the same questions as fast as it answers, and keeps what was said how often.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{Worker, failed, is_silence, message, stopped};
use crate::{Client, LabError};

const PORT: u16 = 53;

/// What a server said to one question.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Said {
    /// Response code.
    pub rcode: u8,
    /// Addresses, in the order given.
    pub addresses: Vec<Ipv4Addr>,
}

/// What came of all questions.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// By name, each different answer and how often it was given.
    pub said: BTreeMap<String, BTreeMap<Said, u64>>,
    /// Questions without an answer.
    pub lost: u64,
    /// Answers that are no whole message about the question.
    pub garbled: u64,
    /// Different serial numbers of the zone in the answers' SOA records.
    pub serials: BTreeSet<u32>,
    /// Answers with an older serial number than the one before.
    pub backwards: u64,
}

impl Tally {
    /// All answers.
    pub fn answers(&self) -> u64 {
        self.said.values().flat_map(BTreeMap::values).sum()
    }

    fn note(&mut self, name: &str, answer: &[u8]) {
        let Some(said) = message::said(answer, name) else {
            self.garbled += 1;
            return;
        };
        if let Some(serial) = message::serial(answer) {
            self.backwards += u64::from(self.serials.last().is_some_and(|newest| serial < *newest));
            self.serials.insert(serial);
        }
        *self.said.entry(name.to_owned()).or_default().entry(said).or_default() += 1;
    }
}

/// A client that asks for A records without a pause, one question after the other.
#[derive(Debug)]
pub struct DnsStorm {
    tally: Arc<Mutex<Tally>>,
    worker: Worker,
}

impl DnsStorm {
    /// Starts asking `server` for `names` in turn. A question without an answer for `answer_max` is lost.
    pub fn start(
        client: &Client,
        server: Ipv4Addr,
        names: &[&str],
        answer_max: Duration,
    ) -> Result<Self, LabError> {
        let tally = Arc::new(Mutex::new(Tally::default()));
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let log = tally.clone();
        let worker = Worker::start(client, move |stop| {
            if let Err(error) = ask(stop, (server, answer_max), &names, &log) {
                eprintln!("the DNS storm ended: {}", failed("asking DNS")(error));
            }
        })?;
        Ok(Self { tally, worker })
    }

    /// Ends it. What came of it.
    pub fn end(self) -> Tally {
        drop(self.worker);
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn ask(
    stop: &AtomicBool,
    (server, answer_max): (Ipv4Addr, Duration),
    names: &[String],
    log: &Mutex<Tally>,
) -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect((server, PORT))?;
    socket.set_read_timeout(Some(answer_max))?;
    let mut id = 0_u16;
    while !stopped(stop) {
        for name in names {
            id = id.wrapping_add(1);
            socket.send(&message::question(id, name))?;
            let answer = answer(&socket, id)?;
            let mut tally = log.lock().unwrap_or_else(PoisonError::into_inner);
            match answer {
                Some(answer) => tally.note(name, &answer),
                None => tally.lost += 1,
            }
        }
    }
    Ok(())
}

/// The answer to question `id`; late ones to earlier questions are passed over.
fn answer(socket: &UdpSocket, id: u16) -> io::Result<Option<Vec<u8>>> {
    let mut buffer = [0; 1_500];
    loop {
        match socket.recv(&mut buffer) {
            Ok(bytes) if buffer[..bytes].starts_with(&id.to_be_bytes()) => {
                return Ok(Some(buffer[..bytes].to_vec()));
            }
            Ok(_) => {}
            Err(error) if is_silence(&error) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
}
