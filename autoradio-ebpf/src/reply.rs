//! Makes room, then turns the query's frame into the reply's. After the room is made nothing may fail.

use core::ffi::c_void;

use autoradio_common::limits::{NAME_BYTES_MAX, VARIANT_BYTES_MAX};
use autoradio_common::verdict::Verdict;
use autoradio_common::wire::{
    CLASS_IN, FLAG_AUTHORITATIVE, FLAG_RESPONSE, FLAGS_ECHOED, HEADER_BYTES, OPT_RECORD, PORT,
    fold_sum, sum_words,
};
use autoradio_common::zone::Variant;
use aya_ebpf::helpers::generated::{
    bpf_xdp_adjust_head, bpf_xdp_adjust_tail, bpf_xdp_load_bytes, bpf_xdp_store_bytes,
};
use aya_ebpf::programs::XdpContext;

use crate::maps::Scratch;
use crate::packet::{
    Datagram, ETHERNET_BYTES, Family, IPV4_BYTES, IPV6_BYTES, PROTOCOL_UDP, UDP_BYTES, bytes_at,
};
use crate::query::Query;

/// Hop limit of replies, as Linux sends them.
const HOPS: u8 = 64;

/// Writes the reply over the query.
#[inline(always)]
pub fn send(
    ctx: &XdpContext,
    datagram: &Datagram,
    query: &Query,
    variant: &'static Variant,
    scratch: &mut Scratch,
) -> Result<(), Verdict> {
    let question_end = HEADER_BYTES + query.name_bytes + 4;
    let opt_start = question_end + usize::from(variant.length);
    let message_bytes = opt_start + if query.edns { OPT_RECORD.len() } else { 0 };
    if message_bytes > query.reply_bytes_max {
        return Err(Verdict::PassNoRoom);
    }
    let frame_bytes = datagram.family.message_offset() + message_bytes;
    make_room(ctx, datagram.family, query, frame_bytes, scratch)?;

    let udp_bytes = UDP_BYTES + message_bytes;
    let message_sum = write_header(ctx, datagram.family, query, variant, scratch)?;
    match datagram.family {
        Family::V4 => write_ipv4(ctx, udp_bytes, message_sum),
        Family::V6 => write_ipv6(ctx, udp_bytes, message_sum),
    }?;
    write_records(ctx, datagram.family, query, variant, question_end, opt_start)
}

/// Resizes the frame to `frame_bytes` with everything up to the question's end where it was.
///
/// Drivers differ in how much room they leave at either end, so first the tail is tried, then the head.
#[inline(always)]
fn make_room(
    ctx: &XdpContext,
    family: Family,
    query: &Query,
    frame_bytes: usize,
    scratch: &mut Scratch,
) -> Result<(), Verdict> {
    let growth = frame_bytes as i32 - (ctx.data_end() - ctx.data()) as i32;
    // SAFETY: the context is the program's own; the helper changes nothing when it fails.
    if unsafe { bpf_xdp_adjust_tail(ctx.ctx, growth) } == 0 {
        return Ok(());
    }
    let headers = scratch.headers.as_mut_ptr().cast::<c_void>();
    let headers_bytes = family.message_offset() as u32;
    // SAFETY: the buffer holds the longest headers; the helper checks the packet's side.
    if unsafe { bpf_xdp_load_bytes(ctx.ctx, 0, headers, headers_bytes) } != 0 {
        return Err(Verdict::PassNoRoom);
    }
    // SAFETY: as for the tail.
    if unsafe { bpf_xdp_adjust_head(ctx.ctx, -growth) } != 0 {
        return Err(Verdict::PassNoRoom);
    }
    store(ctx, 0, headers, headers_bytes)?;
    let question_bytes = (HEADER_BYTES + query.name_bytes + 4) as u32;
    if question_bytes > (HEADER_BYTES + NAME_BYTES_MAX + 4) as u32 {
        return Err(Verdict::DropWriteFailed); // Never: for the verifier.
    }
    let question = scratch.query.as_mut_ptr().cast::<c_void>();
    store(ctx, headers_bytes, question, question_bytes)
}

/// Copies bytes into the packet. The frame has been resized, so there is no way back if this fails.
#[inline(always)]
fn store(ctx: &XdpContext, offset: u32, from: *mut c_void, bytes: u32) -> Result<(), Verdict> {
    // SAFETY: callers pass a buffer of at least `bytes`; the helper checks the packet's side.
    let result = unsafe { bpf_xdp_store_bytes(ctx.ctx, offset, from, bytes) };
    if result == 0 { Ok(()) } else { Err(Verdict::DropWriteFailed) }
}

/// Writes the DNS header. The result is the sum of the whole message for the UDP checksum.
#[inline(always)]
fn write_header(
    ctx: &XdpContext,
    family: Family,
    query: &Query,
    variant: &Variant,
    scratch: &Scratch,
) -> Result<u32, Verdict> {
    let header = match family {
        Family::V4 => bytes_at::<HEADER_BYTES>(ctx, Family::V4.message_offset()),
        Family::V6 => bytes_at::<HEADER_BYTES>(ctx, Family::V6.message_offset()),
    };
    let header = header.ok_or(Verdict::DropWriteFailed)?;
    let flags = FLAG_RESPONSE | FLAG_AUTHORITATIVE | (query.flags & FLAGS_ECHOED) | variant.rcode;
    let additionals = variant.additionals + u16::from(query.edns);
    let words = [flags, 1, variant.answers, variant.authorities, additionals];
    let id = u16::from_be_bytes([scratch.query[0], scratch.query[1]]);
    let mut sum = u32::from(id) + query.name_sum + u32::from(records_sum(query, variant));
    for (index, value) in words.into_iter().enumerate() {
        sum += u32::from(value);
        let [high, low] = value.to_be_bytes();
        header[2 + 2 * index] = high;
        header[3 + 2 * index] = low;
    }
    Ok(sum)
}

