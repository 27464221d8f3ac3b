//! One listener of a crowd: what becomes of its connection, and what it notes of it.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use nix::sys::epoll::EpollFlags;
use socket2::{Domain, Protocol, Socket, Type};

use super::BYTES_PER_SECOND;

/// Longest head of an answer, in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// A longer silence is no audio throughout.
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// Share of what has played since the first byte that a listener must have got, in percent: a burst gives more.
const SHARE_MIN: u64 = 90;

#[derive(Debug)]
enum Phase {
    Dialling,
    Head(Vec<u8>),
    Playing { first: Duration, last: Duration },
    Over(String),
}

/// A listener. Times are since the crowd's beginning.
#[derive(Debug)]
pub(super) struct Listener {
    socket: Option<TcpStream>,
    dialled: Duration,
    phase: Phase,
    bytes: u64,
    longest_gap: Duration,
}

/// What a listener has to say at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Note {
    /// From its connect to its first byte of audio.
    pub(super) first_byte: Duration,
    /// The longest time without any, up to the end.
    pub(super) longest_gap: Duration,
    /// Whether it had audio throughout.
    pub(super) served: bool,
}

impl Listener {
    /// Begins to connect.
    pub(super) fn dial(server: SocketAddr, now: Duration) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(server), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        match socket.connect(&server.into()) {
            Err(error) if error.raw_os_error() != Some(nix::libc::EINPROGRESS) => {
                return Err(error);
            }
            _ => {}
        }
        Ok(Self {
            socket: Some(socket.into()),
            dialled: now,
            phase: Phase::Dialling,
            bytes: 0,
            longest_gap: Duration::ZERO,
        })
    }

    pub(super) fn socket(&self) -> Option<&TcpStream> {
        self.socket.as_ref()
    }

    /// What it waits for.
    pub(super) fn interest(&self) -> EpollFlags {
        match self.phase {
            Phase::Dialling => EpollFlags::EPOLLOUT,
            _ => EpollFlags::EPOLLIN,
        }
    }

    /// Whether it neither dials nor waits for its first byte.
    pub(super) fn is_decided(&self) -> bool {
        matches!(self.phase, Phase::Playing { .. } | Phase::Over(_))
    }

    /// Why it has no connection any more.
    pub(super) fn failure(&self) -> Option<&str> {
        match &self.phase {
            Phase::Over(why) => Some(why),
            _ => None,
        }
    }

    /// Does what its socket is ready for.
    pub(super) fn go_on(&mut self, request: &[u8], buffer: &mut [u8], now: Duration) {
        let Some(socket) = &mut self.socket else { return };
        let done = match self.phase {
            Phase::Dialling => ask(socket, request).map(|()| {
                self.phase = Phase::Head(Vec::new());
            }),
            _ => match socket.read(buffer) {
                Ok(0) => Err(io::Error::other("closed by the server")),
                Ok(bytes) => self.take(&buffer[..bytes], now),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
                Err(error) => Err(error),
            },
        };
        if let Err(error) = done {
            self.phase = Phase::Over(error.to_string());
            self.socket = None;
        }
    }

    fn take(&mut self, bytes: &[u8], now: Duration) -> io::Result<()> {
        match &mut self.phase {
            Phase::Playing { last, .. } => {
                self.longest_gap = self.longest_gap.max(now.saturating_sub(*last));
                *last = now;
                self.bytes += bytes.len() as u64;
            }
            Phase::Head(head) => {
                head.extend_from_slice(bytes);
                if let Some(audio) = audio_after_head(head)? {
                    self.bytes = audio as u64;
                    self.phase = Phase::Playing { first: now, last: now };
                }
            }
            Phase::Dialling | Phase::Over(_) => {}
        }
        Ok(())
    }

    /// What it has to say, unless it never heard anything or was thrown out.
    pub(super) fn note(&self, now: Duration) -> Option<Note> {
        let Phase::Playing { first, last } = self.phase else { return None };
        let longest_gap = self.longest_gap.max(now.saturating_sub(last));
        let played_ms = u64::try_from(now.saturating_sub(first).as_millis()).unwrap_or(u64::MAX);
        let wanted = played_ms.saturating_mul(BYTES_PER_SECOND * SHARE_MIN) / 100_000;
        let served = self.bytes >= wanted && longest_gap <= SILENCE_MAX;
        Some(Note { first_byte: first.saturating_sub(self.dialled), longest_gap, served })
    }
}

fn ask(socket: &mut TcpStream, request: &[u8]) -> io::Result<()> {
    if let Some(error) = socket.take_error()? {
        return Err(error);
    }
    // A new socket has room for a request.
    socket.write_all(request)
}

/// Bytes of audio that came with the head; `None` while there is none. An error if the answer is no stream.
fn audio_after_head(answer: &[u8]) -> io::Result<Option<usize>> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4);
    let Some(end) = end else {
        let too_long = answer.len() > HEAD_BYTES_MAX;
        return if too_long { Err(io::Error::other("no head")) } else { Ok(None) };
    };
    let line = answer.split(|byte| *byte == b'\r').next().unwrap_or_default();
    if line.split(|byte| *byte == b' ').nth(1) != Some(b"200") {
        return Err(io::Error::other(String::from_utf8_lossy(line).into_owned()));
    }
    Ok(Some(answer.len() - end).filter(|audio| *audio > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &[u8] = b"HTTP/1.0 200 OK\r\nContent-Type: audio/mpeg\r\n\r\n";

    fn listener() -> Listener {
        Listener {
            socket: None,
            dialled: Duration::from_secs(1),
            phase: Phase::Head(Vec::new()),
            bytes: 0,
            longest_gap: Duration::ZERO,
        }
    }

    #[test]
    fn a_head_alone_is_no_audio_and_a_refusal_says_its_line() {
        assert_eq!(audio_after_head(&HEAD[..20]).unwrap(), None, "half a head");
        assert_eq!(audio_after_head(HEAD).unwrap(), None);
        assert_eq!(audio_after_head(&[HEAD, b"abc"].concat()).unwrap(), Some(3));
        let refused = audio_after_head(b"HTTP/1.0 503 No room\r\n\r\n").unwrap_err();
        assert_eq!(refused.to_string(), "HTTP/1.0 503 No room");
    }

    #[test]
    fn who_has_a_burst_and_a_second_each_second_is_served_until_a_silence() {
        let second = Duration::from_secs;
        let mut heard = listener();
        heard.take(&[HEAD, &vec![0; 65_536]].concat(), second(2)).unwrap();
        for at in 3..20 {
            heard.take(&[0; 16_000], second(at)).unwrap();
        }
        let note = heard.note(second(20)).unwrap();
        let want = Note { first_byte: second(1), longest_gap: second(1), served: true };
        assert_eq!(note, want);
        let later = heard.note(second(25)).unwrap();
        assert_eq!((later.longest_gap, later.served), (second(6), false), "six silent seconds");
    }

    #[test]
    fn who_gets_too_little_is_not_served() {
        let mut starved = listener();
        starved.take(&[HEAD, b"x"].concat(), Duration::from_secs(2)).unwrap();
        for at in 3..10 {
            starved.take(&[0; 8_000], Duration::from_secs(at)).unwrap();
        }
        assert!(!starved.note(Duration::from_secs(10)).unwrap().served);
        assert_eq!(listener().note(Duration::from_secs(10)), None, "nothing came");
    }
}
