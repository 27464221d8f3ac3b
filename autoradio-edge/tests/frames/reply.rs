//! Frames of replies, read strictly.

use autoradio_common::wire::{fold_sum, sum_words};

use crate::frames::{CLIENT_MAC, CLIENT_V4, CLIENT_V6, LOCAL_MAC, LOCAL_V4, LOCAL_V6};

/// Checks that `frame` is a whole and valid reply to the client, and gives its DNS message.
pub(crate) fn reply_message(frame: &[u8]) -> Vec<u8> {
    assert_eq!(frame[..12], [CLIENT_MAC, LOCAL_MAC].concat(), "MAC addresses swapped");
    let is_v4 = frame[12..14] == [0x08, 0x00];
    let (addresses, udp) = if is_v4 { read_ipv4(frame) } else { read_ipv6(frame) };
    assert_eq!(udp[..4], [0, 53, 0x9c, 0x40], "ports swapped");
    assert_eq!(usize::from(u16::from_be_bytes([udp[4], udp[5]])), udp.len(), "UDP length");
    assert_ne!(udp[6..8], [0, 0], "UDP checksum present");
    let pseudo = u32::from(sum_words(addresses)) + 17 + udp.len() as u32;
    assert_eq!(fold_sum(pseudo + u32::from(sum_words(udp))), 0xffff, "UDP checksum");
    udp[8..].to_vec()
}

fn read_ipv4(frame: &[u8]) -> (&[u8], &[u8]) {
    let ip = &frame[14..34];
    assert_eq!(sum_words(ip), 0xffff, "IPv4 checksum");
    assert_eq!(ip[12..20], [LOCAL_V4, CLIENT_V4].concat(), "addresses swapped");
    assert_eq!(usize::from(u16::from_be_bytes([ip[2], ip[3]])), frame.len() - 14);
    (&frame[26..34], &frame[34..])
}

fn read_ipv6(frame: &[u8]) -> (&[u8], &[u8]) {
    let ip = &frame[14..54];
    assert_eq!(ip[8..40], [LOCAL_V6, CLIENT_V6].concat(), "addresses swapped");
    assert_eq!(usize::from(u16::from_be_bytes([ip[4], ip[5]])), frame.len() - 54);
    (&frame[22..54], &frame[54..])
}
