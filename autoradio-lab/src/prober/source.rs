//! A source that never gives up: it streams to one node, and to the next as soon as that one ends.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nix::sys::socket::{setsockopt, sockopt};

use super::{Format, Moment, Worker, stopped};
use crate::status::CreatedMount;
use crate::{Client, LabError};

const PORT: u16 = 80;
const DIAL: Duration = Duration::from_millis(500);
/// Longest wait for an answer to the request.
const ANSWER: Duration = Duration::from_secs(2);
/// Pause before the next node is tried.
const PAUSE: Duration = Duration::from_millis(100);
/// Time without an acknowledgement after which a connection counts as lost: a host that vanished
/// says nothing, and a client with more patience measures only that.
const UNACKNOWLEDGED_MS: u32 = 2_000;
/// How often a node's end is looked for while there is nothing to send.
const LOOK: Duration = Duration::from_millis(5);
/// A session shorter than this is followed by a pause, or two sources would take the mount from each
/// other as fast as the network goes.
const SHORT: Duration = Duration::from_secs(1);

/// A broadcaster's client set to reconnect.
#[derive(Debug)]
pub struct SourceProber {
    state: Arc<Mutex<State>>,
    _worker: Worker,
}

/// One time on air.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// Number of it, from 1.
    pub number: u32,
    /// The node that accepted the source, which need not be the mount's master.
    pub node: Ipv4Addr,
    /// When the node's 200 was read.
    pub accepted: Moment,
    /// Its end, if it has ended.
    pub lost: Option<Loss>,
}

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// When the client knew.
    pub at: Moment,
    /// Whether it was told, by a closed connection, and did not merely find itself unheard.
    pub told: bool,
}

#[derive(Debug, Default)]
struct State {
    nodes: Vec<Ipv4Addr>,
    next: usize,
    sessions: Vec<Session>,
    redial: bool,
    refusal: String,
}

impl SourceProber {
    /// Starts streaming MP3 to the mount through `nodes`, in turn, beginning with the first.
    pub fn start(
        client: &Client,
        nodes: &[Ipv4Addr],
        mount: &CreatedMount,
    ) -> Result<Self, LabError> {
        Self::start_as(client, nodes, mount, Format::Mp3)
    }

    /// The same with another format.
    pub fn start_as(
        client: &Client,
        nodes: &[Ipv4Addr],
        mount: &CreatedMount,
        format: Format,
    ) -> Result<Self, LabError> {
        let state = Arc::new(Mutex::new(State { nodes: nodes.to_vec(), ..State::default() }));
        let (shared, head) = (state.clone(), head(mount, format));
        let worker = Worker::start(client, move |stop| run(stop, &shared, &head, format))?;
        Ok(Self { state, _worker: worker })
    }

    /// The nodes to stream through from the next connection on, the first one first.
    pub fn use_nodes(&self, nodes: &[Ipv4Addr]) {
        let mut state = lock(&self.state);
        state.nodes = nodes.to_vec();
        state.next = 0;
    }

    /// Ends the connection and makes another, with the nodes that [`Self::use_nodes`] gave.
    pub fn redial(&self) {
        lock(&self.state).redial = true;
    }

    /// All sessions so far.
    pub fn sessions(&self) -> Vec<Session> {
        lock(&self.state).sessions.clone()
    }

    /// The session that lives now.
    pub fn on_air(&self) -> Option<Session> {
        lock(&self.state).sessions.last().copied().filter(|session| session.lost.is_none())
    }

