//! New listeners, ten a second, until one of them hears what the source sends after a fault.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{Moment, Target, Worker, frames, is_silence, stopped};
use crate::{Client, LabError};

const PORT: u16 = 80;
const DIAL: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_millis(100);
/// How long one listener waits for audio before it leaves.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often a listener looks whether it may leave.
const LOOK: Duration = Duration::from_millis(50);
/// Frames of the new session that make up hearing it: 0.2 seconds of audio.
const FRAMES_MIN: usize = 8;
/// Longest head of an answer, in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// A crowd of listeners who arrive one after the other.
#[derive(Debug)]
pub struct ListenerProber {
    heard: Arc<Mutex<Option<Heard>>>,
    _worker: Worker,
}

/// The first success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// When enough had come.
    pub at: Moment,
    /// The node that it came from.
    pub node: String,
}

impl ListenerProber {
    /// Starts listeners of `path` at the given nodes in turn. One of them hears when it has got
    /// eight frames (0.2 s of audio) of a source's session with a number above `session`.
    pub fn start(
        client: &Client,
        nodes: &[Target],
        path: &str,
        session: u32,
    ) -> Result<Self, LabError> {
        let heard = Arc::new(Mutex::new(None));
        let (shared, nodes, path) = (heard.clone(), nodes.to_vec(), path.to_owned());
        let worker = Worker::start(client, move |stop| run(stop, &nodes, &path, session, &shared))?;
        Ok(Self { heard, _worker: worker })
    }

    /// The first success, once there is one.
    pub fn heard(&self) -> Option<Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn run(
    stop: &AtomicBool,
    nodes: &[Target],
    path: &str,
    session: u32,
    heard: &Mutex<Option<Heard>>,
) {
    let done = AtomicBool::new(false);
    let over = || stopped(stop) || done.load(Ordering::SeqCst);
    // Threads are born into the network of the one that starts them.
    std::thread::scope(|scope| {
        for turn in 0.. {
            if over() {
                return;
            }
            let (first, done) = (&nodes[turn % nodes.len()], &done);
            scope.spawn(move || {
                // A listener who fails leaves; another one is on his way.
                let Ok(Some(success)) = listen(nodes, first, path, session, &over) else {
                    return;
                };
                let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
                heard.get_or_insert(success);
                done.store(true, Ordering::SeqCst);
            });
            std::thread::sleep(PAUSE);
        }
    });
}

/// One listener, who follows one redirect. Returns his success, or `None` when he loses patience.
fn listen(
    nodes: &[Target],
    first: &Target,
    path: &str,
    session: u32,
    over: &impl Fn() -> bool,
) -> io::Result<Option<Heard>> {
    let start = Moment::now();
    let (mut node, mut connection) = (first.clone(), get(first.address, PORT, path)?);
    let mut answer = read_head(&mut connection, start, over)?;
    if let Some((host, port, path)) = location(&answer) {
        let label = host.split('.').next().unwrap_or_default();
        let Some(target) = nodes.iter().find(|node| node.name == label) else {
            return Err(io::Error::other(format!("redirected to {host}, which is no node")));
        };
        node = target.clone();
        connection = get(node.address, port, &path)?;
        answer = read_head(&mut connection, start, over)?;
    }
    if status(&answer) != Some("200") {
        return Err(io::Error::other("not served"));
    }
    let mut heard = Vec::new();
    while frames::later_than(session, &heard) < FRAMES_MIN {
        if !read_some(&mut connection, &mut heard)? || start.lapsed() || over() {
            return Ok(None);
        }
    }
    Ok(Some(Heard { at: Moment::now(), node: node.name }))
}

impl Moment {
    fn lapsed(self) -> bool {
        Self::now().since(self) >= PATIENCE
    }
}

fn get(node: Ipv4Addr, port: u16, path: &str) -> io::Result<TcpStream> {
    let mut connection = TcpStream::connect_timeout(&SocketAddr::from((node, port)), DIAL)?;
    connection.set_read_timeout(Some(LOOK))?;
    let request = format!("GET {path} HTTP/1.0\r\nUser-Agent: autoradio-prober\r\n\r\n");
    connection.write_all(request.as_bytes())?;
    Ok(connection)
}

fn read_head(
    connection: &mut TcpStream,
    start: Moment,
    over: &impl Fn() -> bool,
) -> io::Result<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && head.len() < HEAD_BYTES_MAX {
        match connection.read(&mut byte) {
            Ok(0) => break,
            Ok(_) => head.extend(byte),
            Err(error) if is_silence(&error) && !start.lapsed() && !over() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

/// Reads what is there. Returns whether more may come.
fn read_some(connection: &mut TcpStream, into: &mut Vec<u8>) -> io::Result<bool> {
    let mut buffer = [0; 8 * 1024];
    match connection.read(&mut buffer) {
        Ok(bytes) => {
            into.extend(&buffer[..bytes]);
            Ok(bytes > 0)
        }
        Err(error) if is_silence(&error) => Ok(true),
        Err(error) => Err(error),
    }
}

fn status(head: &str) -> Option<&str> {
    head.lines().next()?.split(' ').nth(1)
}

/// Host, port and path that a redirect names.
fn location(head: &str) -> Option<(String, u16, String)> {
    if status(head) != Some("302") {
        return None;
    }
    let field = head.lines().filter_map(|line| line.split_once(':'));
    let (_, url) = field.into_iter().find(|(name, _)| name.eq_ignore_ascii_case("location"))?;
    let (authority, path) = url.trim().strip_prefix("http://")?.split_once('/')?;
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, port.parse().ok()?),
        None => (authority, PORT),
    };
    Some((host.to_owned(), port, format!("/{path}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_tells_host_port_and_path() {
        let head = |location| format!("HTTP/1.1 302 Found\r\nlocation: {location}\r\n\r\n");
        let got = location(&head("http://node2.radio.example.com/_stream/live.mp3"));
        let want = ("node2.radio.example.com".to_owned(), 80, "/_stream/live.mp3".to_owned());
        assert_eq!(got, Some(want));
        let got = location(&head("http://node2.radio.example.com:8000/live.mp3"));
        assert_eq!(got.map(|(_, port, _)| port), Some(8_000));
        assert_eq!(location("HTTP/1.0 200 OK\r\n\r\n"), None);
    }
}
