//! The compiled zone: what every name and type answers, as bytes.
//!
//! Pure. Made by [`compile`](super::compile::compile), read by the userspace responder and, record by record, by the
//! kernel's maps: both send the same bytes because there are no others.

use std::collections::HashMap;
use std::sync::Arc;

use autoradio_common::limits::{SLOTS, VARIANT_BYTES_MAX};

use super::name::WireName;
use super::record::rtype;

/// Response codes in use (RFC 1035 §4.1.1, RFC 6891 §9, RFC 7873 §8).
pub mod rcode {
    /// No error.
    pub const NO_ERROR: u16 = 0;
    /// The query cannot be read.
    pub const FORM_ERR: u16 = 1;
    /// The name does not exist.
    pub const NX_DOMAIN: u16 = 3;
    /// The operation is not supported.
    pub const NOT_IMP: u16 = 4;
    /// Not answered here.
    pub const REFUSED: u16 = 5;
    /// Unknown EDNS version.
    pub const BAD_VERS: u16 = 16;
    /// A server cookie that is not valid, where only it was asked about (RFC 7873 §5.4).
    pub const BAD_COOKIE: u16 = 23;
}

/// One pre-serialised answer: everything between the question and the OPT record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Response code, 0..=15.
    pub rcode: u16,
    /// Records in the answer section.
    pub answers: u16,
    /// Records in the authority section.
    pub authorities: u16,
    /// Records in the additional section, OPT not counted.
    pub additionals: u16,
    /// The records.
    pub bytes: Vec<u8>,
}

/// The answers to one name and type, and how often each is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordSet {
    /// At least one, at most `VARIANTS_PER_NAME_MAX`.
    pub variants: Vec<Answer>,
    /// Variant of each slot.
    pub slots: Box<[u8; SLOTS]>,
}

impl RecordSet {
    /// A set with one answer.
    pub fn fixed(answer: Answer) -> Self {
        Self { variants: vec![answer], slots: Box::new([0; SLOTS]) }
    }

    /// The answer that a draw of one byte picks.
    pub fn pick(&self, draw: u8) -> &Answer {
        &self.variants[usize::from(self.slots[usize::from(draw)])]
    }

    /// Whether every variant fits the kernel's variants.
    pub fn fits_kernel(&self) -> bool {
        self.variants.iter().all(|answer| answer.bytes.len() <= VARIANT_BYTES_MAX)
    }
}

/// What the zone says to a question.
#[derive(Debug, PartialEq, Eq)]
pub enum Lookup<'a> {
    /// The record set of this name and type.
    Found(&'a RecordSet),
    /// The name exists, this type does not.
    NoData(&'a Answer),
    /// The name does not exist.
    NxDomain(&'a Answer),
    /// The name is not of this zone.
    Outside,
}

/// What is answered about one name, by type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameSets {
    /// A.
    pub a: Option<Arc<RecordSet>>,
    /// AAAA.
    pub aaaa: Option<Arc<RecordSet>>,
    /// NS.
    pub ns: Option<Arc<RecordSet>>,
    /// SOA.
    pub soa: Option<Arc<RecordSet>>,
}

impl NameSets {
    /// The set of a type, if the name has it.
    pub fn get(&self, qtype: u16) -> Option<&Arc<RecordSet>> {
        match qtype {
            rtype::A => self.a.as_ref(),
            rtype::AAAA => self.aaaa.as_ref(),
            rtype::NS => self.ns.as_ref(),
            rtype::SOA => self.soa.as_ref(),
            _ => None,
        }
    }
}

/// The zone at one placement. Immutable; a new placement makes a new one.
#[derive(Clone, Debug, PartialEq)]
pub struct Zone {
    /// The zone's name.
    pub apex: WireName,
    /// Version of the zone, as in its SOA.
    pub serial: u32,
    /// Every name that exists, those between others included (RFC 8020). Names of mounts that nobody holds share the
    /// apex's sets.
    pub names: HashMap<WireName, NameSets>,
    /// Answer to ANY for an existing name (RFC 8482 §4.2).
    pub any: RecordSet,
    /// Answer for an existing name without the type.
    pub no_data: Answer,
    /// Answer for a name that does not exist.
    pub nx_domain: Answer,
}

impl Zone {
    /// Looks a question of class IN up; `name` is a wire name in lower case.
    pub fn lookup(&self, name: &[u8], qtype: u16) -> Lookup<'_> {
        if let Some(sets) = self.names.get(name) {
            return match sets.get(qtype) {
                Some(set) => Lookup::Found(set),
                None if qtype == rtype::ANY => Lookup::Found(&self.any),
                None => Lookup::NoData(&self.no_data),
            };
        }
        if self.apex.is_suffix_of(name) {
            Lookup::NxDomain(&self.nx_domain)
        } else {
            Lookup::Outside
        }
    }
}
