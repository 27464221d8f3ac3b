//! The table of the kernel's names: where a name stands, and how it is found there.
//!
//! A hash table in an array, whose elements the kernel finds without a call. A name's [`home`] is the place that its hash
//! names; it stands there or at one of the next places, [`KERNEL_NAME_PROBES_MAX`] in all, and no place between is empty or
//! has its [`tag`]. So whoever looks for a name goes from its home to the first place that is empty or has its tag, and
//! compares that one name. The daemon sees to it (`dataplane/places.rs`).

use crate::limits::{KERNEL_NAME_HOMES, KERNEL_NAME_PROBES_MAX};
use crate::zone::{AnswerRef, NAME_KEY_BYTES, NameKey, NameRecord};

/// Places of one half of the table: the last home has as many behind it as all others.
pub const NAME_PLACES: u32 = KERNEL_NAME_HOMES + KERNEL_NAME_PROBES_MAX - 1;

/// The tag of a place without a name.
pub const EMPTY: u32 = 0;

/// The place where a name of this hash is looked for first: 0 up to [`KERNEL_NAME_HOMES`]. It grows with the hash.
#[inline(always)]
pub const fn home(hash: u64) -> u32 {
    (hash >> (u64::BITS - KERNEL_NAME_HOMES.ilog2())) as u32
}

/// What tells names apart before they are compared: 31 bits of the hash, never [`EMPTY`].
#[inline(always)]
pub const fn tag(hash: u64) -> u32 {
    hash as u32 | 1
}

/// What one place of the table holds. What is read of each name stands first, so that it is often in one cache line.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamedRecord {
    /// The tag of the name's hash; [`EMPTY`]: there is no name here.
    pub tag: u32,
    /// What is answered about the name.
    pub record: NameRecord,
    /// The name, which its tag alone does not prove.
    pub key: NameKey,
}

impl NamedRecord {
    /// A place without a name, as the kernel makes it.
    pub const NOBODY: Self = {
        let nothing = AnswerRef { variants_first: 0, slot_table: 0 };
        Self {
            tag: EMPTY,
            record: NameRecord {
                a: nothing,
                aaaa: nothing,
                ns: nothing,
                soa: nothing,
                no_data: nothing,
            },
            key: NameKey { bytes: [0; NAME_KEY_BYTES] },
        }
    };
}

const _: () = {
    assert!(KERNEL_NAME_HOMES.is_power_of_two());
    assert!(size_of::<NamedRecord>() == 4 + size_of::<NameRecord>() + NAME_KEY_BYTES);
    // The name is compared by whole words.
    assert!(size_of::<NamedRecord>().is_multiple_of(8));
    assert!(core::mem::offset_of!(NamedRecord, key).is_multiple_of(8));
};

#[cfg(feature = "user")]
mod user {
    use super::NamedRecord;

    // SAFETY: `repr(C)` and plain integers; the size asserted above is the sum of the fields, so there is no padding and
    // every bit pattern is valid.
    unsafe impl aya::Pod for NamedRecord {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hash_has_a_home_and_a_tag_and_homes_grow_with_hashes() {
        for (hash, want) in [
            (0, (0, 1)),
            (u64::MAX, (KERNEL_NAME_HOMES - 1, u32::MAX)),
            (1 << 63, (KERNEL_NAME_HOMES / 2, 1)),
            ((1 << 63) - 1, (KERNEL_NAME_HOMES / 2 - 1, u32::MAX)),
            (0x1234_5678, (0, 0x1234_5679)),
        ] {
            assert_eq!((home(hash), tag(hash)), want, "{hash:#x}");
        }
        assert_ne!(tag(0), EMPTY, "the root's name is not found in an empty place");
    }
}
