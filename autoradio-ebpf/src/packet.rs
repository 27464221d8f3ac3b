//! Finds a DNS datagram in a frame, and checks who sent it to whom.

use autoradio_common::limits::{KERNEL_QUERY_BYTES_MAX, LOCAL_ADDRESSES_MAX};
use autoradio_common::settings::KernelSettings;
use autoradio_common::verdict::Verdict;
use autoradio_common::wire::{HEADER_BYTES, PORT};
use aya_ebpf::programs::XdpContext;

use crate::maps::Scratch;

/// Bytes of an Ethernet header.
pub const ETHERNET_BYTES: usize = 14;
/// Bytes of an IPv4 header without options.
pub const IPV4_BYTES: usize = 20;
/// Bytes of an IPv6 header.
pub const IPV6_BYTES: usize = 40;
/// Bytes of a UDP header.
pub const UDP_BYTES: usize = 8;
/// Number of UDP in both IP headers.
pub const PROTOCOL_UDP: u8 = 17;

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
/// The shortest question: the root's name, type and class.
const QUESTION_BYTES_MIN: usize = 1 + 4;

/// Which IP carries the datagram.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4 without options.
    V4,
    /// IPv6 without extension headers.
    V6,
}

/// A UDP datagram to port 53.
pub struct Datagram {
    /// Its IP.
    pub family: Family,
    /// Bytes of DNS message.
    pub message_bytes: usize,
    /// The client's port, not 0.
    pub client_port: u16,
}

impl Family {
    /// Offset of the UDP header in the frame, in bytes.
    #[inline(always)]
    pub const fn udp_offset(self) -> usize {
        match self {
            Self::V4 => ETHERNET_BYTES + IPV4_BYTES,
            Self::V6 => ETHERNET_BYTES + IPV6_BYTES,
        }
    }

    /// Offset of the DNS message in the frame, in bytes.
    #[inline(always)]
    pub const fn message_offset(self) -> usize {
        self.udp_offset() + UDP_BYTES
    }
}

/// A view of `N` bytes of the frame, or `None` where the frame is shorter.
#[inline(always)]
pub fn bytes_at<const N: usize>(ctx: &XdpContext, offset: usize) -> Option<&mut [u8; N]> {
    if ctx.data() + offset + N > ctx.data_end() {
        return None; // The verifier wants this comparison, in this form.
    }
    // SAFETY: the line above keeps the view inside the packet; byte arrays have no alignment and no invalid values.
    Some(unsafe { &mut *((ctx.data() + offset) as *mut [u8; N]) })
}

#[inline(always)]
fn word(bytes: &[u8], offset: usize) -> u16 {
    u16::from_be_bytes([bytes[offset], bytes[offset + 1]])
}

/// Finds the datagram. Every length must agree with every other, save for padding after the IP packet.
#[inline(always)]
pub fn parse(ctx: &XdpContext) -> Result<Datagram, Verdict> {
    let ethernet = bytes_at::<ETHERNET_BYTES>(ctx, 0).ok_or(Verdict::PassNotIp)?;
    let (family, payload_bytes) = match word(ethernet, 12) {
        ETHERTYPE_IPV4 => (Family::V4, parse_ipv4(ctx)?),
        ETHERTYPE_IPV6 => (Family::V6, parse_ipv6(ctx)?),
        _ => return Err(Verdict::PassNotIp),
    };
    let udp = match family {
        Family::V4 => bytes_at::<UDP_BYTES>(ctx, Family::V4.udp_offset()),
        Family::V6 => bytes_at::<UDP_BYTES>(ctx, Family::V6.udp_offset()),
    };
    let udp = udp.ok_or(Verdict::PassLength)?;
    if word(udp, 2) != PORT {
        return Err(Verdict::PassNotDns);
    }
    let client_port = word(udp, 0);
    if client_port == 0 {
        return Err(Verdict::PassBadSource);
    }
    let udp_bytes = usize::from(word(udp, 4));
    let shortest = UDP_BYTES + HEADER_BYTES + QUESTION_BYTES_MIN;
    let longest = UDP_BYTES + KERNEL_QUERY_BYTES_MAX;
    if udp_bytes != payload_bytes || udp_bytes < shortest || udp_bytes > longest {
        return Err(Verdict::PassLength);
    }
    if ctx.data() + family.udp_offset() + udp_bytes > ctx.data_end() {
        return Err(Verdict::PassLength);
    }
    Ok(Datagram { family, message_bytes: udp_bytes - UDP_BYTES, client_port })
}

