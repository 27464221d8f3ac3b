//! Looks the answer up: name, type, slot, variant.

use autoradio_common::limits::{SLOTS, VARIANT_BYTES_MAX};
use autoradio_common::prefix::sticky_draw;
use autoradio_common::settings::{FLAG_STICKY, KernelSettings};
use autoradio_common::verdict::Verdict;
use autoradio_common::wire::{LABEL_BYTES_MAX, TYPE_OPT};
use autoradio_common::zone::{AnswerRef, NONE, NameRecord, Variant, ZoneHead, half};

use crate::client;
use crate::maps::{self, KEY_WORDS, Scratch};
use crate::packet::Family;
use crate::query::Query;

const TYPE_A: u16 = 1;
const TYPE_NS: u16 = 2;
const TYPE_SOA: u16 = 6;
const TYPE_AAAA: u16 = 28;
/// Types of questions and of records about the message itself, such as ANY, AXFR and TSIG (RFC 6895 §3.1).
const META_TYPES: core::ops::RangeInclusive<u16> = 128..=255;
/// Most labels in a name of 63 bytes, the root among them.
const LABELS_MAX: usize = 32;

/// What is answered.
pub struct Answer {
    /// The records.
    pub variant: &'static Variant,
    /// What kind of answer it is: one of the constants below.
    pub kind: usize,
}

/// With records.
pub const KIND_RECORDS: usize = 0;
/// The name exists, the type does not.
pub const KIND_NO_DATA: usize = 1;
/// The name does not exist.
pub const KIND_NX_DOMAIN: usize = 2;
/// Truncated: over the client's size. From here on without records.
pub const KIND_TRUNCATED: usize = 3;
/// Truncated: the client's network is over its rate.
pub const KIND_SLIP: usize = 4;

/// What to count when an answer is sent.
#[inline(always)]
pub fn verdict(kind: usize) -> Verdict {
    match kind {
        KIND_RECORDS => Verdict::Answered,
        KIND_NO_DATA => Verdict::AnsweredNoData,
        KIND_NX_DOMAIN => Verdict::AnsweredNxDomain,
        KIND_TRUNCATED => Verdict::AnsweredTruncated,
        _ => Verdict::AnsweredSlip,
    }
}

/// Looks up what is answered to the name in the scratch space.
#[inline(always)]
pub fn look_up(
    query: &Query,
    family: Family,
    settings: &KernelSettings,
    scratch: &mut Scratch,
) -> Result<Answer, Verdict> {
    let qtype = query.qtype;
    if qtype == 0 || qtype == TYPE_OPT || META_TYPES.contains(&qtype) {
        return Err(Verdict::PassNoRecord);
    }
    let Query { generation, name_hash, name_bytes, .. } = *query;
    let Some(record) = maps::record(generation, name_hash, name_bytes, scratch) else {
        return look_around(query, scratch);
    };
    let reference = of_type(record, qtype);
    let variant = draw(reference, family, settings, scratch)?;
    let has_records = (variant.counts[2] | variant.counts[3]) != 0;
    Ok(Answer { variant, kind: if has_records { KIND_RECORDS } else { KIND_NO_DATA } })
}

#[inline(always)]
fn of_type(record: &NameRecord, qtype: u16) -> &AnswerRef {
    match qtype {
        TYPE_A => &record.a,
        TYPE_AAAA => &record.aaaa,
        TYPE_NS => &record.ns,
        TYPE_SOA => &record.soa,
        _ => &record.no_data,
    }
}

/// Draws one of the variants.
#[inline(always)]
fn draw(
    reference: &AnswerRef,
    family: Family,
    settings: &KernelSettings,
    scratch: &mut Scratch,
) -> Result<&'static Variant, Verdict> {
    let mut index = u32::from(reference.variants_first);
    if reference.slot_table != NONE {
        let table = maps::slot_table(u32::from(reference.slot_table)).ok_or(Verdict::PassNoRecord)?;
        let slot = if settings.flags & FLAG_STICKY != 0 {
            usize::from(sticky_draw(client::prefix(family, scratch)))
        } else {
            usize::from(scratch.draw())
        };
        index = index.wrapping_add(u32::from(table.variant[slot & (SLOTS - 1)]));
    }
    variant(index)
}

/// A variant that is there. [`NONE`] is no index of one.
#[inline(always)]
fn variant(index: u32) -> Result<&'static Variant, Verdict> {
    let variant = maps::variant(index).ok_or(Verdict::PassNoRecord)?;
    let length = usize::from(variant.length);
    if length == 0 || length > VARIANT_BYTES_MAX {
        return Err(Verdict::PassNoRecord);
    }
    Ok(variant)
}

/// The name is not in the map: either it is another zone's, or it does not exist.
#[inline(always)]
fn look_around(query: &Query, scratch: &mut Scratch) -> Result<Answer, Verdict> {
    let head = maps::zone(half(query.generation)).ok_or(Verdict::PassNoRecord)?;
    match place(scratch, head, query.name_bytes) {
        PLACE_INSIDE => {}
        PLACE_NOWHERE => return Err(Verdict::PassQuestion),
        _ => return Err(Verdict::PassNoRecord),
    }
    let variant = variant(u32::from(head.nx_domain.variants_first))?;
    Ok(Answer { variant, kind: KIND_NX_DOMAIN })
}

/// In another zone.
const PLACE_OUTSIDE: u32 = 0;
/// In our zone.
const PLACE_INSIDE: u32 = 1;
/// No name: its labels do not end where its first zero is.
const PLACE_NOWHERE: u32 = 2;

/// Walks the labels of the name in the scratch space, whose first zero is its last byte.
#[inline(never)]
fn place(scratch: &mut Scratch, head: &ZoneHead, name_bytes: usize) -> u32 {
    let start = (name_bytes as u32).wrapping_sub(head.apex_bytes);
    let start = scratch.seen.forgotten(start as usize);
    let mut offset = 0;
    let mut inside = 0;
    for _ in 0..LABELS_MAX {
        inside |= u32::from(offset == start);
        let label = scratch.name_eight(offset) as u8;
        if label == 0 {
            let ends = inside != 0 && ends_in_apex(scratch, head, start);
            return if ends { PLACE_INSIDE } else { PLACE_OUTSIDE };
        }
        offset = scratch.seen.forgotten(offset + 1 + usize::from(label));
        if label > LABEL_BYTES_MAX || offset >= name_bytes {
            return PLACE_NOWHERE;
        }
    }
    PLACE_NOWHERE
}

/// Whether the name goes on from `start` like the zone's name, word by word.
#[inline(always)]
fn ends_in_apex(scratch: &Scratch, head: &ZoneHead, start: usize) -> bool {
    for index in 0..KEY_WORDS {
        let left = (head.apex_bytes as usize).wrapping_sub(8 * index);
        let mut apex = [0; 8];
        apex.copy_from_slice(&head.apex[8 * index..8 * index + 8]);
        let differs = u64::from_le_bytes(apex) ^ scratch.name_eight(start + 8 * index);
        if left <= 8 {
            // Behind the zone's name there is nothing to compare.
            return differs << (8 * (8 - left) & 63) == 0;
        }
        if differs != 0 {
            return false;
        }
    }
    false
}
