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

impl TraceEvent {
    /// An event from the bytes of one element of the ring buffer; `None` where they are not one.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; size_of::<Self>()] = bytes.try_into().ok()?;
        let word = |at: usize| u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
        let mut event = Self {
            at_ns: u64::from_ne_bytes(*bytes.first_chunk()?),
            client: *bytes[8..].first_chunk()?,
            verdict: u32::from_ne_bytes(*bytes[24..].first_chunk()?),
            client_port: word(28),
            qtype: word(30),
            dns_flags: word(32),
            message_bytes: word(34),
            family: bytes[36],
            name_bytes: bytes[37],
            zero: [0; 2],
            name_lower: *bytes[40..].first_chunk()?,
        };
        // The last byte of a key is not the name's.
        event.name_lower[NAME_KEY_BYTES - 1] = 0;
        Some(event)
    }
}

const _: () = {
    assert!(size_of::<TraceEvent>() == 40 + NAME_KEY_BYTES);
    assert!(core::mem::offset_of!(TraceEvent, client) == 8);
    assert!(core::mem::offset_of!(TraceEvent, verdict) == 24);
    assert!(core::mem::offset_of!(TraceEvent, family) == 36);
    assert!(core::mem::offset_of!(TraceEvent, name_lower) == 40);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_read_from_its_bytes() {
        let mut bytes = [0; size_of::<TraceEvent>()];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = index as u8;
        }
        let event = TraceEvent::from_bytes(&bytes).expect("the right size");
        assert_eq!(event.at_ns.to_ne_bytes(), [0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(event.client[..], bytes[8..24]);
        assert_eq!(event.verdict.to_ne_bytes(), [24, 25, 26, 27]);
        assert_eq!(event.message_bytes.to_ne_bytes(), [34, 35]);
        assert_eq!((event.family, event.name_bytes), (36, 37));
        assert_eq!(event.name_lower[..63], bytes[40..103]);
        assert_eq!(TraceEvent::from_bytes(&bytes[1..]), None);
    }
}