/// Checks an IPv4 header; the result is the length of its payload.
#[inline(always)]
fn parse_ipv4(ctx: &XdpContext) -> Result<usize, Verdict> {
    let ip = bytes_at::<IPV4_BYTES>(ctx, ETHERNET_BYTES).ok_or(Verdict::PassIpHeader)?;
    if ip[9] != PROTOCOL_UDP {
        return Err(Verdict::PassNotDns);
    }
    let total_bytes = usize::from(word(ip, 2));
    let fragment = word(ip, 6) & 0x3fff != 0; // More fragments, or an offset (RFC 791 §3.1).
    if ip[0] != 0x45 || fragment || total_bytes < IPV4_BYTES {
        return Err(Verdict::PassIpHeader);
    }
    Ok(total_bytes - IPV4_BYTES)
}

/// Checks an IPv6 header; the result is the length of its payload.
#[inline(always)]
fn parse_ipv6(ctx: &XdpContext) -> Result<usize, Verdict> {
    let ip = bytes_at::<IPV6_BYTES>(ctx, ETHERNET_BYTES).ok_or(Verdict::PassIpHeader)?;
    if ip[0] >> 4 != 6 {
        return Err(Verdict::PassIpHeader);
    }
    if ip[6] != PROTOCOL_UDP {
        return Err(Verdict::PassNotDns);
    }
    Ok(usize::from(word(ip, 4)))
}

/// Lets through what was sent by one host to one of our addresses: anything else must not be reflected. Notes the client.
#[inline(always)]
pub fn check_addresses(
    ctx: &XdpContext,
    datagram: &Datagram,
    settings: &KernelSettings,
    scratch: &mut Scratch,
) -> Result<(), Verdict> {
    let ethernet = bytes_at::<ETHERNET_BYTES>(ctx, 0).ok_or(Verdict::PassNotIp)?;
    // The lowest bit of the first byte marks a group address (IEEE 802 §8.2.2).
    if (ethernet[0] | ethernet[6]) & 1 != 0 {
        return Err(Verdict::PassBadSource);
    }
    match datagram.family {
        Family::V4 => check_ipv4(ctx, settings, scratch),
        Family::V6 => check_ipv6(ctx, settings, scratch),
    }
}

#[inline(always)]
fn check_ipv4(
    ctx: &XdpContext,
    settings: &KernelSettings,
    scratch: &mut Scratch,
) -> Result<(), Verdict> {
    let ip = bytes_at::<IPV4_BYTES>(ctx, ETHERNET_BYTES).ok_or(Verdict::PassIpHeader)?;
    let source = u32::from_le_bytes([ip[12], ip[13], ip[14], ip[15]]);
    scratch.seen.client = [u64::from(source), 0];
    // 0/8, 127/8 and everything from 224.0.0.0 up are no host's address (RFC 6890 §2.2.2).
    if ip[12] == 0 || ip[12] == 127 || ip[12] >= 224 {
        return Err(Verdict::PassBadSource);
    }
    let destination = u32::from_ne_bytes([ip[16], ip[17], ip[18], ip[19]]);
    for index in 0..LOCAL_ADDRESSES_MAX {
        if destination != 0 && u32::from_ne_bytes(settings.local_v4[index]) == destination {
            return Ok(());
        }
    }
    Err(Verdict::PassNotOurs)
}

#[inline(always)]
fn check_ipv6(
    ctx: &XdpContext,
    settings: &KernelSettings,
    scratch: &mut Scratch,
) -> Result<(), Verdict> {
    let ip = bytes_at::<IPV6_BYTES>(ctx, ETHERNET_BYTES).ok_or(Verdict::PassIpHeader)?;
    scratch.seen.client = [half(ip, 8), half(ip, 16)];
    // Multicast ff00::/8, and the eight reserved bits of ::/8 with the unspecified and loopback addresses (RFC 4291 §2.4).
    if ip[8] == 0xff || ip[8] == 0 {
        return Err(Verdict::PassBadSource);
    }
    let (high, low) = (half(ip, 24), half(ip, 32));
    for index in 0..LOCAL_ADDRESSES_MAX {
        let local = &settings.local_v6[index];
        if high | low != 0 && half(local, 0) == high && half(local, 8) == low {
            return Ok(());
        }
    }
    Err(Verdict::PassNotOurs)
}

/// Eight bytes of an address.
#[inline(always)]
fn half(bytes: &[u8], offset: usize) -> u64 {
    let mut half = [0; 8];
    half.copy_from_slice(&bytes[offset..offset + 8]);
    u64::from_le_bytes(half)
}
