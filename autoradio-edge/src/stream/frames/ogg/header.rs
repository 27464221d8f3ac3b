//! Which pages of a logical stream are its headers: what a decoder needs before anything else. Pure.
//!
//! Sources: Vorbis I §4.2, RFC 7845 §3 (Opus), <https://xiph.org/flac/ogg_mapping.html>, Speex manual §7.3, Theora specification §6.

use super::page::Page;

/// Most further headers that a Speex stream is believed to have.
const SPEEX_EXTRA_MAX: u32 = 64;

/// What of a logical stream's headers is still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// So many packets.
    Packets(u32),
    /// All pages before the first on which time has passed: the codec is not known, or does not tell.
    UntilTime,
}

impl Left {
    /// What is to come with and after the first page of a stream.
    pub(super) fn of(first: Page<'_>) -> Self {
        let packet = first.body();
        match () {
            () if packet.starts_with(b"\x01vorbis") || packet.starts_with(b"\x80theora") => {
                Self::Packets(3)
            }
            () if packet.starts_with(b"OpusHead") => Self::Packets(2),
            () if packet.starts_with(b"\x7fFLAC") => flac(packet),
            () if packet.starts_with(b"Speex   ") => speex(packet),
            () => Self::UntilTime,
        }
    }

    /// Whether `page` is one of the headers; if so it counts as come.
    pub(super) fn take(&mut self, page: Page<'_>) -> bool {
        match self {
            Self::Packets(0) => return false,
            Self::Packets(left) => *left = left.saturating_sub(page.packets()),
            Self::UntilTime if page.granule().is_some_and(|granule| granule > 0) => {
                *self = Self::Packets(0);
                return false;
            }
            Self::UntilTime if page.is_last() => *self = Self::Packets(0),
            Self::UntilTime => {}
        }
        true
    }
}

/// `0x7f "FLAC" 1 0`, then how many headers follow, 0 if it is not known.
fn flac(packet: &[u8]) -> Left {
    match packet.get(7..9) {
        Some(&[high, low]) if (high, low) != (0, 0) => {
            Left::Packets(1 + u32::from(u16::from_be_bytes([high, low])))
        }
        _ => Left::UntilTime,
    }
}

/// A header of 80 bytes, then the comments, then as many as the field `extra_headers` says.
fn speex(packet: &[u8]) -> Left {
    let extra = packet
        .get(68..)
        .and_then(|rest| rest.first_chunk())
        .map(|&bytes| u32::from_le_bytes(bytes));
    match extra {
        Some(extra) if extra <= SPEEX_EXTRA_MAX => Left::Packets(2 + extra),
        _ => Left::UntilTime,
    }
}
