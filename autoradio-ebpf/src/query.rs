//! Reads the query: header, question, OPT record. Only what the kernel answers gets through.

use core::ffi::c_void;

use autoradio_common::limits::{
    DNS_UDP_BYTES_MAX, DNS_UDP_BYTES_PLAIN, KERNEL_QUERY_BYTES_MAX, NAME_BYTES_MAX,
};
use autoradio_common::verdict::Verdict;
use autoradio_common::wire::{
    CLASS_IN, FLAG_RESPONSE, FLAG_TRUNCATED, HEADER_BYTES, MASK_OPCODE, OPT_RECORD, TYPE_OPT,
};
use autoradio_common::zone::hash_word;
use aya_ebpf::helpers::generated::bpf_xdp_load_bytes;
use aya_ebpf::programs::XdpContext;

use crate::headers::get;
use crate::maps::{KEY_WORDS, MESSAGE_AT, Scratch, clear, forgotten};
use crate::options;
use crate::packet::{Datagram, Family, bytes_at};

/// A query the kernel can answer, if its zone has the name.
pub struct Query {
    /// Generation of the zone that answers.
    pub generation: u32,
    /// Flags of the header.
    pub flags: u16,
    /// Bytes of the wire name, 1 to 63.
    pub name_bytes: usize,
    /// Hash of the name's key.
    pub name_hash: u64,
    /// Sum of the name as it stands in the packet, as little-endian halves of words.
    pub name_sum: u64,
    /// Type asked for.
    pub qtype: u16,
    /// The query had an OPT record.
    pub edns: bool,
    /// That had options.
    pub options: bool,
    /// Largest reply the client takes, in bytes of DNS message.
    pub reply_bytes_max: usize,
}

/// Words of a message that is short.
const SHORT_WORDS: usize = 16;
/// A word of ones.
const ONES: u64 = 0x0101_0101_0101_0101;
/// The highest bit of each byte.
const HIGHS: u64 = ONES << 7;
/// A query's last four counts where it has one question and perhaps an OPT record: little-endian.
const COUNTS: u64 = 1 << 8;
const COUNTS_OPT: u64 = COUNTS | 1 << 56;

/// Reads the query into the scratch space and its question into the key.
#[inline(always)]
pub fn parse(
    ctx: &XdpContext,
    datagram: &Datagram,
    scratch: &mut Scratch,
    generation: u32,
) -> Result<Query, Verdict> {
    load(ctx, datagram, scratch)?;
    let flags = scratch.word(2);
    scratch.seen.dns_flags = u32::from(flags);
    let counts = u64::from_le(scratch.message[(MESSAGE_AT + 4) / 8]);
    let plain = flags & (FLAG_RESPONSE | MASK_OPCODE | FLAG_TRUNCATED) == 0;
    if !plain || (counts != COUNTS && counts != COUNTS_OPT) {
        return Err(Verdict::PassNotQuery);
    }
    let (name_bytes, name_sum, name_hash) = parse_name(scratch)?;
    let question_end = HEADER_BYTES + name_bytes + 4;
    if question_end > datagram.message_bytes || scratch.word(question_end - 2) != CLASS_IN {
        return Err(Verdict::PassQuestion);
    }
    let qtype = scratch.word(question_end - 4);
    scratch.seen.qtype = u32::from(qtype);
    let mut query = Query {
        generation,
        flags,
        name_bytes,
        name_hash,
        name_sum,
        qtype,
        edns: counts == COUNTS_OPT,
        options: false,
        reply_bytes_max: usize::from(DNS_UDP_BYTES_PLAIN),
    };
    if query.edns {
        parse_opt(ctx, datagram, scratch, question_end, &mut query)?;
    } else if question_end != datagram.message_bytes {
        return Err(Verdict::PassNotQuery);
    }
    query.edns = scratch.seen.forgotten(usize::from(query.edns)) != 0;
    query.options = scratch.seen.forgotten(usize::from(query.options)) != 0;
    query.reply_bytes_max = scratch.seen.forgotten(query.reply_bytes_max);
    Ok(query)
}

/// Copies the message into the scratch space: a short one word by word, since the helper's copy of a few bytes costs more
/// than all the rest of reading them.
#[inline(always)]
fn load(ctx: &XdpContext, datagram: &Datagram, scratch: &mut Scratch) -> Result<(), Verdict> {
    let bytes = forgotten(&mut scratch.seen.message_bytes, datagram.message_bytes as u32);
    if bytes == 0 || bytes > KERNEL_QUERY_BYTES_MAX as u32 {
        return Err(Verdict::PassLength); // Known since `packet::parse`, but not to the verifier.
    }
    let copied = match datagram.family {
        Family::V4 => load_words::<{ Family::V4.message_offset() }>(ctx, scratch, bytes),
        Family::V6 => load_words::<{ Family::V6.message_offset() }>(ctx, scratch, bytes),
    };
    if copied.is_some() {
        return Ok(());
    }
    let offset = datagram.family.message_offset() as u32;
    let buffer = scratch.message.as_mut_ptr().cast::<c_void>().wrapping_byte_add(MESSAGE_AT);
    // SAFETY: the buffer is longer than `KERNEL_QUERY_BYTES_MAX`; the helper checks the packet's side.
    let result = unsafe { bpf_xdp_load_bytes(ctx.ctx, offset, buffer, bytes) };
    if result == 0 { Ok(()) } else { Err(Verdict::PassLength) }
}

