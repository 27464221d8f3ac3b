//! The least that serving a stream takes: one block to each socket per tick, and nothing else.
//!
//! It has autoradio's tick and send buffer, no positions and no mercy: a listener who does not take a block is closed.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use autoradio_common::limits::{
    STREAM_SEND_BUFFER_BYTES, STREAM_TICK_LISTENERS, STREAM_TICK_MS_MAX, STREAM_TICK_MS_MIN,
};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use socket2::SockRef;

use crate::clock;
use crate::prober::Format;

const HEAD: &[u8] = b"HTTP/1.0 200 OK\r\nContent-Type: audio/mpeg\r\n\r\n";
/// Frames of a burst: 64 KiB, as Icecast and autoradio have it.
const BURST: u32 = 157;
const EVENTS: usize = 256;
const REQUEST_BYTES: usize = 4 * 1024;

struct BareLoop {
    door: TcpListener,
    epoll: Epoll,
    /// Connections whose request has not come.
    asking: Vec<Option<TcpStream>>,
    playing: Vec<TcpStream>,
    request: Vec<u8>,
}

/// Serves until something fails that is not a listener.
pub(super) fn serve(door: TcpListener) -> io::Result<()> {
    door.set_nonblocking(true)?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(&door, EpollEvent::new(EpollFlags::EPOLLIN, u64::MAX))?;
    let (asking, playing) = (Vec::new(), Vec::new());
    let mut server = BareLoop { door, epoll, asking, playing, request: vec![0; REQUEST_BYTES] };
    let start = clock::now();
    let (mut due, mut number) = (start, BURST);
    loop {
        server.let_in(due)?;
        let played = Format::Mp3.frame_time() * (number - BURST);
        let behind = clock::now().duration_since(start).saturating_sub(played);
        let next = number
            + u32::try_from(behind.as_nanos() / Format::Mp3.frame_time().as_nanos()).unwrap_or(0);
        server.write(&block(number..next));
        number = next;
        due = (due + tick(server.playing.len())).max(clock::now());
    }
}

fn block(numbers: std::ops::Range<u32>) -> Vec<u8> {
    numbers.flat_map(|number| Format::Mp3.frame((1, number))).collect()
}

/// Time to the next tick, as autoradio's fan-out thread has it.
fn tick(listeners: usize) -> Duration {
    let share = listeners as u64 * STREAM_TICK_MS_MIN / STREAM_TICK_LISTENERS;
    Duration::from_millis(share.clamp(STREAM_TICK_MS_MIN, STREAM_TICK_MS_MAX))
}

impl BareLoop {
    /// Takes in who comes, until the tick is due.
    fn let_in(&mut self, due: Instant) -> io::Result<()> {
        let mut events = vec![EpollEvent::empty(); EVENTS];
        loop {
            let left = due.saturating_duration_since(clock::now());
            if left.is_zero() {
                return Ok(());
            }
            let wait = EpollTimeout::try_from(left).unwrap_or(EpollTimeout::ZERO);
            let ready = match self.epoll.wait(&mut events, wait) {
                Err(nix::errno::Errno::EINTR) => 0,
                ready => ready?,
            };
            for event in &events[..ready] {
                match usize::try_from(event.data()) {
                    Ok(index) if index < self.asking.len() => self.answer(index),
                    _ => self.accept()?,
                }
            }
            // Indexes are free again only once nobody is asking.
            if self.asking.iter().all(Option::is_none) {
                self.asking.clear();
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        while let Ok((socket, _)) = self.door.accept() {
            socket.set_nonblocking(true)?;
            socket.set_nodelay(true)?;
            SockRef::from(&socket).set_send_buffer_size(STREAM_SEND_BUFFER_BYTES)?;
            let index = self.asking.len() as u64;
            self.epoll.add(&socket, EpollEvent::new(EpollFlags::EPOLLIN, index))?;
            self.asking.push(Some(socket));
        }
        Ok(())
    }

    /// Head and burst to one who has asked; it is in no list if that fails.
    fn answer(&mut self, index: usize) {
        let Some(mut socket) = self.asking[index].take() else { return };
        let asked = matches!(socket.read(&mut self.request), Ok(1..));
        let left = self.epoll.delete(&socket).is_ok();
        let burst = [HEAD, &block(0..BURST)].concat();
        if asked && left && socket.write_all(&burst).is_ok() {
            self.playing.push(socket);
        }
    }

    fn write(&mut self, block: &[u8]) {
        if !block.is_empty() {
            self.playing.retain_mut(|socket| socket.write(block).is_ok_and(|n| n == block.len()));
        }
    }
}
