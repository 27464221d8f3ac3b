//! EDNS options: reads those of the query, makes those of the reply.

use autoradio_common::cookie::{
    CLIENT_COOKIE_BYTES, COOKIE_BYTES, CookieClient, OPTION_COOKIE, Verified, WHOLE_COOKIE_BYTES,
    hash, stamp, verify,
};
use autoradio_common::limits::KERNEL_OPTIONS_MAX;
use autoradio_common::settings::KernelSettings;
use autoradio_common::wire::{OPTION_NSID, OPTION_PADDING, OPTION_SUBNET};
use aya_ebpf::programs::XdpContext;

use crate::headers::get;
use crate::maps::{MESSAGE_ROOM, Scratch, clear};
use crate::packet::{Family, bytes_at};
use crate::query::Query;

/// Bytes of an option's code and length.
const HEADER_BYTES: usize = 4;
/// Bytes of a client subnet before its address (RFC 7871 §6).
const SUBNET_BYTES: usize = 4;
/// Families of client subnets, and the bits of their addresses.
const SUBNET_V4: (u16, u8) = (1, 32);
const SUBNET_V6: (u16, u8) = (2, 128);
/// Bytes of the longest client subnet option.
const SUBNET_OPTION_BYTES_MAX: usize = HEADER_BYTES + SUBNET_BYTES + 16;

/// Header of the commonest option, and mostly the only one: a whole cookie.
const WHOLE_COOKIE_HEADER: [u8; HEADER_BYTES] = {
    let (code, bytes) = (OPTION_COOKIE.to_be_bytes(), (COOKIE_BYTES as u16).to_be_bytes());
    [code[0], code[1], bytes[0], bytes[1]]
};

/// Whether the options from `offset` to `end` of the message are a whole cookie and nothing else; notes it, as [`read`] would.
#[inline(always)]
pub fn is_whole_cookie(
    ctx: &XdpContext,
    family: Family,
    scratch: &mut Scratch,
    offset: usize,
    end: usize,
) -> bool {
    let header = bytes_at::<HEADER_BYTES>(ctx, family.message_offset() + offset);
    if end - offset != COOKIE_OPTION_BYTES || !header.is_some_and(|it| *it == WHOLE_COOKIE_HEADER) {
        return false;
    }
    scratch.given.cookie_at = (offset + HEADER_BYTES) as u32;
    scratch.given.cookie_bytes = COOKIE_BYTES as u32;
    scratch.given.subnet_bytes = 0;
    true
}

/// Reads over the options (RFC 6891 §6.1.2) and notes those that are answered: the first cookie and the first client
/// subnet. `false` where userspace must answer: an option that is malformed, wants another reply, or one too many.
///
/// A keep-alive is ignored as unknown options are: over UDP it has no meaning (RFC 7828 §3.2.1).
#[inline(never)]
pub fn read(scratch: &mut Scratch, mut offset: usize, end: usize) -> bool {
    scratch.given.cookie_bytes = 0;
    scratch.given.subnet_bytes = 0;
    for _ in 0..KERNEL_OPTIONS_MAX {
        if offset == end {
            return true;
        }
        let (code, bytes) = (scratch.word(offset), usize::from(scratch.word(offset + 2)));
        let start = offset + HEADER_BYTES;
        if start + bytes > end {
            return false;
        }
        let known = match code {
            OPTION_COOKIE => note_cookie(scratch, start, bytes),
            OPTION_SUBNET => note_subnet(scratch, start, bytes),
            OPTION_NSID | OPTION_PADDING => false,
            _ => true,
        };
        if !known {
            return false;
        }
        offset = start + bytes;
    }
    offset == end
}

#[inline(always)]
fn note_cookie(scratch: &mut Scratch, start: usize, bytes: usize) -> bool {
    if scratch.given.cookie_bytes != 0 {
        return true;
    }
    scratch.given.cookie_at = start as u32;
    scratch.given.cookie_bytes = bytes as u32;
    bytes == CLIENT_COOKIE_BYTES || WHOLE_COOKIE_BYTES.contains(&bytes)
}

#[inline(always)]
fn note_subnet(scratch: &mut Scratch, start: usize, bytes: usize) -> bool {
    if scratch.given.subnet_bytes != 0 {
        return true;
    }
    scratch.given.subnet_at = (start - HEADER_BYTES) as u32;
    scratch.given.subnet_bytes = (HEADER_BYTES + bytes) as u32;
    is_subnet(scratch, start, bytes)
}

/// Whether a client subnet follows the rules for queries (RFC 7871 §6, §7.1.2).
#[inline(always)]
fn is_subnet(scratch: &Scratch, start: usize, bytes: usize) -> bool {
    if bytes < SUBNET_BYTES {
        return false;
    }
    let family = scratch.word(start);
    let (source, scope) = (scratch.byte(start + 2), scratch.byte(start + 3));
    let bits_max = match family {
        0 => 0,
        family if family == SUBNET_V4.0 => SUBNET_V4.1,
        family if family == SUBNET_V6.0 => SUBNET_V6.1,
        _ => return false,
    };
    let address_bytes = usize::from(source).div_ceil(8);
    if source > bits_max || scope != 0 || bytes != SUBNET_BYTES + address_bytes {
        return false;
    }
    let spare = 0xff >> (source % 8);
    source % 8 == 0 || scratch.byte(start + bytes - 1) & spare == 0
}

