//! Makes room, then turns the query's frame into the reply's. After the room is made nothing may fail.
//!
//! Sums are those of the Internet checksum (RFC 1071), which do not depend on the order of bytes as long as all words have
//! the same: here little-endian, in 64 bits that cannot overflow, folded once at the end.

use core::ffi::c_void;

use autoradio_common::limits::{NAME_BYTES_MAX, VARIANT_BYTES_MAX};
use autoradio_common::verdict::Verdict;
use autoradio_common::wire::{
    CLASS_IN, FLAG_AUTHORITATIVE, FLAG_RESPONSE, FLAG_TRUNCATED, FLAGS_ECHOED, HEADER_BYTES,
    OPT_RECORD, sum_words,
};
use autoradio_common::zone::VARIANT_ROOM;
use aya_ebpf::helpers::generated::{bpf_xdp_adjust_head, bpf_xdp_adjust_tail, bpf_xdp_store_bytes};
use aya_ebpf::programs::XdpContext;

use crate::headers::{Asked, Message, fold, write_v4, write_v6};
use crate::maps::{MESSAGE_AT, OPTIONS_WORDS, Scratch};
use crate::options::{COOKIE_AT, COOKIE_OPTION_BYTES, Options, SUBNET_AT};
use crate::packet::{Datagram, Family, UDP_BYTES, bytes_at};
use crate::query::Query;
use crate::zone::{Answer, KIND_TRUNCATED};

/// Bytes of the question behind the name: type and class.
const QUESTION_END_BYTES: usize = 4;
/// Where the length of the options stands in an OPT record.
const OPT_LENGTH_AT: usize = 9;
/// One more record in the additional section, in the counts as a little-endian word.
const ONE_ADDITIONAL: u64 = 1 << 56;
/// The counts of a reply without records.
const COUNTS_NONE: u64 = 1 << 8;

/// The reply's message, laid out.
struct Layout {
    /// Bytes up to the end of the question.
    question_end: usize,
    /// Bytes of records behind it.
    records: usize,
    /// Bytes of the whole.
    message: usize,
}

impl Layout {
    #[inline(always)]
    fn new(query: &Query, records: usize, options: &Options) -> Self {
        let question_end = HEADER_BYTES + query.name_bytes + QUESTION_END_BYTES;
        let opt = if query.edns { OPT_RECORD.len() + options.bytes } else { 0 };
        Self { question_end, records, message: question_end + records + opt }
    }
}

/// Writes the reply over the query, without the records where they are over the client's size. The result is the kind of
/// answer in the end.
#[inline(always)]
pub fn send(
    ctx: &XdpContext,
    datagram: &Datagram,
    query: &Query,
    answer: &Answer,
    options: &Options,
    scratch: &mut Scratch,
) -> Result<usize, Verdict> {
    let mut kind = scratch.seen.forgotten(answer.kind);
    let whole = Layout::new(query, usize::from(answer.variant.length), options);
    if kind < KIND_TRUNCATED && whole.message > query.reply_bytes_max {
        kind = KIND_TRUNCATED;
    }
    kind = scratch.seen.forgotten(kind);
    let truncated = kind >= KIND_TRUNCATED;
    let layout = if truncated { Layout::new(query, 0, options) } else { whole };
    let frame_bytes = datagram.family.message_offset() + layout.message;
    let message = Message::new(query, answer, options, truncated, scratch);
    let udp_bytes = UDP_BYTES + layout.message;
    let moved = match datagram.family {
        Family::V4 => {
            let asked = Asked::over_v4(ctx).ok_or(Verdict::PassNoRoom)?;
            let moved = make_room(ctx, frame_bytes)?;
            write_v4(ctx, &asked, datagram, &message, udp_bytes)?;
            moved
        }
        Family::V6 => {
            let asked = Asked::over_v6(ctx).ok_or(Verdict::PassNoRoom)?;
            let moved = make_room(ctx, frame_bytes)?;
            write_v6(ctx, &asked, datagram, &message, udp_bytes)?;
            moved
        }
    };
    if moved {
        copy_question(ctx, datagram.family, &layout, scratch)?;
    }
    write_rest(ctx, datagram.family, query, answer, options, &layout, scratch)?;
    Ok(kind)
}

