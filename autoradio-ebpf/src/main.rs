//! The XDP program that answers DNS queries before the kernel's network stack sees them.
//!
//! In: a frame. Out: the reply sent back through the same interface, or the frame passed up with every byte as it came.
//! One straight line, each step in its own file: `packet` finds the datagram, `query` reads the question, `zone` looks
//! it up, `reply` makes room and writes. Nothing in the packet changes before the last step that can fail.
#![no_std]
#![no_main]

mod maps;
mod packet;
mod query;
mod reply;
mod zone;

use autoradio_common::verdict::Verdict;
use aya_ebpf::bindings::xdp_action;
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;

/// Answers what the zone in the maps knows; passes everything else.
#[xdp]
pub fn autoradio(ctx: XdpContext) -> u32 {
    let verdict = match try_autoradio(&ctx) {
        Ok(()) => Verdict::Answered,
        Err(verdict) => verdict,
    };
    maps::count(verdict);
    match verdict {
        Verdict::Answered => xdp_action::XDP_TX,
        Verdict::DropWriteFailed => xdp_action::XDP_DROP,
        _ => xdp_action::XDP_PASS,
    }
}

#[inline(always)]
fn try_autoradio(ctx: &XdpContext) -> Result<(), Verdict> {
    let datagram = packet::parse(ctx)?;
    let config = zone::config_in_force()?;
    packet::check_addresses(ctx, &datagram, config)?;
    let scratch = maps::scratch().ok_or(Verdict::PassLeaseOver)?;
    let query = query::parse(ctx, &datagram, scratch, config.generation)?;
    let variant = zone::draw(scratch)?;
    reply::send(ctx, &datagram, &query, variant, scratch)
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}

/// The kernel asks for a GPL-compatible licence before it lends some helpers.
// SAFETY: a plain byte string in the section that loaders read; nothing else has this name.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
