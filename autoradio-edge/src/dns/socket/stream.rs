//! One client on TCP: its queries, as many as one read brings, are answered in order by as few writes as can be.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use autoradio_common::limits::{DNS_QUERY_BYTES_MAX, DNS_TCP_REPLIES_BYTES};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::clock;
use crate::dns::clients::Place;
use crate::dns::tally::{Counters, Tally};
use crate::dns::{Responder, Transport};

/// Bytes of a message's length (RFC 1035 §4.2.2).
const LENGTH_BYTES: usize = 2;

/// What all clients of a server share.
pub(super) struct Served {
    pub(super) responder: Arc<Responder>,
    pub(super) counters: Counters,
    /// Time for a whole message, from the one before or from the start, and for the replies to be taken.
    pub(super) idle: Duration,
}

/// A client.
pub(super) struct Client {
    stream: TcpStream,
    address: IpAddr,
    place: Place,
    /// What was read and not yet answered: at most one message that is not whole. Without room while there is nothing.
    unread: Vec<u8>,
}

impl Client {
    pub(super) fn new(stream: TcpStream, address: IpAddr, place: Place) -> Self {
        Self { stream, address, place, unread: Vec::new() }
    }

    /// Answers until the client ends, breaks the rules, or is too slow.
    pub(super) async fn serve(mut self, served: &Served) -> io::Result<()> {
        // Replies are written whole, so there is nothing to wait for (RFC 7766 §8).
        self.stream.set_nodelay(true)?;
        loop {
            // The deadline is for a whole message: bytes that trickle in do not move it.
            let waited_ms = clock::boot_ms().saturating_sub(self.place.heard_ms());
            let left = served.idle.saturating_sub(Duration::from_millis(waited_ms));
            timeout(left, self.read_message()).await??;
            self.place.heard(clock::boot_ms());
            timeout(served.idle, self.answer(served)).await??;
        }
    }

    /// Reads until there is a whole message at least.
    async fn read_message(&mut self) -> io::Result<()> {
        while first_message(&self.unread)?.is_none() {
            self.stream.readable().await?;
            self.unread.reserve_exact(LENGTH_BYTES + DNS_QUERY_BYTES_MAX - self.unread.len());
            match self.stream.try_read_buf(&mut self.unread) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Answers every whole message that was read and keeps the rest.
    async fn answer(&mut self, served: &Served) -> io::Result<()> {
        let (mut answered, mut replies) = (0, Vec::new());
        while first_message(&self.unread[answered..])?.is_some() {
            let (bytes, followed) = self.answer_some(served, answered, &mut replies);
            answered += bytes;
            self.stream.write_all(&replies).await?;
            followed?;
        }
        self.unread.drain(..answered);
        if self.unread.is_empty() {
            self.unread = Vec::new();
        }
        Ok(())
    }

    /// Answers messages from `start` on until the replies are enough for one write; the bytes answered, and an error if
    /// what follows them is no query.
    fn answer_some(
        &self,
        served: &Served,
        start: usize,
        replies: &mut Vec<u8>,
    ) -> (usize, io::Result<()>) {
        replies.clear();
        let moment = served.responder.moment(clock::unix_s(), clock::boot_ns());
        let (mut tally, mut reply, mut end) = (Tally::default(), Vec::new(), start);
        let followed = loop {
            let message = match first_message(&self.unread[end..]) {
                Ok(Some(message)) => message,
                other => break other.map(|_| ()),
            };
            let from = (self.address, Transport::Tcp);
            if !moment.answer(message, from, &mut tally, &mut reply) {
                // A response or half a header: this is no DNS client.
                break Err(io::ErrorKind::InvalidData.into());
            }
            replies.extend_from_slice(&(reply.len() as u16).to_be_bytes());
            replies.extend_from_slice(&reply);
            end += LENGTH_BYTES + message.len();
            if replies.len() >= DNS_TCP_REPLIES_BYTES {
                break Ok(());
            }
        };
        served.responder.count(&served.counters, &mut tally);
        (end - start, followed)
    }
}

/// The message at the start of `bytes`, if it is whole; an error if it will be longer than is read.
fn first_message(bytes: &[u8]) -> io::Result<Option<&[u8]>> {
    let Some((length, rest)) = bytes.split_first_chunk::<LENGTH_BYTES>() else {
        return Ok(None);
    };
    let length = usize::from(u16::from_be_bytes(*length));
    if length > DNS_QUERY_BYTES_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(rest.get(..length))
}
