//! Ports for children of tests.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the range from which the kernel gives ports to outgoing connections: nobody takes one by chance between now
/// and the moment a child opens it.
const FIRST: u16 = 10_000;
const COUNT: u16 = 20_000;

/// Ports that nobody uses, all different, in every test of this run.
pub(crate) fn free_ports<const N: usize>() -> [u16; N] {
    [(); N].map(|()| next_free())
}

fn next_free() -> u16 {
    static DRAWN: AtomicU16 = AtomicU16::new(0);
    // Test binaries that run at one time begin at different places.
    let start = (std::process::id() % u32::from(COUNT / 100)) as u16 * 100;
    loop {
        let offset = start.wrapping_add(DRAWN.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let port = FIRST + offset;
        let address = (Ipv4Addr::UNSPECIFIED, port);
        if TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok() {
            return port;
        }
    }
}
