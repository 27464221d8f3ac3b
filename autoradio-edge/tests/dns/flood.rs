//! A client that sends bytes which are no queries, by the train: each is cut into datagrams on its way (`UDP_SEGMENT`).

use std::io::IoSlice;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::time::Instant;

use autoradio_edge::clock;
use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrIn, sendmsg};

use crate::rig::{query, udp_client};

/// Different trains, sent in turn.
const TRAINS: usize = 16;
/// Most datagrams of a train (`UDP_MAX_SEGMENTS`, 64 in kernels before 6.8).
const DATAGRAMS: usize = 64;
/// Most bytes of a train: what a datagram over IPv4 could have.
const TRAIN_BYTES_MAX: usize = 65_507;

/// Sends until `end`; the bytes that were sent.
pub(crate) fn flood(seed: u64, server: SocketAddr, end: Instant) -> u64 {
    let client = udp_client(Ipv4Addr::LOCALHOST);
    client.connect(server).expect("connected");
    let trains = trains(seed);
    let mut sent = 0;
    while clock::now() < end {
        for (bytes, datagram_bytes) in &trains {
            let cut = [ControlMessage::UdpGsoSegments(datagram_bytes)];
            let (fd, bytes) = (client.as_raw_fd(), [IoSlice::new(bytes)]);
            match sendmsg::<SockaddrIn>(fd, &bytes, &cut, MsgFlags::empty(), None) {
                Ok(bytes) => sent += bytes as u64,
                // A full buffer is what a flood meets.
                Err(Errno::ENOBUFS | Errno::EAGAIN) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
    sent
}

/// Bytes, and the length of each datagram but the last: most of them long, some of every length from 5 bytes on. Every second
/// datagram is nearly a query.
fn trains(seed: u64) -> Vec<(Vec<u8>, u16)> {
    let mut state = seed;
    let train = |index: usize| {
        let datagram_bytes = if index.is_multiple_of(4) { 5 + index * 67 } else { 1_400 };
        let datagrams = DATAGRAMS.min(TRAIN_BYTES_MAX / datagram_bytes);
        let mut bytes = vec![0; datagram_bytes * datagrams - index];
        garbage(&mut state, &mut bytes);
        for datagram in bytes.chunks_mut(datagram_bytes).step_by(2) {
            let head = datagram.len().min(12);
            datagram[..head].copy_from_slice(&query(7)[..head]);
        }
        (bytes, datagram_bytes as u16)
    };
    (0..TRAINS).map(train).collect()
}

/// Bytes without a pattern (Marsaglia 2003), the same in every run.
fn garbage(state: &mut u64, into: &mut [u8]) {
    for byte in into {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *byte = (*state >> 32) as u8;
    }
}
