//! Frames spelled layer by layer: pure, for tests and benches. `reply.rs` reads them back.

use autoradio_common::wire::sum_words;

/// Our address of either family, as in the tests' zone.
pub(crate) const LOCAL_V4: [u8; 4] = [198, 18, 0, 1];
/// The client's address.
pub(crate) const CLIENT_V4: [u8; 4] = [198, 18, 0, 50];
/// Our address, IPv6.
pub(crate) const LOCAL_V6: [u8; 16] = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
/// The client's address, IPv6.
pub(crate) const CLIENT_V6: [u8; 16] = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x50];
/// The client's port.
pub(crate) const CLIENT_PORT: u16 = 40_000;

/// Our Ethernet address.
pub(crate) const LOCAL_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// The client's.
pub(crate) const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x50];

/// A DNS query, field by field.
pub(crate) struct QuerySpec<'a> {
    pub(crate) id: u16,
    pub(crate) flags: u16,
    pub(crate) counts: [u16; 4],
    pub(crate) name: &'a [u8],
    pub(crate) qtype: u16,
    pub(crate) qclass: u16,
    pub(crate) after: &'a [u8],
}

/// The apex of the tests' zone on the wire.
pub(crate) const APEX: &[u8] = b"\x05radio\x07example\x03com\x00";
/// An OPT record without options, 1232 bytes, DO set.
pub(crate) const OPT: &[u8] = b"\x00\x00\x29\x04\xd0\x00\x00\x80\x00\x00\x00";

impl Default for QuerySpec<'_> {
    fn default() -> Self {
        let (counts, name) = ([1, 0, 0, 0], APEX);
        Self { id: 0x1234, flags: 0x0100, counts, name, qtype: 1, qclass: 1, after: b"" }
    }
}

impl QuerySpec<'_> {
    pub(crate) fn message(&self) -> Vec<u8> {
        let [questions, answers, authorities, additionals] = self.counts;
        let words = [self.id, self.flags, questions, answers, authorities, additionals];
        let mut message: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        message.extend_from_slice(self.name);
        message.extend_from_slice(&self.qtype.to_be_bytes());
        message.extend_from_slice(&self.qclass.to_be_bytes());
        message.extend_from_slice(self.after);
        message
    }
}

fn ethernet(ethertype: u16) -> Vec<u8> {
    let mut frame = [LOCAL_MAC, CLIENT_MAC].concat();
    frame.extend_from_slice(&ethertype.to_be_bytes());
    frame
}

fn udp(message: &[u8]) -> Vec<u8> {
    let length = (8 + message.len()) as u16;
    // As a local sender leaves it to its card: no checksum worth the name.
    let mut udp: Vec<u8> =
        [CLIENT_PORT, 53, length, 0xbeef].iter().flat_map(|word| word.to_be_bytes()).collect();
    udp.extend_from_slice(message);
    udp
}

/// `message` in UDP over IPv4.
pub(crate) fn frame_v4(message: &[u8]) -> Vec<u8> {
    let udp = udp(message);
    let total = (20 + udp.len()) as u16;
    let mut ip = vec![0x45, 0, 0, 0, 0x12, 0x34, 0, 0, 57, 17, 0, 0];
    ip[2..4].copy_from_slice(&total.to_be_bytes());
    ip.extend_from_slice(&CLIENT_V4);
    ip.extend_from_slice(&LOCAL_V4);
    let checksum = !sum_words(&ip);
    ip[10..12].copy_from_slice(&checksum.to_be_bytes());
    [ethernet(0x0800), ip, udp].concat()
}

/// `message` in UDP over IPv6.
pub(crate) fn frame_v6(message: &[u8]) -> Vec<u8> {
    let udp = udp(message);
    let mut ip = vec![0x60, 0, 0, 0, 0, 0, 17, 57];
    ip[4..6].copy_from_slice(&(udp.len() as u16).to_be_bytes());
    ip.extend_from_slice(&CLIENT_V6);
    ip.extend_from_slice(&LOCAL_V6);
    [ethernet(0x86dd), ip, udp].concat()
}
