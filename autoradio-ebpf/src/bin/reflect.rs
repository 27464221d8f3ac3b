//! Sends every DNS query back as it came, with sender and receiver swapped and QR set: the least that
//! a responder on this machine can do, and so the limit of what one can (bench only).
//!
//! In: a frame. Out: queries to UDP port 53 over IPv4 without options reflected, all else passed.
//! Swapping leaves both checksums right; setting QR is made good in UDP's (RFC 1624).
#![no_std]
#![no_main]

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;

const FRAME_BYTES: usize = 14 + 20 + 8 + 12;
const ETHERTYPE: usize = 12;
const IP: usize = 14;
const IP_PROTOCOL: usize = IP + 9;
const IP_SOURCE: usize = IP + 12;
const UDP: usize = IP + 20;
const UDP_CHECKSUM: usize = UDP + 6;
const FLAGS: usize = UDP + 8 + 2;
const QR: u8 = 0x80;

/// Reflects the frame if it is a query, passes it otherwise.
#[xdp]
pub fn reflect(ctx: XdpContext) -> u32 {
    let (data, end) = (ctx.data(), ctx.data_end());
    if data + FRAME_BYTES > end {
        return xdp_action::XDP_PASS; // The verifier wants this comparison, in this form.
    }
    // SAFETY: the line above keeps the view inside the packet; byte arrays have no alignment.
    let frame = unsafe { &mut *(data as *mut [u8; FRAME_BYTES]) };
    if is_query(frame) {
        turn_round(frame);
        xdp_action::XDP_TX
    } else {
        xdp_action::XDP_PASS
    }
}

#[inline(always)]
fn is_query(frame: &[u8; FRAME_BYTES]) -> bool {
    frame[ETHERTYPE] == 0x08
        && frame[ETHERTYPE + 1] == 0x00
        && frame[IP] == 0x45
        && frame[IP_PROTOCOL] == 17
        && frame[UDP + 2] == 0
        && frame[UDP + 3] == 53
        && frame[FLAGS] & QR == 0
}

#[inline(always)]
fn turn_round(frame: &mut [u8; FRAME_BYTES]) {
    swap::<6>(frame, 0);
    swap::<4>(frame, IP_SOURCE);
    swap::<2>(frame, UDP);
    frame[FLAGS] |= QR;
    let checksum = u16::from_be_bytes([frame[UDP_CHECKSUM], frame[UDP_CHECKSUM + 1]]);
    if checksum != 0 {
        // A word grew by 0x8000, so the sum's complement shrinks by as much.
        let (less, borrowed) = checksum.overflowing_sub(u16::from(QR) << 8);
        // Zero would mean "none", so it is sent as its other form (RFC 768).
        let [high, low] = match less - u16::from(borrowed) {
            0 => [0xff, 0xff],
            sum => sum.to_be_bytes(),
        };
        frame[UDP_CHECKSUM] = high;
        frame[UDP_CHECKSUM + 1] = low;
    }
}

/// Swaps the `N` bytes at `at` with the `N` bytes behind them.
#[inline(always)]
fn swap<const N: usize>(frame: &mut [u8; FRAME_BYTES], at: usize) {
    for index in at..at + N {
        frame.swap(index, index + N);
    }
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
