//! Sends bytes that are no queries, as fast as the system takes them: by the train, which is cut into datagrams on its way
//! (`UDP_SEGMENT`, udp(7)), because a system call for each would cost more than the datagram.

use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrIn, sendmsg};

use super::{Moment, Worker, failed, stopped};
use crate::{Client, LabError};

const PORT: u16 = 53;
/// Most bytes of one datagram: what fits a frame of 1500 bytes.
const DATAGRAM_BYTES_MAX: u16 = 1_472;
/// Most bytes of a train: what a datagram over IPv4 could have.
const TRAIN_BYTES_MAX: usize = 65_507;
/// Most datagrams of a train (`UDP_MAX_SEGMENTS`, 64 in kernels before 6.8).
const TRAIN_DATAGRAMS_MAX: usize = 64;
/// Bytes on the wire before the datagram's: Ethernet, IPv4, UDP.
const HEADERS_BYTES: u64 = 14 + 20 + 8;
/// Different trains, which are sent in turn: to make each anew would take longer than to send it.
const TRAINS: usize = 32;
/// What a query's header has after its number: one question, one additional record.
const HEAD_OF_QUERY: [u8; 10] = [1, 0, 0, 1, 0, 0, 0, 0, 0, 1];

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
    let trains = trains_of_noise();
    let mut whole = true;
    while !stopped(stop) {
        for train in &trains {
            match train.send(&socket, whole) {
                Ok(()) => {
                    datagrams.fetch_add(train.datagrams().count() as u64, Ordering::Relaxed);
                    bytes.fetch_add(train.bytes.len() as u64, Ordering::Relaxed);
                }
                // Kernels before 6.11 cut trains only where the interface makes checksums.
                Err(Errno::EIO) if whole => whole = false,
                // A full queue, or the other side's word that nobody listens: go on all the same.
                Err(Errno::ENOBUFS | Errno::EAGAIN | Errno::ECONNREFUSED) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

/// Datagrams of one length, but for the last, behind each other.
struct Train {
    bytes: Vec<u8>,
    datagram_bytes: u16,
}

impl Train {
    fn datagrams(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes.chunks(self.datagram_bytes.into())
    }

    fn send(&self, socket: &UdpSocket, whole: bool) -> nix::Result<()> {
        let fd = socket.as_raw_fd();
        let send = |bytes: &[u8], cut: &[ControlMessage<'_>]| {
            let bytes = [IoSlice::new(bytes)];
            sendmsg::<SockaddrIn>(fd, &bytes, cut, MsgFlags::empty(), None).map(drop)
        };
        if whole {
            send(&self.bytes, &[ControlMessage::UdpGsoSegments(&self.datagram_bytes)])
        } else {
            self.datagrams().try_for_each(|datagram| send(datagram, &[]))
        }
    }
}

/// Trains of noise, most of them of datagrams of full length. Every fourth datagram looks like the head of a query.
fn trains_of_noise() -> Vec<Train> {
    let mut state = 0_u64;
    // SplitMix64 (Steele, Lea, Flood 2014) without its last step is random enough for noise.
    let mut number = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ (mixed >> 27)
    };
    let train = |index: usize| {
        // Short ones, of every kind of length: from the header of a query on, and down to less than one.
        let datagram_bytes = match index % 8 {
            0 => 1 + index as u16 * 5,
            _ => DATAGRAM_BYTES_MAX,
        };
        // The last datagram is cut short, at another place in each.
        let whole = TRAIN_BYTES_MAX.min(usize::from(datagram_bytes) * TRAIN_DATAGRAMS_MAX);
        let mut bytes: Vec<u8> = (0..whole - index).map(|_| number().to_be_bytes()[0]).collect();
        for datagram in bytes.chunks_mut(datagram_bytes.into()).step_by(4) {
            if let Some(head) = datagram.get_mut(2..12) {
                head.copy_from_slice(&HEAD_OF_QUERY);
            }
        }
        Train { bytes, datagram_bytes }
    };
    (0..TRAINS).map(train).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::time::Duration;

    use super::*;

    #[test]
    fn noise_differs_from_datagram_to_datagram_and_is_mostly_of_full_length() {
        let trains = trains_of_noise();
        let datagrams: Vec<&[u8]> = trains.iter().flat_map(Train::datagrams).collect();
        let long = |one: &&&[u8]| one.len() > 100;
        let distinct: HashSet<_> = datagrams.iter().filter(long).collect();
        assert_eq!(distinct.len(), datagrams.iter().filter(long).count());
        let full = datagrams.iter().filter(|one| one.len() == usize::from(DATAGRAM_BYTES_MAX));
        let full = full.count();
        assert!(full > datagrams.len() / 2 && full < datagrams.len(), "{full}");
        let lengths: HashSet<_> = datagrams.iter().map(|one| one.len()).collect();
        assert!(lengths.len() > TRAINS / 2 && lengths.contains(&1), "{lengths:?}");
        for train in &trains {
            assert!(train.bytes.len() <= TRAIN_BYTES_MAX);
            assert!(train.datagrams().count() <= TRAIN_DATAGRAMS_MAX);
        }
    }

    #[test]
    fn a_train_arrives_as_its_datagrams_whether_it_is_cut_on_its_way_or_before() {
        let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        server.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
        let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        client.connect(server.local_addr().expect("an address")).expect("connected");
        let train = Train { bytes: (0..=250).collect(), datagram_bytes: 100 };
        for whole in [true, false] {
            train.send(&client, whole).expect("sent");
            let mut got = [0; 2_000];
            for datagram in train.datagrams() {
                let bytes = server.recv(&mut got).expect("it arrives");
                assert_eq!(&got[..bytes], datagram, "whole: {whole}");
            }
        }
    }
}