/// Copies a message of `bytes` in words, from [`MESSAGE_AT`] bytes before it on; the last one overlaps the one before, since
/// the frame may end with it. `None` where the message is too long for that.
#[inline(always)]
fn load_words<const OFFSET: usize>(
    ctx: &XdpContext,
    scratch: &mut Scratch,
    bytes: u32,
) -> Option<()> {
    let last = bytes as usize + MESSAGE_AT - 8;
    if last >= 8 * SHORT_WORDS {
        return None;
    }
    for index in 0..SHORT_WORDS {
        if 8 * index >= last {
            break;
        }
        let word = bytes_at::<8>(ctx, OFFSET - MESSAGE_AT + 8 * index)?;
        scratch.message[index] = u64::from_ne_bytes(*word);
    }
    let last = last & (8 * SHORT_WORDS - 1);
    let word = *bytes_at::<8>(ctx, OFFSET - MESSAGE_AT + last)?;
    let to = scratch.message.as_mut_ptr().cast::<u8>();
    // SAFETY: the mask keeps the offset inside the buffer, which is longer by more than a word.
    unsafe { to.add(last).cast::<[u8; 8]>().write(word) };
    Some(())
}

/// Reads the name up to its first zero, eight bytes at a time: lower case into the key; its length, its sum and its hash.
///
/// A name in the zone has no zero before its end, so where the key is found the labels are right too. Where it is not,
/// `zone` walks them.
#[inline(always)]
fn parse_name(scratch: &mut Scratch) -> Result<(usize, u64, u64), Verdict> {
    let (mut name_bytes, mut sum, mut hash) = (0, 0, 0);
    clear(&mut scratch.key);
    for index in 0..KEY_WORDS {
        let word = u64::from_le(scratch.message[(MESSAGE_AT + HEADER_BYTES) / 8 + index]);
        // The lowest bit set marks the first zero byte; bits above it may be wrong.
        let zeros = word.wrapping_sub(ONES) & !word & HIGHS;
        // All bits below it; all there are where there is no zero.
        let before = (zeros & zeros.wrapping_neg()).wrapping_sub(1);
        let kept = word & before;
        sum += (kept & 0xffff_ffff) + (kept >> 32);
        let lower = lower_case(kept);
        scratch.key[index] = lower.to_le();
        hash = hash_word(hash, lower);
        if zeros != 0 {
            // One for each byte up to the zero.
            name_bytes = 8 * index as u64 + ((before & ONES).wrapping_mul(ONES) >> 56);
            break;
        }
    }
    let name_bytes = forgotten(&mut scratch.seen.name_bytes, name_bytes as u32) as usize;
    if name_bytes == 0 || name_bytes > NAME_BYTES_MAX {
        scratch.seen.name_bytes = 0;
        return Err(Verdict::PassQuestion);
    }
    Ok((name_bytes, sum, hash))
}

/// Makes ASCII letters small. The lengths of labels are below all letters, so they stay.
#[inline(always)]
const fn lower_case(word: u64) -> u64 {
    let low = word & !HIGHS;
    let from_a = low + ONES * (0x80 - b'A' as u64);
    let above_z = low + ONES * (0x7f - b'Z' as u64);
    let upper = from_a & !above_z & !word & HIGHS;
    word | upper >> 2
}

/// What must stand at the start of an OPT record, as a little-endian word: the root's name, the type, version 0; and where.
const OPT_START: u64 = (TYPE_OPT.to_be() as u64) << 8;
const OPT_START_MASK: u64 = 0x00ff_0000_00ff_ffff;

/// Reads the OPT record, which must be the message's last bytes.
///
/// From the packet: see `options::cookie_words`.
#[inline(always)]
fn parse_opt(
    ctx: &XdpContext,
    datagram: &Datagram,
    scratch: &mut Scratch,
    start: usize,
    query: &mut Query,
) -> Result<(), Verdict> {
    let (family, end, options) =
        (datagram.family, datagram.message_bytes, start + OPT_RECORD.len());
    if options > end {
        return Err(Verdict::PassEdns);
    }
    let opt = bytes_at::<{ OPT_RECORD.len() }>(ctx, family.message_offset() + start);
    let opt = opt.ok_or(Verdict::PassEdns)?;
    let first = u64::from_le_bytes(get(opt, 0));
    let options_bytes = usize::from(u16::from_be_bytes(get(opt, 9)));
    if first & OPT_START_MASK != OPT_START || options + options_bytes != end {
        return Err(Verdict::PassEdns);
    }
    if options_bytes != 0 {
        query.options = true;
        let read = options::is_whole_cookie(ctx, family, scratch, options, end)
            || options::read(scratch, options, end);
        if !read {
            return Err(Verdict::PassEdns);
        }
    }
    let bytes = ((first >> 24) as u16).swap_bytes();
    query.reply_bytes_max = usize::from(bytes.clamp(DNS_UDP_BYTES_PLAIN, DNS_UDP_BYTES_MAX));
    Ok(())
}
