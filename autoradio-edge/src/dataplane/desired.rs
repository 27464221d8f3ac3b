//! What the kernel's maps should hold for a zone. Pure.

use autoradio_common::limits::NAME_BYTES_MAX;
use autoradio_common::wire::sum_words;
use autoradio_common::zone::{AnswerKey, KEY_NAME_BYTES, SlotTable, Variant};

use crate::dns::{Answer, RecordSet, WireName, Zone, rtype};

/// One record of the kernel's zone: a key without its generation, and everything the key leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredRecord {
    name_lower: [u8; KEY_NAME_BYTES],
    qtype: u16,
    /// Which variant each draw gives.
    pub slots: SlotTable,
    /// The answers.
    pub variants: Vec<Variant>,
}

impl DesiredRecord {
    fn new(name: &WireName, qtype: u16, set: &RecordSet) -> Option<Self> {
        let wire = name.as_bytes();
        if wire.len() > NAME_BYTES_MAX || !set.fits_kernel() {
            return None;
        }
        let mut name_lower = [0; KEY_NAME_BYTES];
        name_lower[..wire.len()].copy_from_slice(wire);
        let variants = set.variants.iter().map(variant).collect();
        Some(Self { name_lower, qtype, slots: SlotTable { variant: *set.slots }, variants })
    }

    /// The record's key under a generation.
    pub fn key(&self, generation: u32) -> AnswerKey {
        let qtype_be = self.qtype.to_be_bytes();
        AnswerKey { generation, qtype_be, zero: [0; 2], name_lower: self.name_lower }
    }
}

fn variant(answer: &Answer) -> Variant {
    let mut variant = Variant {
        length: answer.bytes.len() as u16,
        sum: sum_words(&answer.bytes),
        answers: answer.answers,
        authorities: answer.authorities,
        additionals: answer.additionals,
        rcode: answer.rcode,
        bytes: [0; _],
    };
    variant.bytes[..answer.bytes.len()].copy_from_slice(&answer.bytes);
    variant
}

/// The records that the kernel answers: the apex's addresses, which is what resolvers ask all day.
///
/// A record that does not fit the maps (a name over 63 bytes, an answer over 512) is left to userspace.
pub fn desired_records(zone: &Zone) -> Vec<DesiredRecord> {
    let set = zone.names.get(&zone.apex).and_then(|sets| sets.a.as_ref());
    set.and_then(|set| DesiredRecord::new(&zone.apex, rtype::A, set)).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::{ZoneSettings, compile};
    use crate::placement::place;
    use crate::placement::tests::one_node_snapshot;

    fn desired(domain: &str) -> Vec<DesiredRecord> {
        let settings = ZoneSettings::new(domain, 3, &[]).expect("settings");
        desired_records(&compile(&place(&one_node_snapshot()), &settings))
    }

    #[test]
    fn the_key_is_the_lower_case_wire_name_filled_with_zeros() {
        let records = desired("Radio.Example.com");
        let key = records[0].key(9);
        assert_eq!((key.generation, key.qtype_be, key.zero), (9, [0, 1], [0, 0]));
        assert_eq!(&key.name_lower[..20], b"\x05radio\x07example\x03com\x00\x00");
        assert!(key.name_lower[20..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn the_variant_holds_the_zones_bytes_and_their_sum() {
        let records = desired("radio.example.com");
        let variant = records[0].variants[0];
        assert_eq!((variant.length, variant.answers, variant.rcode), (16, 1, 0));
        assert_eq!(&variant.bytes[12..16], [198, 18, 0, 1]);
        assert_eq!(variant.sum, sum_words(&variant.bytes[..16]));
    }

    #[test]
    fn names_too_long_for_the_kernel_are_left_to_userspace() {
        let label = "x".repeat(30);
        assert_eq!(desired(&format!("{label}.{label}")).len(), 1, "63 bytes");
        assert_eq!(desired(&format!("{label}.{label}y")).len(), 0, "64 bytes");
    }
}
