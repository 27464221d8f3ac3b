//! Takes queries from a UDP socket by the batch, answers them, and gives the replies back by the batch.
//!
//! Every buffer is made once for a thread: no message allocates anything.

use std::io::{IoSlice, IoSliceMut};
use std::net::IpAddr;
use std::os::fd::{AsRawFd, RawFd};

use autoradio_common::limits::{DNS_QUERY_BYTES_MAX, DNS_UDP_BATCH, DNS_UDP_BYTES_MAX};
use metrics::{Counter, counter};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, MultiHeaders, RecvMsg, recvmmsg, sendmmsg};

use super::family::Family;
use crate::clock;
use crate::dns::Transport;
use crate::dns::responder::Responder;
use crate::dns::tally::{Counters, Tally};

/// A query that was received.
struct Received<F: Family> {
    /// Its number in the batch.
    index: usize,
    bytes: usize,
    client: F::Client,
    address: IpAddr,
    asked: F::Asked,
}

/// The buffers and counters of one thread.
pub(super) struct Batch<F: Family> {
    queries: Box<[[u8; DNS_QUERY_BYTES_MAX]; DNS_UDP_BATCH]>,
    headers_in: MultiHeaders<F::Client>,
    received: Vec<Received<F>>,
    replies: [Vec<u8>; DNS_UDP_BATCH],
    headers_out: MultiHeaders<F::Client>,
    clients: Vec<Option<F::Client>>,
    asked: Vec<F::Asked>,
    tally: Tally,
    counters: Counters,
    errors: Counter,
}

impl<F: Family> Batch<F> {
    /// Empty buffers.
    pub(super) fn new() -> Self {
        let headers = || {
            let control = Vec::with_capacity(F::CONTROL_BYTES);
            MultiHeaders::preallocate(DNS_UDP_BATCH, Some(control))
        };
        let queries = vec![[0; DNS_QUERY_BYTES_MAX]; DNS_UDP_BATCH].into_boxed_slice();
        let Ok(queries) = queries.try_into() else {
            unreachable!("made as long as it must be");
        };
        Self {
            queries,
            headers_in: headers(),
            received: Vec::with_capacity(DNS_UDP_BATCH),
            replies: std::array::from_fn(|_| Vec::with_capacity(DNS_UDP_BYTES_MAX.into())),
            headers_out: headers(),
            clients: Vec::with_capacity(DNS_UDP_BATCH),
            asked: Vec::with_capacity(DNS_UDP_BATCH),
            tally: Tally::default(),
            counters: Counters::of(Transport::Udp),
            errors: counter!("autoradio_dns_udp_errors_total"),
        }
    }

    /// Waits for queries and takes as many as there are, unless `stopped` says afterwards that what was received is not a
    /// query but the end.
    pub(super) fn receive(&mut self, socket: &impl AsRawFd, stopped: impl Fn() -> bool) {
        self.received.clear();
        let mut parts = self.queries.each_mut().map(|query| [IoSliceMut::new(query)]);
        let (fd, flags) = (socket.as_raw_fd(), MsgFlags::MSG_WAITFORONE);
        let messages = match recvmmsg(fd, &mut self.headers_in, &mut parts, flags, None) {
            Ok(messages) => messages,
            Err(Errno::EINTR) => return,
            // A client chooses how many of its queries fail: they are counted, not told one by one.
            Err(_) => return self.errors.increment(1),
        };
        if stopped() {
            return; // Its one message has no sender, and must not be looked at.
        }
        let numbered = messages.enumerate();
        self.received.extend(numbered.filter_map(|(index, message)| received(index, &message)));
    }

    /// Answers what was received.
    pub(super) fn answer(&mut self, responder: &Responder) {
        let moment = responder.moment(clock::unix_s(), clock::boot_ns());
        self.clients.clear();
        self.asked.clear();
        for received in &self.received {
            let query = &self.queries[received.index][..received.bytes];
            let reply = &mut self.replies[self.clients.len()];
            let from = (received.address, Transport::Udp);
            if moment.answer(query, from, &mut self.tally, reply) {
                self.clients.push(Some(received.client));
                self.asked.push(received.asked);
            }
        }
        responder.count(&self.counters, &mut self.tally);
    }

    /// Sends the replies. Those that the system does not take at once are lost, as any datagram may be: to wait would let
    /// one client that cannot be reached hold up the others.
    pub(super) fn send(&mut self, socket: &impl AsRawFd) {
        let mut start = 0;
        while let Some(asked) = self.asked.get(start).copied() {
            let same = self.asked[start..].iter().take_while(|other| F::same(&asked, other));
            let end = start + same.count();
            start += self.send_from(socket.as_raw_fd(), asked, start..end).unwrap_or_else(|_| {
                self.errors.increment(1);
                1
            });
        }
    }

    /// Sends replies that leave from one address; the number that went out before one failed.
    fn send_from(
        &mut self,
        fd: RawFd,
        asked: F::Asked,
        replies: std::ops::Range<usize>,
    ) -> nix::Result<usize> {
        let parts = self.replies.each_ref().map(|reply| [IoSlice::new(reply)]);
        let (parts, clients) = (&parts[replies.clone()], &self.clients[replies]);
        let (control, flags) = ([F::control(&asked)], MsgFlags::MSG_DONTWAIT);
        sendmmsg(fd, &mut self.headers_out, parts, clients, control, flags).map(Iterator::count)
    }
}

/// What is known about one message; `None` where nothing may be replied.
fn received<F: Family>(index: usize, message: &RecvMsg<'_, '_, F::Client>) -> Option<Received<F>> {
    let client = message.address?;
    let (address, port) = F::client(&client);
    let asked = message.cmsgs().ok()?.find_map(|control| F::asked(&control))?;
    // Nobody can listen at port 0; a reply would only help a reflector.
    (port != 0).then_some(Received { index, bytes: message.bytes, client, address, asked })
}