/// Resizes the frame to `frame_bytes`. Says whether its start has moved, so that nothing stands where it stood.
///
/// Drivers differ in how much room they leave at either end, so both are tried. First the head: what is in front of the
/// question is written anew anyway, and the kernel clears a tail that grows, which costs more than to copy the question.
#[inline(always)]
fn make_room(ctx: &XdpContext, frame_bytes: usize) -> Result<bool, Verdict> {
    let growth = frame_bytes as i32 - (ctx.data_end() - ctx.data()) as i32;
    // SAFETY: the context is the program's own; the helper changes nothing when it fails.
    if growth > 0 && unsafe { bpf_xdp_adjust_head(ctx.ctx, -growth) } == 0 {
        return Ok(true);
    }
    // SAFETY: as for the head.
    let resized = unsafe { bpf_xdp_adjust_tail(ctx.ctx, growth) } == 0;
    if resized { Ok(false) } else { Err(Verdict::PassNoRoom) }
}

/// Words of the longest question: a name, its type and its class.
const QUESTION_WORDS: usize = (NAME_BYTES_MAX + QUESTION_END_BYTES).div_ceil(8);

/// Copies the question behind the new header, word by word. The last may go on behind it, where more is written yet: a frame
/// that has grown has records there.
#[inline(always)]
fn copy_question(
    ctx: &XdpContext,
    family: Family,
    layout: &Layout,
    scratch: &Scratch,
) -> Result<(), Verdict> {
    let start = family.message_offset() + HEADER_BYTES;
    for index in 0..QUESTION_WORDS {
        if HEADER_BYTES + 8 * index >= layout.question_end {
            break;
        }
        let word = bytes_at::<8>(ctx, start + 8 * index).ok_or(Verdict::DropWriteFailed)?;
        *word = scratch.message[(MESSAGE_AT + HEADER_BYTES) / 8 + index].to_ne_bytes();
    }
    Ok(())
}

/// Copies bytes into the packet. The frame has been resized, so there is no way back if this fails.
#[inline(always)]
fn store(ctx: &XdpContext, offset: u32, from: *mut c_void, bytes: u32) -> Result<(), Verdict> {
    // SAFETY: callers pass a buffer of at least `bytes`; the helper checks the packet's side.
    let result = unsafe { bpf_xdp_store_bytes(ctx.ctx, offset, from, bytes) };
    if result == 0 { Ok(()) } else { Err(Verdict::DropWriteFailed) }
}

impl Message {
    #[inline(always)]
    fn new(
        query: &Query,
        answer: &Answer,
        options: &Options,
        truncated: bool,
        scratch: &Scratch,
    ) -> Self {
        let variant = answer.variant;
        let echoed = query.flags & FLAGS_ECHOED;
        let mut flags = FLAG_RESPONSE | FLAG_AUTHORITATIVE | echoed;
        let (mut counts, mut records, mut odd) = (COUNTS_NONE, 0, false);
        if truncated {
            flags |= FLAG_TRUNCATED;
        } else {
            flags |= variant.rcode;
            counts = u64::from_le_bytes(variant.counts);
            odd = variant.length % 2 == 1;
        }
        if query.edns {
            counts += ONE_ADDITIONAL;
            records = if truncated { sum_words(&OPT_RECORD) } else { variant.sum_with_opt };
        } else if !truncated {
            records = variant.sum;
        }
        // Everything behind the name. An odd start swaps the bytes of each word, and so does their order.
        let rest = u64::from(query.qtype) + u64::from(CLASS_IN) + u64::from(records);
        let mut rest = swapped_if(query.name_bytes % 2 == 0, fold(rest));
        if options.bytes != 0 {
            // The length stands at an odd distance from the end of the records.
            let swapped = (query.name_bytes % 2 == 1) == odd;
            rest += swapped_if(swapped, fold(options.sum));
        }
        let id = (scratch.message[0].to_le() >> (8 * MESSAGE_AT)) as u16;
        let sum = u64::from(id)
            + u64::from(flags.to_be())
            + (counts & 0xffff_ffff)
            + (counts >> 32)
            + query.name_sum
            + rest;
        Self { id, flags, counts, sum }
    }
}

#[inline(always)]
fn swapped_if(swapped: bool, sum: u16) -> u64 {
    u64::from(if swapped { sum.swap_bytes() } else { sum })
}