    /// What the last connection that was not accepted failed with; empty if all were.
    pub fn last_refusal(&self) -> String {
        lock(&self.state).refusal.clone()
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The request, as Icecast's own clients send it.
pub(crate) fn head(mount: &CreatedMount, format: Format) -> String {
    let CreatedMount { path, source_username, source_password, .. } = mount;
    let content_type = format.content_type();
    let credentials = STANDARD.encode(format!("{source_username}:{source_password}"));
    format!(
        "SOURCE {path} HTTP/1.0\r\nAuthorization: Basic {credentials}\r\n\
         User-Agent: autoradio-prober\r\nContent-Type: {content_type}\r\nice-name: prober\r\n\r\n"
    )
}

fn run(stop: &AtomicBool, state: &Mutex<State>, head: &str, format: Format) {
    while !stopped(stop) {
        let node = {
            let mut state = lock(state);
            let node = state.nodes[state.next % state.nodes.len()];
            state.next += 1;
            state.redial = false;
            node
        };
        match dial(SocketAddr::from((node, PORT)), head) {
            Ok(connection) => {
                let session = begin(state, node);
                let ended = || stopped(stop) || lock(state).redial;
                let told = stream(connection, (format, session.number), ended);
                let lost = Loss { at: Moment::now(), told };
                if let Some(session) = lock(state).sessions.last_mut() {
                    session.lost = Some(lost);
                }
                if lost.at.since(session.accepted) >= SHORT {
                    continue;
                }
            }
            Err(error) => lock(state).refusal = format!("{node}: {error}"),
        }
        std::thread::sleep(PAUSE);
    }
}

fn begin(state: &Mutex<State>, node: Ipv4Addr) -> Session {
    let mut state = lock(state);
    let number = u32::try_from(state.sessions.len()).unwrap_or(u32::MAX).saturating_add(1);
    let session = Session { number, node, accepted: Moment::now(), lost: None };
    state.sessions.push(session);
    session
}

/// Connects and asks; the node's 200 makes it a session.
pub(crate) fn dial(address: SocketAddr, head: &str) -> io::Result<TcpStream> {
    let mut connection = TcpStream::connect_timeout(&address, DIAL)?;
    setsockopt(&connection, sockopt::TcpUserTimeout, &UNACKNOWLEDGED_MS)?;
    connection.set_nodelay(true)?;
    connection.set_read_timeout(Some(ANSWER))?;
    connection.set_write_timeout(Some(ANSWER))?;
    connection.write_all(head.as_bytes())?;
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(b"\r\n\r\n") {
        if connection.read(&mut byte)? == 0 {
            break;
        }
        answer.extend(byte);
    }
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.lines().next().unwrap_or_default();
    if status.split(' ').nth(1) == Some("200") {
        return Ok(connection);
    }
    Err(io::Error::other(format!("answered {status:?}")))
}

/// Sends frames at the pace that they play, until either side ends. Returns whether the other side
/// said so.
fn stream(
    mut connection: TcpStream,
    (format, session): (Format, u32),
    ended: impl Fn() -> bool,
) -> bool {
    let start = Moment::now();
    let mut number = 0;
    let mut unexpected = [0; 512];
    if connection.set_read_timeout(Some(LOOK)).is_err() {
        return false;
    }
    if let Err(error) = connection.write_all(&format.beginning(session)) {
        return is_word_of_the_end(&error);
    }
    while !ended() {
        while Moment::now().since(start) >= format.frame_time() * number {
            if let Err(error) = connection.write_all(&format.frame((session, number))) {
                return is_word_of_the_end(&error);
            }
            number += 1;
        }
        match connection.read(&mut unexpected) {
            Ok(0) => return true,
            Ok(_) => {}
            // Also how a read ends by its own time limit.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return is_word_of_the_end(&error),
        }
    }
    false
}

/// Whether an error of a socket is the other side's doing, and not a lack of any sign from it.
fn is_word_of_the_end(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_is_that_of_a_source() {
        let mount = CreatedMount {
            path: "/live.mp3".to_owned(),
            source_username: "source".to_owned(),
            source_password: "hackme".to_owned(),
            listen_url: String::new(),
        };
        let head = head(&mount, Format::Mp3);
        assert!(head.starts_with("SOURCE /live.mp3 HTTP/1.0\r\nAuthorization: Basic c291"));
        assert!(head.ends_with("\r\n\r\n"));
    }
}
