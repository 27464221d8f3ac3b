//! Reads the query: header, question, EDNS. Only what the kernel answers gets through.

use core::ffi::c_void;

use autoradio_common::limits::{
    DNS_UDP_BYTES_MAX, DNS_UDP_BYTES_PLAIN, KERNEL_OPTIONS_MAX, KERNEL_QUERY_BYTES_MAX,
    NAME_BYTES_MAX,
};
use autoradio_common::verdict::Verdict;
use autoradio_common::wire::{
    CLASS_IN, FLAG_RESPONSE, FLAG_TRUNCATED, HEADER_BYTES, LABEL_BYTES_MAX, MASK_OPCODE,
    OPT_RECORD, OPTIONS_ANSWERED, TYPE_OPT,
};
use autoradio_common::zone::KEY_NAME_BYTES;
use aya_ebpf::helpers::generated::bpf_xdp_load_bytes;
use aya_ebpf::programs::XdpContext;

use crate::maps::{QUERY_BUFFER_BYTES, Scratch};
use crate::packet::Datagram;

/// A query the kernel can answer, if its zone has the record.
pub struct Query {
    /// Flags of the header.
    pub flags: u16,
    /// Bytes of the wire name, 1 to 63.
    pub name_bytes: usize,
    /// Ones' complement sum of the name as it stands in the packet.
    pub name_sum: u32,
    /// Type asked for.
    pub qtype: u16,
    /// The query had an OPT record.
    pub edns: bool,
    /// Largest reply the client takes, in bytes of DNS message.
    pub reply_bytes_max: usize,
}

/// Reads a byte of the query at a checked offset.
///
/// `offset` is masked to the buffer, because the verifier forgets bounds that were proven on another register.
#[inline(always)]
fn byte(query: &[u8; QUERY_BUFFER_BYTES], offset: usize) -> u8 {
    let inside = offset & (QUERY_BUFFER_BYTES - 1);
    // SAFETY: the mask keeps the index below the buffer's length, which is a power of two.
    unsafe { *query.as_ptr().add(inside) }
}

#[inline(always)]
fn word(query: &[u8; QUERY_BUFFER_BYTES], offset: usize) -> u16 {
    u16::from_be_bytes([byte(query, offset), byte(query, offset + 1)])
}

/// Reads the query into the scratch space and its question into the key.
#[inline(always)]
pub fn parse(
    ctx: &XdpContext,
    datagram: &Datagram,
    scratch: &mut Scratch,
    generation: u32,
) -> Result<Query, Verdict> {
    load(ctx, datagram, scratch)?;
    let query = &scratch.query;
    let flags = word(query, 2);
    let (questions, additionals) = (word(query, 4), word(query, 10));
    let plain = flags & (FLAG_RESPONSE | MASK_OPCODE | FLAG_TRUNCATED) == 0;
    if !plain || questions != 1 || word(query, 6) != 0 || word(query, 8) != 0 || additionals > 1 {
        return Err(Verdict::PassNotQuery);
    }
    let (name_bytes, name_sum) = parse_name(scratch)?;
    let query = &scratch.query;
    let question_end = HEADER_BYTES + name_bytes + 4;
    if question_end > datagram.message_bytes || word(query, question_end - 2) != CLASS_IN {
        return Err(Verdict::PassQuestion);
    }
    let edns = additionals == 1;
    let reply_bytes_max = if edns {
        parse_edns(query, question_end, datagram.message_bytes)?
    } else if question_end == datagram.message_bytes {
        DNS_UDP_BYTES_PLAIN
    } else {
        return Err(Verdict::PassNotQuery);
    };
    let qtype = word(query, question_end - 4);
    scratch.key.generation = generation;
    scratch.key.qtype_be = qtype.to_be_bytes();
    scratch.key.zero = [0; 2];
    let reply_bytes_max = usize::from(reply_bytes_max);
    Ok(Query { flags, name_bytes, name_sum, qtype, edns, reply_bytes_max })
}

#[inline(always)]
fn load(ctx: &XdpContext, datagram: &Datagram, scratch: &mut Scratch) -> Result<(), Verdict> {
    let bytes = datagram.message_bytes as u32;
    if bytes == 0 || bytes > KERNEL_QUERY_BYTES_MAX as u32 {
        return Err(Verdict::PassLength); // Known since `packet::parse`; the verifier wants it here.
    }
    let offset = datagram.family.message_offset() as u32;
    let buffer = scratch.query.as_mut_ptr().cast::<c_void>();
    // SAFETY: the buffer is longer than `KERNEL_QUERY_BYTES_MAX`; the helper checks the packet's side.
    let result = unsafe { bpf_xdp_load_bytes(ctx.ctx, offset, buffer, bytes) };
    if result == 0 { Ok(()) } else { Err(Verdict::PassLength) }
}

/// Walks the question's name: lower case into the key, length and checksum as the result.
#[inline(always)]
fn parse_name(scratch: &mut Scratch) -> Result<(usize, u32), Verdict> {
    scratch.key.name_lower = [0; KEY_NAME_BYTES];
    let mut label_left = 0u8;
    let mut sum = 0u32;
    for index in 0..NAME_BYTES_MAX {
        let original = scratch.query[HEADER_BYTES + index];
        sum += u32::from(original) << (if index % 2 == 0 { 8 } else { 0 });
        if label_left == 0 {
            if original == 0 {
                return Ok((index + 1, sum));
            }
            if original > LABEL_BYTES_MAX {
                return Err(Verdict::PassQuestion); // A compression pointer has no place here.
            }
            label_left = original;
            scratch.key.name_lower[index] = original;
        } else {
            label_left -= 1;
            let upper = original.wrapping_sub(b'A') < 26;
            scratch.key.name_lower[index] = original | (u8::from(upper) << 5);
        }
    }
    Err(Verdict::PassQuestion)
}

/// Reads the OPT record, which must be the message's last bytes. The result is the client's reply size, clamped.
#[inline(always)]
fn parse_edns(query: &[u8; QUERY_BUFFER_BYTES], start: usize, end: usize) -> Result<u16, Verdict> {
    let options = start + OPT_RECORD.len();
    if options > end {
        return Err(Verdict::PassEdns);
    }
    let version = byte(query, start + 6);
    let options_bytes = usize::from(word(query, start + 9));
    let opt = byte(query, start) == 0 && word(query, start + 1) == TYPE_OPT;
    if !opt || version != 0 || options + options_bytes != end {
        return Err(Verdict::PassEdns);
    }
    check_options(query, options, end)?;
    Ok(word(query, start + 3).clamp(DNS_UDP_BYTES_PLAIN, DNS_UDP_BYTES_MAX))
}

/// Reads over options that are ignored (RFC 6891 §6.1.2); an option that wants a reply goes up to userspace.
#[inline(always)]
fn check_options(
    query: &[u8; QUERY_BUFFER_BYTES],
    mut offset: usize,
    end: usize,
) -> Result<(), Verdict> {
    for _ in 0..KERNEL_OPTIONS_MAX {
        if offset == end {
            return Ok(());
        }
        if offset + 4 > end {
            return Err(Verdict::PassEdns);
        }
        let code = word(query, offset);
        let [nsid, subnet, keepalive, padding] = OPTIONS_ANSWERED;
        if code == nsid || code == subnet || code == keepalive || code == padding {
            return Err(Verdict::PassEdns);
        }
        offset += 4 + usize::from(word(query, offset + 2));
    }
    if offset == end { Ok(()) } else { Err(Verdict::PassEdns) }
}