/// Copies the records, the OPT record and the options behind the question.
#[inline(always)]
fn write_rest(
    ctx: &XdpContext,
    family: Family,
    query: &Query,
    answer: &Answer,
    options: &Options,
    layout: &Layout,
    scratch: &mut Scratch,
) -> Result<(), Verdict> {
    let start = family.message_offset() + layout.question_end;
    let opt_bytes = if query.edns { OPT_RECORD.len() } else { 0 };
    let bytes = layout.records + opt_bytes;
    if layout.records != 0 {
        if bytes > VARIANT_BYTES_MAX + OPT_RECORD.len() {
            return Err(Verdict::DropWriteFailed); // Never: for the verifier.
        }
        write_records(ctx, start, &answer.variant.bytes, bytes)?;
    } else if query.edns {
        let mut opt = [0; 16];
        opt[..OPT_RECORD.len()].copy_from_slice(&OPT_RECORD);
        let [low, high] = [0, 8].map(|at| u64::from_le_bytes(eight(&opt, at)));
        scratch.opt = [low.to_le(), high.to_le()];
        let opt = scratch.opt.as_mut_ptr().cast::<c_void>();
        store(ctx, start as u32, opt, OPT_RECORD.len() as u32)?;
    }
    if options.bytes == 0 {
        return Ok(());
    }
    let length_at = start + layout.records + OPT_LENGTH_AT;
    if options.at == COOKIE_AT - 2 && options.bytes == COOKIE_OPTION_BYTES {
        return write_cookie(ctx, length_at, scratch);
    }
    let bytes = options.bytes + 2;
    // Each place by itself: the verifier adds the largest of both to the largest of both lengths.
    let (at, bytes_max) = if options.at == COOKIE_AT - 2 {
        (COOKIE_AT - 2, 8 * OPTIONS_WORDS - (COOKIE_AT - 2))
    } else {
        (SUBNET_AT - 2, 8 * OPTIONS_WORDS - (SUBNET_AT - 2))
    };
    if bytes > bytes_max {
        return Err(Verdict::DropWriteFailed); // Never: for the verifier.
    }
    let from = scratch.options.as_mut_ptr().cast::<c_void>().wrapping_byte_add(at);
    store(ctx, length_at as u32, from, bytes as u32)
}

/// Bytes of the words that a cookie option stands in, with the length of all options and two zeros before it.
const COOKIE_ROOM: usize = COOKIE_AT + COOKIE_OPTION_BYTES;

/// Writes the length of the options and a cookie that is the only one, word by word. The two zeros before go over those that
/// the OPT record ends in before its length.
#[inline(always)]
fn write_cookie(ctx: &XdpContext, length_at: usize, scratch: &Scratch) -> Result<(), Verdict> {
    let at = (length_at - (COOKIE_AT - 2)) & 2047; // More than it can be: for the verifier.
    let room = bytes_at::<COOKIE_ROOM>(ctx, at).ok_or(Verdict::DropWriteFailed)?;
    for (index, to) in room.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        *to = scratch.options[index].to_ne_bytes();
    }
    Ok(())
}

const _: () = assert!(COOKIE_ROOM.is_multiple_of(8) && OPT_RECORD[7] | OPT_RECORD[8] == 0);

/// Words of records that are short: those of eight addresses with the OPT record.
const SHORT_WORDS: usize = 17;

/// Copies `bytes` of records to the frame's offset `start`, few of them word by word: see `query::load`.
#[inline(always)]
fn write_records(
    ctx: &XdpContext,
    start: usize,
    records: &[u8; VARIANT_ROOM],
    bytes: usize,
) -> Result<(), Verdict> {
    let from = records.as_ptr();
    // The last word overlaps the one before, so that nothing is written behind the end.
    let last = bytes.wrapping_sub(8);
    if last >= 8 * SHORT_WORDS {
        return store(ctx, start as u32, from.cast_mut().cast::<c_void>(), bytes as u32);
    }
    for index in 0..SHORT_WORDS {
        if 8 * index >= last {
            break;
        }
        write_word(ctx, start + 8 * index, from, 8 * index)?;
    }
    write_word(ctx, start + last, from, last)
}

/// Copies eight bytes of records. Offsets are masked for the verifier, to more than either can be.
#[inline(always)]
fn write_word(ctx: &XdpContext, to: usize, from: *const u8, at: usize) -> Result<(), Verdict> {
    let word = bytes_at::<8>(ctx, to & 511).ok_or(Verdict::DropWriteFailed)?;
    // SAFETY: callers give an offset below that of the last of the short words, which is in the records' room.
    *word = unsafe { from.add(at & 255).cast::<[u8; 8]>().read() };
    Ok(())
}

const _: () = assert!(VARIANT_ROOM >= 255 + 8);

fn eight(bytes: &[u8; 16], at: usize) -> [u8; 8] {
    let mut eight = [0; 8];
    eight.copy_from_slice(&bytes[at..at + 8]);
    eight
}
