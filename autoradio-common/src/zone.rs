//! The zone as the kernel holds it: names, records, slot tables, variants.
//!
//! All structs are `repr(C)` without padding, of plain integers, so that every bit pattern is valid. Sizes are asserted here
//! and checked again against the maps when they are opened.

use crate::limits::{
    KERNEL_SLOT_TABLES_MAX, KERNEL_VARIANTS_MAX, NAME_BYTES_MAX, SLOTS, VARIANT_BYTES_MAX,
};
use crate::wire::{OPT_RECORD, sum_words};

/// Bytes of a name's key: the wire name of [`crate::limits::NAME_BYTES_MAX`], filled up to whole words.
pub const NAME_KEY_BYTES: usize = 64;

/// A name that the kernel can look up.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NameKey {
    /// Wire name, lower case, with its root label, zero-filled.
    pub bytes: [u8; NAME_KEY_BYTES],
}

impl NameKey {
    /// The key of a wire name in lower case; `None` where the name is longer than the kernel's names.
    ///
    /// Also `None` for a name with a zero byte in a label: the program takes the first zero for the name's end.
    pub fn new(name_lower: &[u8]) -> Option<Self> {
        let zero = name_lower.iter().position(|byte| *byte == 0)?;
        if zero + 1 != name_lower.len() || name_lower.len() > NAME_BYTES_MAX {
            return None;
        }
        let mut bytes = [0; NAME_KEY_BYTES];
        bytes[..name_lower.len()].copy_from_slice(name_lower);
        Some(Self { bytes })
    }

    /// What decides about the name's place in the table: see [`names`](crate::names).
    ///
    /// Over the words up to the name's end; the program makes the same while it reads the name.
    pub fn hash(&self) -> u64 {
        let mut hash = 0;
        for bytes in self.bytes.chunks_exact(8) {
            let mut word = [0; 8];
            word.copy_from_slice(bytes);
            hash = hash_word(hash, u64::from_le_bytes(word));
            if word.contains(&0) {
                break;
            }
        }
        hash
    }
}

/// One step of a name's hash: eight bytes of it in lower case, the first one lowest. A bijection of `hash`.
#[inline(always)]
pub const fn hash_word(hash: u64, word: u64) -> u64 {
    let mixed = (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 32)
}

/// Which half of the maps a generation stands in: 0 or 1.
///
/// Two generations of a zone stand beside each other while one takes over: the odd in one half, the even in the other.
#[inline(always)]
pub const fn half(generation: u32) -> u32 {
    generation & 1
}

/// The answers to one question, drawn by slot.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AnswerRef {
    /// Index of the first variant in the variants map; [`NONE`]: the kernel does not answer this.
    pub variants_first: u16,
    /// Index of the slot table; [`NONE`]: there is one variant.
    pub slot_table: u16,
}

/// No index.
pub const NONE: u16 = u16::MAX;

impl AnswerRef {
    /// Nothing the kernel could answer.
    pub const NOTHING: Self = Self { variants_first: NONE, slot_table: NONE };

    /// Whether the kernel leaves this to userspace.
    #[inline(always)]
    pub const fn is_nothing(&self) -> bool {
        self.variants_first == NONE
    }
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SlotTable {
    /// Variant of each slot, relative to the record's first.
    pub variant: [u8; SLOTS],
}

/// Room of a variant: the records, the OPT record behind them, and what fills the last word.
pub const VARIANT_ROOM: usize = VARIANT_BYTES_MAX + 16;

/// One pre-serialised answer: the records between the question and the OPT record, and an OPT record behind them, so that
/// both are copied at once.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Variant {
    /// Bytes of the records; 0: there is nothing here.
    pub length: u16,
    /// Response code, 0..=15.
    pub rcode: u16,
    /// Ones' complement sum of the records as big-endian 16-bit words, folded, an odd last byte padded with zero.
    pub sum: u16,
    /// The same of the records and the OPT record.
    pub sum_with_opt: u16,
    /// The last eight bytes of a reply's header as they stand on the wire: one question, and the records of the answer,
    /// authority and additional sections, OPT not counted.
    pub counts: [u8; 8],
    /// The records, in which names point at the question (0xC00C) or are written out; then [`OPT_RECORD`]; then zeros.
    pub bytes: [u8; VARIANT_ROOM],
}

