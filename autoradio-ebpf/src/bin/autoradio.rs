//! The XDP programs that the daemon embeds: the one that answers, and the one that tells the daemon the time.
#![no_std]
#![no_main]

use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;

/// Answers what the zone in the maps knows; passes everything else.
#[xdp]
pub fn autoradio(ctx: XdpContext) -> u32 {
    autoradio_ebpf::run(&ctx)
}

/// Tells the time; never attached.
#[xdp]
pub fn ticks(ctx: XdpContext) -> u32 {
    autoradio_ebpf::tell_ticks(&ctx)
}

/// The kernel asks for a GPL-compatible licence before it lends some helpers.
// SAFETY: a plain byte string in the section that loaders read; nothing else has this name.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