/// The options of a reply, as they stand in the scratch space.
///
/// There, as words, so that every part is aligned: bytes 4 to 31 are the cookie option, those from 32 on the client subnet.
/// The two bytes before the first option are the length of all: where the OPT record has its own.
pub struct Options {
    /// Bytes of all options.
    pub bytes: usize,
    /// Where the length stands in the scratch space.
    pub at: usize,
    /// Ones' complement sum of length and options as little-endian words.
    pub sum: u64,
    /// The client has shown that it gets what is sent to its address.
    pub has_valid_cookie: bool,
}

/// The cookie option's place.
pub const COOKIE_AT: usize = 4;
pub const COOKIE_OPTION_BYTES: usize = HEADER_BYTES + COOKIE_BYTES;
/// The client subnet's place.
pub const SUBNET_AT: usize = COOKIE_AT + COOKIE_OPTION_BYTES;

/// Makes the options of the reply: the cookie if there was one and there are keys, then the client subnet as it came, whose
/// scope of 0 says that every network gets this answer (RFC 7871 §7.2.1).
#[inline(always)]
pub fn reply(
    ctx: &XdpContext,
    query: &Query,
    family: Family,
    settings: &KernelSettings,
    scratch: &mut Scratch,
) -> Options {
    let mut options = Options { bytes: 0, at: SUBNET_AT - 2, sum: 0, has_valid_cookie: false };
    if !query.options {
        return options;
    }
    clear(&mut scratch.options);
    if scratch.given.cookie_bytes != 0 && settings.cookies.are_set() {
        options.has_valid_cookie = bake(ctx, scratch, settings, family);
        options.bytes = COOKIE_OPTION_BYTES;
        options.at = COOKIE_AT - 2;
    }
    let subnet_bytes = scratch.given.subnet_bytes as usize;
    if subnet_bytes != 0 {
        copy_subnet(scratch, subnet_bytes);
        options.bytes += subnet_bytes;
    }
    if options.bytes != 0 {
        let length = u64::from((options.bytes as u16).to_be());
        scratch.options[(options.at) / 8] |= (length << (8 * (options.at % 8))).to_le();
        for word in scratch.options {
            options.sum += (word & 0xffff_ffff) + (word >> 32);
        }
    }
    options.bytes = scratch.seen.forgotten(options.bytes);
    options.at = scratch.seen.forgotten(options.at);
    options
}

#[inline(always)]
fn copy_subnet(scratch: &mut Scratch, bytes: usize) {
    for index in 0..SUBNET_OPTION_BYTES_MAX / 8 {
        let left = bytes.wrapping_sub(8 * index) as i64;
        if left <= 0 {
            break;
        }
        let mut word = scratch.eight(scratch.given.subnet_at as usize + 8 * index);
        if left < 8 {
            word &= (1 << (8 * left & 63)) - 1;
        }
        scratch.options[SUBNET_AT / 8 + index] = word.to_le();
    }
}

/// The query's cookie as words, those behind a client cookie zero where it is no server cookie of our length.
///
/// From the packet: the copy in the scratch space was written a moment ago in other words, which the processor would have
/// to wait for.
#[inline(always)]
fn cookie_words(ctx: &XdpContext, scratch: &Scratch, family: Family) -> [u64; 3] {
    let at = family.message_offset() + (scratch.given.cookie_at as usize & (MESSAGE_ROOM - 1));
    if scratch.given.cookie_bytes as usize == COOKIE_BYTES
        && let Some(cookie) = bytes_at::<COOKIE_BYTES>(ctx, at)
    {
        return [0, 8, 16].map(|at| u64::from_le_bytes(get(cookie, at)));
    }
    // Never missing: `read` has checked it.
    let client = bytes_at::<CLIENT_COOKIE_BYTES>(ctx, at).map_or([0; _], |it| *it);
    [u64::from_le_bytes(client), 0, 0]
}

/// Makes the cookie option. Says whether the query's cookie was valid.
///
/// No function of its own: on processors whose returns the kernel makes safe (SRSO), each costs about 10 ns.
#[inline(always)]
fn bake(
    ctx: &XdpContext,
    scratch: &mut Scratch,
    settings: &KernelSettings,
    family: Family,
) -> bool {
    let client = match family {
        Family::V4 => CookieClient::V4(scratch.seen.client[0] as u32),
        Family::V6 => CookieClient::V6(scratch.seen.client),
    };
    let now_s = settings.unix_s;
    let words = cookie_words(ctx, scratch, family);
    // No stamp of zeros is of our version, so what is too short or too long is not valid.
    let verified = verify(&settings.cookies, words, client, now_s);
    let header = u64::from(u32::from_le_bytes(WHOLE_COOKIE_HEADER));
    scratch.options[0] = (header << 32).to_le();
    scratch.options[1] = words[0].to_le();
    let [mut first, mut second] = [words[1], words[2]];
    if verified != Verified::Fresh {
        let stamp = stamp(now_s);
        first = u64::from_le_bytes(stamp);
        let made = hash(settings.cookies.current, words[0].to_le_bytes(), stamp, client);
        second = u64::from_le_bytes(made);
    }
    scratch.options[2] = first.to_le();
    scratch.options[3] = second.to_le();
    verified != Verified::Not
}
