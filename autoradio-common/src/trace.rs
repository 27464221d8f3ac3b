//! One query as the kernel program saw it, for `radioctl dns trace`.

use crate::zone::NAME_KEY_BYTES;

/// An element of the ring buffer.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceEvent {
    /// Monotonic clock at the time, in nanoseconds.
    pub at_ns: u64,
    /// Client's address; IPv4 in the first four bytes, the rest zero.
    pub client: [u8; 16],
    /// Number of the [`Verdict`](crate::verdict::Verdict).
    pub verdict: u32,
    /// Client's port.
    pub client_port: u16,
    /// Query type; 0 where the question was not read.
    pub qtype: u16,
    /// Flags of the DNS header; 0 where it was not read.
    pub dns_flags: u16,
    /// Bytes of the DNS message.
    pub message_bytes: u16,
    /// 4 or 6.
    pub family: u8,
    /// Bytes of the name; 0 where it was not read, or is too long.
    pub name_bytes: u8,
    /// Always zero.
    pub zero: [u8; 2],
    /// The name asked for, lower case, zero-filled.
    pub name_lower: [u8; NAME_KEY_BYTES],
}

const _: () = assert!(size_of::<TraceEvent>() == 40 + NAME_KEY_BYTES);

#[cfg(feature = "user")]
// SAFETY: `repr(C)` and plain integers; the size asserted above is the sum of the fields, so there is no padding and every
// bit pattern is valid.
unsafe impl aya::Pod for TraceEvent {}
