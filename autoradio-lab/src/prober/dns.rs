//! Asks every node for the zone's own address again and again, and keeps what each one named.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Moment, Worker, failed, message, stopped};
use crate::{Client, LabError};

const PAUSE: Duration = Duration::from_millis(20);
const PORT: u16 = 53;
/// Answers without an address that each living node must have given before it counts as gone.
const CLEAN_ANSWERS: usize = 25;

/// A client that asks all given nodes fifty times a second.
#[derive(Debug)]
pub struct DnsProber {
    answers: Answers,
    _worker: Worker,
}

type Answers = Arc<Mutex<Vec<Answer>>>;

/// What one node said.
#[derive(Clone, Debug)]
struct Answer {
    at: Moment,
    from: Ipv4Addr,
    named: Vec<Ipv4Addr>,
}

impl DnsProber {
    /// Starts asking `servers` for the A records of `name`.
    pub fn start(client: &Client, servers: &[Ipv4Addr], name: &str) -> Result<Self, LabError> {
        let answers = Answers::default();
        let (log, servers, name) = (answers.clone(), servers.to_vec(), name.to_owned());
        let worker = Worker::start(client, move |stop| {
            if let Err(error) = ask(stop, &servers, &name, &log) {
                eprintln!("the DNS prober ended: {}", failed("asking DNS")(error));
            }
        })?;
        Ok(Self { answers, _worker: worker })
    }

    /// Milliseconds after `fault` at which the last answer that names `address` came, from whatever
    /// node; 0 if none did. `None` until each of `living` has given 25 answers without it since.
    pub fn clean_ms(&self, address: Ipv4Addr, fault: Moment, living: &[Ipv4Addr]) -> Option<u64> {
        clean_ms(&self.lock(), address, fault, living)
    }

    /// How many answers came from `server` since `start`.
    pub fn answers_since(&self, server: Ipv4Addr, start: Moment) -> usize {
        let answers = self.lock();
        answers.iter().filter(|answer| answer.from == server && answer.at >= start).count()
    }

    /// Whether each of `servers` named each of `addresses` in one of the answers of the last second.
    pub fn all_name(&self, servers: &[Ipv4Addr], addresses: &[Ipv4Addr]) -> bool {
        let (answers, now) = (self.lock(), Moment::now());
        let fresh = |answer: &&Answer| now.ms_since(answer.at) < 1_000;
        servers.iter().all(|server| {
            addresses.iter().all(|address| {
                let mut of_server =
                    answers.iter().rev().take_while(fresh).filter(|answer| answer.from == *server);
                of_server.any(|answer| answer.named.contains(address))
            })
        })
    }

    /// Forgets what came so far.
    pub fn forget(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Answer>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn clean_ms(
    answers: &[Answer],
    address: Ipv4Addr,
    fault: Moment,
    living: &[Ipv4Addr],
) -> Option<u64> {
    let named = answers.iter().rfind(|answer| answer.named.contains(&address));
    let last = named.map_or(fault, |answer| answer.at.max(fault));
    let clean = |server: &Ipv4Addr| {
        let since = answers.iter().rev().take_while(|answer| answer.at >= last);
        since.filter(|answer| answer.from == *server && !answer.named.contains(&address)).count()
    };
    living.iter().all(|server| clean(server) >= CLEAN_ANSWERS).then(|| last.ms_since(fault))
}

fn ask(stop: &AtomicBool, servers: &[Ipv4Addr], name: &str, log: &Answers) -> io::Result<()> {
    let sockets = servers.iter().map(|server| {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.connect((*server, PORT))?;
        socket.set_nonblocking(true)?;
        Ok((*server, socket))
    });
    let sockets: Vec<(Ipv4Addr, UdpSocket)> = sockets.collect::<io::Result<_>>()?;
    let mut id = 0_u16;
    while !stopped(stop) {
        id = id.wrapping_add(1);
        for (_, socket) in &sockets {
            // A node that is gone makes this fail; it stays silent either way.
            socket.send(&message::question(id, name)).map(drop).unwrap_or_default();
        }
        std::thread::sleep(PAUSE);
        for (server, socket) in &sockets {
            collect(*server, socket, log);
        }
    }
    Ok(())
}

/// Takes all answers that have come.
fn collect(from: Ipv4Addr, socket: &UdpSocket, log: &Answers) {
    let mut buffer = [0; 1_500];
    while let Ok(bytes) = socket.recv(&mut buffer) {
        // Refusals and the like name nobody, and prove nothing.
        if let Some(named) = message::addresses(&buffer[..bytes]).filter(|named| !named.is_empty())
        {
            let at = Moment::now();
            log.lock().unwrap_or_else(PoisonError::into_inner).push(Answer { at, from, named });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOST: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 11);
    const LIVING: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 12);

    fn log(start: Moment, named_until: u64, last: u64) -> Vec<Answer> {
        let answer = |ms| Answer {
            at: Moment(start.0 + Duration::from_millis(ms)),
            from: LIVING,
            named: if ms <= named_until { vec![LOST, LIVING] } else { vec![LIVING] },
        };
        (0..=last).step_by(20).map(answer).collect()
    }

    #[test]
    fn an_address_is_gone_after_its_last_answer_and_enough_without_it() {
        let start = Moment::now();
        let fault = Moment(start.0 + Duration::from_secs(1));
        for (why, named_until, last, want) in [
            ("still named", 5_000, 5_000, None),
            ("too few answers since", 2_000, 2_400, None),
            ("gone", 2_000, 2_500, Some(1_000)),
            ("gone before the fault", 500, 2_500, Some(0)),
        ] {
            let got = clean_ms(&log(start, named_until, last), LOST, fault, &[LIVING]);
            assert_eq!(got, want, "{why}");
        }
        let other = Ipv4Addr::new(198, 18, 0, 13);
        let silent = clean_ms(&log(start, 500, 2_500), LOST, fault, &[LIVING, other]);
        assert_eq!(silent, None, "a living node that says nothing");
    }
}
