//! Sends bytes that are no queries, as fast as a socket takes them.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::{Moment, Worker, failed, stopped};
use crate::{Client, LabError};

const PORT: u16 = 53;
/// Most bytes of one datagram: what fits a frame of 1500 bytes.
const DATAGRAM_BYTES_MAX: usize = 1_472;
/// Bytes on the wire before the datagram's: Ethernet, IPv4, UDP.
const HEADERS_BYTES: u64 = 14 + 20 + 8;
/// Different datagrams, which are sent in turn: to make each anew would take longer than to send it.
const DATAGRAMS: usize = 256;

/// A client that floods a server.
#[derive(Debug)]
pub struct Garbage {
    start: Moment,
    datagrams: Arc<AtomicU64>,
    bytes: Arc<AtomicU64>,
    worker: Worker,
}

/// What was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flood {
    /// Datagrams.
    pub datagrams: u64,
    /// Bits a second on the wire, in the mean.
    pub bits_per_second: u64,
}

impl Garbage {
    /// Starts flooding port 53 of `server`.
    pub fn start(client: &Client, server: Ipv4Addr) -> Result<Self, LabError> {
        let (datagrams, bytes) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let counters = (datagrams.clone(), bytes.clone());
        let worker = Worker::start(client, move |stop| {
            if let Err(error) = flood(stop, server, &counters.0, &counters.1) {
                eprintln!("the flood ended: {}", failed("sending garbage")(error));
            }
        })?;
        Ok(Self { start: Moment::now(), datagrams, bytes, worker })
    }

    /// Ends it. What was sent.
    pub fn end(self) -> Flood {
        let ms = Moment::now().ms_since(self.start).max(1);
        drop(self.worker);
        let datagrams = self.datagrams.load(Ordering::SeqCst);
        let bytes = self.bytes.load(Ordering::SeqCst) + datagrams * HEADERS_BYTES;
        Flood { datagrams, bits_per_second: bytes * 8 * 1_000 / ms }
    }
}

fn flood(
    stop: &AtomicBool,
    server: Ipv4Addr,
    datagrams: &AtomicU64,
    bytes: &AtomicU64,
) -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect((server, PORT))?;
    let noise = datagrams_of_noise();
    while !stopped(stop) {
        for datagram in &noise {
            match socket.send(datagram) {
                Ok(sent) => {
                    datagrams.fetch_add(1, Ordering::Relaxed);
                    bytes.fetch_add(sent as u64, Ordering::Relaxed);
                }
                // A full queue, or the other side's word that nobody listens: go on all the same.
                Err(error) if is_of_the_other_side(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

fn is_of_the_other_side(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, WouldBlock};
    matches!(error.kind(), ConnectionRefused | WouldBlock)
        || error.raw_os_error() == Some(nix::libc::ENOBUFS)
}

/// Datagrams of noise, most of them of full length. Every fourth looks like the head of a query.
fn datagrams_of_noise() -> Vec<Vec<u8>> {
    let mut state = 0_u64;
    // SplitMix64 (Steele, Lea, Flood 2014) without its last step is random enough for noise.
    let mut number = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ (mixed >> 27)
    };
    let datagram = |index: usize| {
        let bytes = match index % 8 {
            0 => index * DATAGRAM_BYTES_MAX / DATAGRAMS,
            _ => DATAGRAM_BYTES_MAX,
        };
        let mut datagram: Vec<u8> = (0..bytes).map(|_| number().to_be_bytes()[0]).collect();
        if index % 4 == 1 {
            datagram[2..12].copy_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 1]);
        }
        datagram
    };
    (0..DATAGRAMS).map(datagram).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_differs_from_datagram_to_datagram_and_is_mostly_of_full_length() {
        let noise = datagrams_of_noise();
        let distinct: std::collections::HashSet<_> = noise.iter().collect();
        assert_eq!(distinct.len(), DATAGRAMS);
        let full = noise.iter().filter(|one| one.len() == DATAGRAM_BYTES_MAX).count();
        assert!(full > DATAGRAMS / 2 && full < DATAGRAMS, "{full}");
        assert!(noise.iter().any(Vec::is_empty), "even nothing is sent");
    }
}
