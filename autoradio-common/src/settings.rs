//! What the daemon tells the kernel program besides the zone, in one map element.
//!
//! The program may read it while it is written: each word is whole, and no two of them contradict each other for longer
//! than one packet.

use crate::cookie::CookieKeys;
use crate::limits::LOCAL_ADDRESSES_MAX;
use crate::rate::RateLimit;
use crate::zone::NAME_KEY_BYTES;

/// Flag: the draw follows the client's prefix instead of chance.
pub const FLAG_STICKY: u32 = 1;
/// Flag: the program's own time is counted in the latency histogram.
pub const FLAG_HISTOGRAM: u32 = 2;

/// Which queries are shown through the ring buffer.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceFilter {
    /// Monotonic clock, in nanoseconds, until which queries are shown; 0: none are.
    pub until_ns: u64,
    /// Only this name, lower case, zero-filled; all zero: every one.
    pub name_lower: [u8; NAME_KEY_BYTES],
}

/// The settings.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelSettings {
    /// Tick clock, in nanoseconds, until which the program may answer. The daemon pushes it ahead.
    pub lease_until_ns: u64,
    /// Length of the kernel's tick (1 to 10 ms), in nanoseconds. The tick clock is the number of ticks (`jiffies`) times this:
    /// the program reads it in one instruction, where the coarse monotonic clock, from which it differs by a constant, costs a
    /// call. Like that one it stands still while the machine sleeps.
    pub tick_ns: u64,
    /// Chooses the sets of the rates: see [`RateSet`](crate::rate::RateSet).
    pub rate_secret: u64,
    /// Generation of the zone in force, 1 and up; 0: none. Its lowest bit says which half of the maps it is in.
    pub generation: u32,
    /// The flags above.
    pub flags: u32,
    /// Unix time in seconds, for cookies: the kernel has no such clock of its own. As old as the lease at most.
    pub unix_s: u32,
    /// Always zero.
    pub zero: u32,
    /// How fast one client prefix is answered.
    pub rate: RateLimit,
    /// Secrets of the cookies; none: the option is ignored.
    pub cookies: CookieKeys,
    /// What is shown.
    pub trace: TraceFilter,
    /// IPv4 addresses answered on; all-zero entries are unused.
    pub local_v4: [[u8; 4]; LOCAL_ADDRESSES_MAX],
    /// IPv6 addresses answered on; all-zero entries are unused.
    pub local_v6: [[u8; 16]; LOCAL_ADDRESSES_MAX],
}

const _: () = {
    assert!(size_of::<TraceFilter>() == 8 + NAME_KEY_BYTES);
    let plain = 40 + size_of::<RateLimit>() + size_of::<CookieKeys>() + size_of::<TraceFilter>();
    assert!(size_of::<KernelSettings>() == plain + LOCAL_ADDRESSES_MAX * 20);
};

#[cfg(feature = "user")]
// SAFETY: `repr(C)` and plain integers; the size asserted above is the sum of the fields, so there is no padding and every
// bit pattern is valid.
unsafe impl aya::Pod for KernelSettings {}
