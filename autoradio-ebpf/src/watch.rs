//! Shows what the program does: traced queries, and how long each took.

use autoradio_common::limits::KERNEL_LATENCY_BUCKETS;
use autoradio_common::settings::{FLAG_HISTOGRAM, KernelSettings};
use autoradio_common::trace::TraceEvent;
use autoradio_common::verdict::Verdict;
use aya_ebpf::helpers::generated::{bpf_jiffies64, bpf_ktime_get_coarse_ns, bpf_ktime_get_ns};

use crate::maps::{self, KEY_WORDS, Scratch};
use crate::packet::{Datagram, Family};

/// One run, watched.
pub struct Watch {
    /// The tick clock at its start.
    pub now_ns: u64,
    /// The exact time, if it is wanted; otherwise 0.
    start_ns: u64,
    client_port: u16,
    message_bytes: u16,
    family: u8,
}

/// Starts to watch.
#[inline(always)]
pub fn start(settings: &KernelSettings, datagram: &Datagram, scratch: &mut Scratch) -> Watch {
    let exact = settings.flags & FLAG_HISTOGRAM != 0;
    // SAFETY: helpers without arguments.
    let now_ns = unsafe { bpf_jiffies64() }.wrapping_mul(settings.tick_ns);
    // SAFETY: as above.
    let start_ns = if exact { unsafe { bpf_ktime_get_ns() } } else { 0 };
    scratch.seen.clear();
    let family = if matches!(datagram.family, Family::V4) { 4 } else { 6 };
    let (client_port, message_bytes) = (datagram.client_port, datagram.message_bytes as u16);
    Watch { now_ns, start_ns, client_port, message_bytes, family }
}

impl Watch {
    /// Ends with a verdict.
    #[inline(always)]
    pub fn end(&self, settings: &KernelSettings, verdict: Verdict, scratch: &Scratch) {
        if settings.trace.until_ns != 0 {
            trace(self, settings, verdict, scratch);
        }
        if self.start_ns != 0 {
            // SAFETY: a helper without arguments.
            let took_ns = unsafe { bpf_ktime_get_ns() }.wrapping_sub(self.start_ns);
            let took_ns = if took_ns >> 32 == 0 { took_ns as u32 } else { u32::MAX };
            maps::count_latency((took_ns | 1).ilog2());
        }
    }
}

const _: () = assert!(KERNEL_LATENCY_BUCKETS == u32::BITS as usize);

/// Shows the query, unless nobody looks any more, another name is wanted, or nobody reads fast enough.
#[inline(never)]
fn trace(watch: &Watch, settings: &KernelSettings, verdict: Verdict, scratch: &Scratch) {
    // SAFETY: a helper without arguments.
    let at_ns = unsafe { bpf_ktime_get_coarse_ns() };
    if at_ns >= settings.trace.until_ns {
        return;
    }
    let seen = &scratch.seen;
    let mut name = [0; KEY_WORDS];
    if seen.name_bytes != 0 {
        name = scratch.key;
    }
    let (mut filters, mut differs) = (0, 0);
    for (index, word) in name.iter().enumerate() {
        let mut wanted = [0; 8];
        wanted.copy_from_slice(&settings.trace.name_lower[8 * index..8 * index + 8]);
        filters |= u64::from_ne_bytes(wanted);
        differs |= u64::from_ne_bytes(wanted) ^ word;
    }
    if filters != 0 && differs != 0 {
        return;
    }
    let Some(mut event) = maps::trace_event() else { return };
    let mut client = [0; 16];
    client[..8].copy_from_slice(&seen.client[0].to_ne_bytes());
    client[8..].copy_from_slice(&seen.client[1].to_ne_bytes());
    let mut name_lower = [0; 8 * KEY_WORDS];
    for (bytes, word) in name_lower.chunks_exact_mut(8).zip(name) {
        bytes.copy_from_slice(&word.to_ne_bytes());
    }
    event.write(TraceEvent {
        at_ns,
        client,
        verdict: verdict as u32,
        client_port: watch.client_port,
        qtype: seen.qtype as u16,
        dns_flags: seen.dns_flags as u16,
        message_bytes: watch.message_bytes,
        family: watch.family,
        name_bytes: seen.name_bytes as u8,
        zero: [0; 2],
        name_lower,
    });
    event.submit(0);
}
