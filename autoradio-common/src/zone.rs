//! The zone as the kernel holds it: keys, records, slot tables, variants, and the program's settings.
//!
//! All structs are `repr(C)` without padding, of plain integers, so that every bit pattern is valid and the kernel's hash
//! of a key covers defined bytes only. Sizes are asserted here and checked again against the maps when they are opened.

use crate::limits::{LOCAL_ADDRESSES_MAX, SLOTS, VARIANT_BYTES_MAX};

/// Bytes of the name in a key: [`crate::limits::NAME_BYTES_MAX`] and at least one zero.
pub const KEY_NAME_BYTES: usize = 64;

/// What a question asks, under one generation of the zone.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AnswerKey {
    /// Generation of the zone this key belongs to, 1 and up.
    pub generation: u32,
    /// Query type in network byte order.
    pub qtype_be: [u8; 2],
    /// Always zero.
    pub zero: [u8; 2],
    /// Wire name, lower case, with its root label, zero-filled.
    pub name_lower: [u8; KEY_NAME_BYTES],
}

/// Where the answers to one question stand.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswerRecord {
    /// Index of the first variant in the variants map.
    pub variants_first: u32,
    /// Index of the slot table, which names variants relative to `variants_first`.
    pub slot_table: u32,
}

/// Bytes of a name's key: the wire name of [`crate::limits::NAME_BYTES_MAX`], and one byte that names the zone's half.
pub const NAME_KEY_BYTES: usize = 64;

/// A name in one half of the zone's maps.
///
/// Two generations of a zone stand beside each other while one takes over: the odd in one half, the even in the other.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NameKey {
    /// Wire name, lower case, with its root label, zero-filled; the last byte is 1 and the half's number, 0 or 1.
    pub bytes: [u8; NAME_KEY_BYTES],
}

/// The answers to one question, drawn by slot.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswerRef {
    /// Index of the first variant in the variants map; [`NONE`]: the kernel does not answer this.
    pub variants_first: u32,
    /// Index of the slot table; [`NONE`]: there is one variant.
    pub slot_table: u32,
}

/// No index.
pub const NONE: u32 = u32::MAX;

impl AnswerRef {
    /// Nothing the kernel could answer.
    pub const NOTHING: Self = Self { variants_first: NONE, slot_table: NONE };
}

/// What is answered about one name, by type: one look-up whatever is asked.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameRecord {
    /// A.
    pub a: AnswerRef,
    /// AAAA.
    pub aaaa: AnswerRef,
    /// NS.
    pub ns: AnswerRef,
    /// SOA.
    pub soa: AnswerRef,
    /// Every other type that is a record's: no data, with the SOA.
    pub no_data: AnswerRef,
}

/// What holds for one half as a whole.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZoneHead {
    /// The zone's name, lower case, zero-filled.
    pub apex: [u8; NAME_KEY_BYTES],
    /// Bytes of it, 1 to 63.
    pub apex_bytes: u32,
    /// The answer to a name in the zone that is not in the map: NXDOMAIN, with the SOA. [`AnswerRef::NOTHING`] while the
    /// map lacks some name of the zone, so that userspace decides.
    pub nx_domain: AnswerRef,
}

/// 256 slots that name variants in proportion to their weights. A draw of one byte picks a slot.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotTable {
    /// Variant of each slot, relative to the record's first.
    pub variant: [u8; SLOTS],
}

/// One pre-serialised answer: the bytes between the question and the OPT record.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variant {
    /// Bytes in use.
    pub length: u16,
    /// Ones' complement sum of the bytes as big-endian 16-bit words, folded, an odd last byte padded with zero.
    pub sum: u16,
    /// Records in the answer section.
    pub answers: u16,
    /// Records in the authority section.
    pub authorities: u16,
    /// Records in the additional section, OPT not counted.
    pub additionals: u16,
    /// Response code, 0..=15.
    pub rcode: u16,
    /// The records; names in them point at the question (0xC00C) or are written out.
    pub bytes: [u8; VARIANT_BYTES_MAX],
}

/// Settings of the program, in one map element.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelConfig {
    /// Boot-time clock, in nanoseconds, until which the program may answer. The daemon pushes it ahead.
    pub lease_until_boot_ns: u64,
    /// Generation of the zone in force; 0: none.
    pub generation: u32,
    /// Always zero.
    pub zero: u32,
    /// IPv4 addresses answered on; all-zero entries are unused.
    pub local_v4: [[u8; 4]; LOCAL_ADDRESSES_MAX],
    /// IPv6 addresses answered on; all-zero entries are unused.
    pub local_v6: [[u8; 16]; LOCAL_ADDRESSES_MAX],
}

const _: () = {
    assert!(size_of::<AnswerKey>() == 4 + 2 + 2 + KEY_NAME_BYTES);
    assert!(size_of::<AnswerRecord>() == 8);
    assert!(size_of::<NameKey>() == NAME_KEY_BYTES);
    assert!(size_of::<NameRecord>() == 5 * 8);
    assert!(size_of::<ZoneHead>() == NAME_KEY_BYTES + 12);
    assert!(size_of::<SlotTable>() == SLOTS);
    assert!(size_of::<Variant>() == 12 + VARIANT_BYTES_MAX);
    assert!(size_of::<KernelConfig>() == 16 + LOCAL_ADDRESSES_MAX * 20);
};

#[cfg(feature = "user")]
mod user {
    use super::{
        AnswerKey, AnswerRecord, KernelConfig, NameKey, NameRecord, SlotTable, Variant, ZoneHead,
    };

    // SAFETY: `repr(C)` and plain integers; the size asserted above is the sum of the fields, so there is no padding and
    // every bit pattern is valid.
    unsafe impl aya::Pod for AnswerKey {}
    // SAFETY: as for `AnswerKey`.
    unsafe impl aya::Pod for AnswerRecord {}
    // SAFETY: as for `AnswerKey`.
    unsafe impl aya::Pod for NameKey {}
    // SAFETY: as for `AnswerKey`.
    unsafe impl aya::Pod for NameRecord {}
    // SAFETY: as for `AnswerKey`.
    unsafe impl aya::Pod for ZoneHead {}
    // SAFETY: as for `AnswerKey`.
    unsafe impl aya::Pod for SlotTable {}
    // SAFETY: as for `AnswerKey`.
    unsafe impl aya::Pod for Variant {}
    // SAFETY: as for `AnswerKey`.
    unsafe impl aya::Pod for KernelConfig {}
}
