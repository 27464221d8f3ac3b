//! Reads a frame that the program has sent back, and refuses everything that is not as it should be.

use std::net::IpAddr;

use autoradio_common::wire::{fold_sum, sum_words};

use crate::oracle::Datagram;

/// The DNS message of the reply to `query`, which came in the frame `asked`.
pub(crate) fn message<'a>(frame: &'a [u8], asked: &[u8], query: &Datagram<'_>) -> &'a [u8] {
    assert_eq!(frame[..6], asked[6..12], "to the sender's MAC address");
    assert_eq!(frame[6..12], asked[..6], "from our MAC address");
    assert_eq!(frame[12..14], asked[12..14], "the same family");
    let udp = match query.client {
        IpAddr::V4(_) => ipv4(frame, query),
        IpAddr::V6(_) => ipv6(frame, query),
    };
    let port = query.client_port.to_be_bytes();
    assert_eq!(udp[..4], [0, 53, port[0], port[1]], "ports");
    assert_eq!(usize::from(u16::from_be_bytes([udp[4], udp[5]])), udp.len(), "UDP length");
    assert_ne!(udp[6..8], [0, 0], "a UDP checksum");
    let addresses = [octets(query.local), octets(query.client)].concat();
    let pseudo = u32::from(sum_words(&addresses)) + 17 + udp.len() as u32;
    assert_eq!(fold_sum(pseudo + u32::from(sum_words(udp))), 0xffff, "UDP checksum");
    &udp[8..]
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn ipv4<'a>(frame: &'a [u8], query: &Datagram<'_>) -> &'a [u8] {
    let ip = &frame[14..34];
    assert_eq!((ip[0], ip[9]), (0x45, 17), "a plain header for UDP");
    assert_eq!(sum_words(ip), 0xffff, "IPv4 checksum");
    assert_eq!(ip[6] & 0x3f, 0, "no fragment");
    assert_eq!(ip[7], 0, "no fragment");
    assert!(ip[8] >= 32, "a time to live that reaches everybody");
    assert_eq!(ip[12..20], [octets(query.local), octets(query.client)].concat(), "addresses");
    assert_eq!(usize::from(u16::from_be_bytes([ip[2], ip[3]])), frame.len() - 14, "IPv4 length");
    &frame[34..]
}

fn ipv6<'a>(frame: &'a [u8], query: &Datagram<'_>) -> &'a [u8] {
    let ip = &frame[14..54];
    assert_eq!((ip[0] >> 4, ip[6]), (6, 17), "a plain header for UDP");
    assert!(ip[7] >= 32, "a hop limit that reaches everybody");
    assert_eq!(ip[8..40], [octets(query.local), octets(query.client)].concat(), "addresses");
    assert_eq!(usize::from(u16::from_be_bytes([ip[4], ip[5]])), frame.len() - 54, "IPv6 length");
    &frame[54..]
}