/// Sum of everything after the name: type, class, records, OPT. An odd start swaps the bytes of each word.
#[inline(always)]
fn records_sum(query: &Query, variant: &Variant) -> u16 {
    let mut sum = u32::from(query.qtype) + u32::from(CLASS_IN) + u32::from(variant.sum);
    if query.edns {
        sum += u32::from(swapped_if(variant.length % 2 == 1, sum_words(&OPT_RECORD)));
    }
    swapped_if(query.name_bytes % 2 == 1, fold_sum(sum))
}

#[inline(always)]
fn swapped_if(odd: bool, sum: u16) -> u16 {
    if odd { sum.swap_bytes() } else { sum }
}

/// Copies the records and the OPT record behind the question.
#[inline(always)]
fn write_records(
    ctx: &XdpContext,
    family: Family,
    query: &Query,
    variant: &'static Variant,
    question_end: usize,
    opt_start: usize,
) -> Result<(), Verdict> {
    let base = family.message_offset();
    let bytes = u32::from(variant.length);
    if bytes == 0 || bytes > VARIANT_BYTES_MAX as u32 {
        return Err(Verdict::DropWriteFailed); // Never: for the verifier.
    }
    let records = variant.bytes.as_ptr().cast_mut().cast::<c_void>();
    store(ctx, (base + question_end) as u32, records, bytes)?;
    if query.edns {
        let mut opt = OPT_RECORD;
        let from = opt.as_mut_ptr().cast::<c_void>();
        store(ctx, (base + opt_start) as u32, from, OPT_RECORD.len() as u32)?;
    }
    Ok(())
}

#[inline(always)]
fn swap_macs(ctx: &XdpContext) -> Result<(), Verdict> {
    let ethernet = bytes_at::<ETHERNET_BYTES>(ctx, 0).ok_or(Verdict::DropWriteFailed)?;
    for index in 0..6 {
        ethernet.swap(index, index + 6);
    }
    Ok(())
}

/// Turns the IPv4 and UDP headers round.
#[inline(always)]
fn write_ipv4(ctx: &XdpContext, udp_bytes: usize, message_sum: u32) -> Result<(), Verdict> {
    swap_macs(ctx)?;
    let ip = bytes_at::<IPV4_BYTES>(ctx, ETHERNET_BYTES).ok_or(Verdict::DropWriteFailed)?;
    let total = ((IPV4_BYTES + udp_bytes) as u16).to_be_bytes();
    // No type of service, no identification, may not be fragmented: as Linux answers a small datagram.
    let start = [0x45, 0, total[0], total[1], 0, 0, 0x40, 0, HOPS, PROTOCOL_UDP, 0, 0];
    for (index, value) in start.into_iter().enumerate() {
        ip[index] = value;
    }
    for index in 12..16 {
        ip.swap(index, index + 4);
    }
    let checksum = (!sum_words(ip)).to_be_bytes();
    ip[10] = checksum[0];
    ip[11] = checksum[1];
    let addresses_sum = sum_words(&ip[12..]);
    write_udp::<{ Family::V4.udp_offset() }>(ctx, udp_bytes, message_sum, addresses_sum)
}

/// Turns the IPv6 and UDP headers round.
#[inline(always)]
fn write_ipv6(ctx: &XdpContext, udp_bytes: usize, message_sum: u32) -> Result<(), Verdict> {
    swap_macs(ctx)?;
    let ip = bytes_at::<IPV6_BYTES>(ctx, ETHERNET_BYTES).ok_or(Verdict::DropWriteFailed)?;
    let payload = (udp_bytes as u16).to_be_bytes();
    let start = [0x60, 0, 0, 0, payload[0], payload[1], PROTOCOL_UDP, HOPS];
    for (index, value) in start.into_iter().enumerate() {
        ip[index] = value;
    }
    for index in 8..24 {
        ip.swap(index, index + 16);
    }
    let addresses_sum = sum_words(&ip[8..]);
    write_udp::<{ Family::V6.udp_offset() }>(ctx, udp_bytes, message_sum, addresses_sum)
}

/// Writes the UDP header with a full checksum: what came in may carry the pseudo-header's sum only.
#[inline(always)]
fn write_udp<const OFFSET: usize>(
    ctx: &XdpContext,
    udp_bytes: usize,
    message_sum: u32,
    addresses_sum: u16,
) -> Result<(), Verdict> {
    let udp = bytes_at::<UDP_BYTES>(ctx, OFFSET).ok_or(Verdict::DropWriteFailed)?;
    let client_port = [udp[0], udp[1]];
    let our_port = PORT.to_be_bytes();
    let length = (udp_bytes as u16).to_be_bytes();
    // The pseudo-header has the addresses, the protocol and the length (RFC 768; RFC 8200 §8.1).
    let sum = message_sum
        + u32::from(addresses_sum)
        + u32::from(PROTOCOL_UDP)
        + 2 * udp_bytes as u32
        + u32::from(PORT)
        + u32::from(u16::from_be_bytes(client_port));
    // A sum of zero means "none", so it is sent as its other form (RFC 768).
    let checksum = match !fold_sum(sum) {
        0 => [0xff, 0xff],
        value => value.to_be_bytes(),
    };
    *udp = [
        our_port[0],
        our_port[1],
        client_port[0],
        client_port[1],
        length[0],
        length[1],
        checksum[0],
        checksum[1],
    ];
    Ok(())
}
