//! The program on one query again and again, for `benches/kernel.rs`: `BPF_PROG_TEST_RUN` leaves each run what the run
//! before made of the packet, so the query is put back first. What that costs, `restore` does alone.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

use core::arch::asm;
use core::ffi::c_void;

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::helpers::generated::{bpf_xdp_adjust_head, bpf_xdp_store_bytes};
use aya_ebpf::macros::{map, xdp};
use aya_ebpf::maps::Array;
use aya_ebpf::programs::XdpContext;

/// Longest query.
const FRAME_BYTES_MAX: usize = 512;

/// A query's frame.
#[repr(C)]
pub struct Frame {
    /// Bytes in use.
    length: u32,
    bytes: [u8; FRAME_BYTES_MAX],
}

#[map]
static BARRIER: Array<u64> = Array::with_max_entries(1, 0);
#[map]
static FRAME: Array<Frame> = Array::with_max_entries(1, 0);

/// Puts the query back and answers it.
#[xdp]
pub fn autoradio(ctx: XdpContext) -> u32 {
    if put_back(&ctx).is_none() {
        return xdp_action::XDP_ABORTED;
    }
    autoradio_ebpf::run(&ctx)
}

/// Tells the daemon's code the time.
#[xdp]
pub fn ticks(ctx: XdpContext) -> u32 {
    autoradio_ebpf::tell_ticks(&ctx)
}

/// Puts the query back.
#[xdp]
pub fn restore(ctx: XdpContext) -> u32 {
    if put_back(&ctx).is_none() { xdp_action::XDP_ABORTED } else { xdp_action::XDP_PASS }
}

/// Does nothing: what every run costs, and how fast the machine is at the time.
#[xdp]
pub fn empty(_ctx: XdpContext) -> u32 {
    xdp_action::XDP_PASS
}

/// `None` where it cannot be.
#[inline(always)]
fn put_back(ctx: &XdpContext) -> Option<()> {
    let frame = FRAME.get(0)?;
    let length = frame.length;
    if length == 0 || length > FRAME_BYTES_MAX as u32 {
        return None;
    }
    // The verifier lets nothing be taken from one of them but the other, so the compiler may not reorder this.
    let now = core::hint::black_box(ctx.data_end() - ctx.data());
    // Where the program makes its room there is room again: at the head.
    let shrink = now as i32 - length as i32;
    // SAFETY: the context is the program's own.
    if unsafe { bpf_xdp_adjust_head(ctx.ctx, shrink) } != 0 {
        return None;
    }
    let bytes = frame.bytes.as_ptr().cast_mut().cast::<c_void>();
    // SAFETY: `length` was checked against the buffer; the helper checks the packet's side.
    if unsafe { bpf_xdp_store_bytes(ctx.ctx, 0, bytes, length) } != 0 {
        return None;
    }
    // A barrier: the processor may not still be writing the packet when the program reads it, as it would not be if the
    // packet had come from a network card.
    let barrier = BARRIER.get_ptr_mut(0)?;
    // SAFETY: the map's element lives as long as the program; the instruction writes that and nothing else.
    unsafe { asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) barrier, in(reg) u64::from(length)) };
    Some(())
}

/// The kernel asks for a GPL-compatible licence before it lends some helpers.
// SAFETY: a plain byte string in the section that loaders read; nothing else has this name.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
