//! The XDP program that answers DNS queries before the kernel's network stack sees them.
//!
//! In: a frame. Out: the reply sent back through the same interface, or the frame passed up with every byte as it came.
//! One straight line, each step in its own file: `packet` finds the datagram, `query` reads the question, `options` those
//! of EDNS, `zone` looks the answer up, `client` judges who asks, `reply` makes room and writes, with `headers`; `watch` shows it. Nothing
//! in the packet changes before the last step that can fail.
#![no_std]

mod client;
mod headers;
mod maps;
mod options;
mod packet;
mod query;
mod reply;
mod watch;
mod zone;

use autoradio_common::rate::Rate;
use autoradio_common::settings::KernelSettings;
use autoradio_common::verdict::{Fate, Verdict};
use aya_ebpf::bindings::xdp_action;
use aya_ebpf::helpers::generated::bpf_jiffies64;
use aya_ebpf::programs::XdpContext;

use maps::Scratch;
use packet::Datagram;

/// Answers what the zone in the maps knows; passes everything else. The result is the XDP action.
#[inline(always)]
pub fn run(ctx: &XdpContext) -> u32 {
    let verdict = match packet::parse(ctx) {
        Ok(datagram) => answer(ctx, &datagram),
        Err(verdict) => verdict,
    };
    maps::count(verdict);
    match verdict.fate() {
        Fate::Answered => xdp_action::XDP_TX,
        Fate::Dropped => xdp_action::XDP_DROP,
        Fate::Passed => xdp_action::XDP_PASS,
    }
}

/// Writes the number of the kernel's ticks over the start of the frame: how the daemon, which runs this on a frame of its own,
/// learns the time on the clock that the program reads.
#[inline(always)]
pub fn tell_ticks(ctx: &XdpContext) -> u32 {
    let Some(to) = packet::bytes_at::<8>(ctx, 0) else { return xdp_action::XDP_ABORTED };
    // SAFETY: a helper without arguments.
    *to = unsafe { bpf_jiffies64() }.to_ne_bytes();
    xdp_action::XDP_PASS
}

/// The way of a datagram to port 53, looked at from outside.
#[inline(always)]
fn answer(ctx: &XdpContext, datagram: &Datagram) -> Verdict {
    let Some((settings, scratch)) = maps::settings().zip(maps::scratch()) else {
        return Verdict::PassLeaseOver;
    };
    let watch = watch::start(settings, datagram, scratch);
    let verdict = match try_answer(ctx, datagram, settings, watch.now_ns, scratch) {
        Ok(verdict) | Err(verdict) => verdict,
    };
    watch.end(settings, verdict, scratch);
    verdict
}

/// `Ok` where the packet became a reply, `Err` where it did not.
#[inline(always)]
fn try_answer(
    ctx: &XdpContext,
    datagram: &Datagram,
    settings: &KernelSettings,
    now_ns: u64,
    scratch: &mut Scratch,
) -> Result<Verdict, Verdict> {
    packet::check_addresses(ctx, datagram, settings, scratch)?;
    // SAFETY: a reference is valid for reads. Once, whatever the compiler thinks: the daemon may switch at any moment, and what
    // is looked up in one half may not be missed in the other.
    let generation = unsafe { core::ptr::read_volatile(&raw const settings.generation) };
    if generation == 0 || now_ns >= settings.lease_until_ns {
        return Err(Verdict::PassLeaseOver);
    }
    let query = query::parse(ctx, datagram, scratch, generation)?;
    let mut answer = zone::look_up(&query, datagram.family, settings, scratch)?;
    let options = options::reply(ctx, &query, datagram.family, settings, scratch);
    if settings.rate.is_on() && !options.has_valid_cookie {
        match client::rate(datagram.family, settings, now_ns, scratch) {
            Rate::Answer => {}
            Rate::Slip => answer.kind = zone::KIND_SLIP,
            Rate::Drop => return Err(Verdict::DropRateLimited),
        }
    }
    reply::send(ctx, datagram, &query, &answer, &options, scratch).map(zone::verdict)
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}