impl Variant {
    /// The variant of these records; `counts` of the answer, authority and additional sections.
    ///
    /// `None` where there is none, or more than a variant takes.
    pub fn new(
        rcode: u16,
        [answers, authorities, additionals]: [u16; 3],
        records: &[u8],
    ) -> Option<Self> {
        if records.is_empty() || records.len() > VARIANT_BYTES_MAX {
            return None;
        }
        let end = records.len() + OPT_RECORD.len();
        let mut bytes = [0; VARIANT_ROOM];
        bytes[..records.len()].copy_from_slice(records);
        bytes[records.len()..end].copy_from_slice(&OPT_RECORD);
        let mut counts = [0; 8];
        for (at, count) in counts.chunks_exact_mut(2).zip([1, answers, authorities, additionals]) {
            at.copy_from_slice(&count.to_be_bytes());
        }
        let (sum, sum_with_opt) = (sum_words(records), sum_words(&bytes[..end]));
        Some(Self { length: records.len() as u16, rcode, sum, sum_with_opt, counts, bytes })
    }
}

const _: () = {
    assert!(size_of::<NameKey>() == NAME_KEY_BYTES);
    assert!(size_of::<NameRecord>() == 5 * 4);
    assert!(2 * KERNEL_VARIANTS_MAX <= NONE as u32);
    assert!(2 * KERNEL_SLOT_TABLES_MAX <= NONE as u32);
    assert!(size_of::<ZoneHead>() == NAME_KEY_BYTES + 8);
    assert!(size_of::<SlotTable>() == SLOTS);
    assert!(size_of::<Variant>() == 16 + VARIANT_ROOM);
    assert!(VARIANT_ROOM >= VARIANT_BYTES_MAX + OPT_RECORD.len());
    assert!(NAME_BYTES_MAX < NAME_KEY_BYTES);
};

#[cfg(feature = "user")]
mod user {
    use super::{SlotTable, Variant, ZoneHead};

    // SAFETY: `repr(C)` and plain integers; the size asserted above is the sum of the fields, so there is no padding and
    // every bit pattern is valid.
    unsafe impl aya::Pod for ZoneHead {}
    // SAFETY: as for `ZoneHead`.
    unsafe impl aya::Pod for SlotTable {}
    // SAFETY: as for `ZoneHead`.
    unsafe impl aya::Pod for Variant {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_the_name_filled_with_zeros() {
        let key = NameKey::new(b"\x05radio\x03com\x00").expect("short enough").bytes;
        assert_eq!(&key[..11], b"\x05radio\x03com\x00");
        assert!(key[11..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn a_names_hash_is_over_the_words_up_to_its_end() {
        let hash = |name: &[u8]| NameKey::new(name).expect("short").hash();
        let name = b"\x05radio\x03com\x00";
        assert_ne!(hash(name), hash(b"\x05radio\x03con\x00"));
        assert_ne!(hash(b"\x06sevens\x00"), hash(b"\x07sevens-\x00"));
        let words = [0x6303_6f69_6461_7205_u64, 0x6d6f];
        assert_eq!(hash(name), words.into_iter().fold(0, hash_word), "as the program hashes");
    }

    #[test]
    fn names_that_the_program_cannot_read_have_no_key() {
        let mut long = [b'x'; 64];
        (long[0], long[63]) = (62, 0);
        for (why, name) in [
            ("64 bytes", long.as_slice()),
            ("a zero in a label", b"\x03a\x00b\x00"),
            ("no end", b"\x03com"),
        ] {
            assert_eq!(NameKey::new(name), None, "{why}");
        }
        (long[0], long[62]) = (61, 0);
        assert!(NameKey::new(&long[..63]).is_some());
    }

    #[test]
    fn a_variant_has_its_records_an_opt_record_and_the_sums_of_both() {
        let variant = Variant::new(3, [0, 1, 0], b"\x12\x34\x56").expect("a variant");
        assert_eq!(variant.counts, [0, 1, 0, 0, 0, 1, 0, 0]);
        assert_eq!(variant.bytes[..3], *b"\x12\x34\x56");
        assert_eq!(variant.bytes[3..14], OPT_RECORD);
        assert_eq!(variant.sum, 0x1234 + 0x5600);
        assert_eq!(variant.sum_with_opt, sum_words(&variant.bytes[..14]));
        assert_eq!(Variant::new(0, [0; 3], b""), None);
        assert_eq!(Variant::new(0, [0; 3], &[0; VARIANT_BYTES_MAX + 1]), None);
    }
}
