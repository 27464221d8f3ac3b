//! What the kernel's maps should hold for a zone. Pure.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use autoradio_common::limits::{KERNEL_NAMES_MAX, NAME_BYTES_MAX};
use autoradio_common::names::tag;
use autoradio_common::zone::NameKey;

use super::places::places;
use crate::dns::{Answer, NameSets, RecordSet, WireName, Zone};

/// Index of a set in [`Desired::sets`].
pub(super) type SetIndex = usize;

/// Sets that change while the names that lead to them stay. They have places of their own in the maps, or each new serial
/// number would change every name's record.
pub(super) const PLACES: usize = 6;
/// Place of the answer for an existing name without the type.
pub(super) const NO_DATA: SetIndex = 0;
/// Place of the answer for a name that does not exist.
pub(super) const NX_DOMAIN: SetIndex = 1;
const APEX_SOA: SetIndex = 2;
const APEX_NS: SetIndex = 3;
const APEX_A: SetIndex = 4;
const APEX_AAAA: SetIndex = 5;

/// A set as a key: equal where it says the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Content(pub(super) Arc<RecordSet>);

impl Hash for Content {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for variant in &self.0.variants {
            variant.bytes.hash(state);
        }
    }
}

/// One name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DesiredName {
    /// Its place in the half of the table.
    pub(super) place: u32,
    /// Its tag there.
    pub(super) tag: u32,
    /// Its key.
    pub(super) key: NameKey,
    /// The sets of A, AAAA, NS and SOA; [`NO_DATA`] where it has none of the type.
    pub(super) sets: [SetIndex; 4],
}

/// The kernel's part of a zone. A name over 63 bytes is none of it: the program passes every such
/// question up, whether the name exists or not.
#[derive(Clone, Debug)]
pub(super) struct Desired {
    /// The key of the zone's name; `None` where it is too long: then there are no names either.
    pub(super) apex: Option<NameKey>,
    /// Bytes of the zone's name.
    pub(super) apex_bytes: usize,
    /// Different sets; the first [`PLACES`] are those with places of their own, if there are such.
    pub(super) sets: Vec<Option<Arc<RecordSet>>>,
    /// The names, at most [`KERNEL_NAMES_MAX`].
    pub(super) names: Vec<DesiredName>,
    /// Names that are left out: because there are too many, the last in the order of apex, nodes, mounts; or because they
    /// find no place in the table.
    pub(super) names_left_out: usize,
}

impl Desired {
    /// The kernel's part of `zone`.
    pub(super) fn new(zone: &Zone) -> Self {
        let mut sets = Sets::new(zone);
        let fits = |name: &WireName| name.as_bytes().len() <= NAME_BYTES_MAX;
        let mut entries: Vec<_> = zone.names.iter().filter(|(name, _)| fits(name)).collect();
        let names_max = KERNEL_NAMES_MAX as usize;
        let mut names_left_out = entries.len().saturating_sub(names_max);
        if names_left_out > 0 {
            entries.sort_by_cached_key(|(name, _)| (labels(name.as_bytes()), (*name).clone()));
            entries.truncate(names_max);
        }
        let keyed = |(name, of_name): (&WireName, &NameSets)| {
            Some((NameKey::new(name.as_bytes())?, sets.of_name(of_name)))
        };
        let keyed: Vec<_> = entries.into_iter().filter_map(keyed).collect();
        let hashes: Vec<_> = keyed.iter().map(|(key, _)| key.hash()).collect();
        let mut names = Vec::with_capacity(keyed.len());
        for (((key, sets), hash), place) in keyed.into_iter().zip(&hashes).zip(places(&hashes)) {
            match place {
                Some(place) => names.push(DesiredName { place, tag: tag(*hash), key, sets }),
                None => names_left_out += 1,
            }
        }
        Self {
            apex: NameKey::new(zone.apex.as_bytes()),
            apex_bytes: zone.apex.as_bytes().len(),
            sets: sets.numbered,
            names,
            names_left_out,
        }
    }
}

/// Labels of a wire name: the zone's name has the fewest, its nodes one more, its mounts two.
fn labels(name: &[u8]) -> usize {
    let mut rest = name;
    let mut labels = 0;
    while rest.len() > 1 {
        rest = rest.get(1 + usize::from(rest[0])..).unwrap_or_default();
        labels += 1;
    }
    labels
}

/// Numbers the different sets of a zone.
struct Sets {
    numbered: Vec<Option<Arc<RecordSet>>>,
    by_content: HashMap<Content, SetIndex>,
    /// Most names without a holder share one set: seen by its address before its content is looked at.
    by_address: HashMap<*const RecordSet, SetIndex>,
}

impl Sets {
    fn new(zone: &Zone) -> Self {
        let mut sets = Self {
            numbered: vec![None; PLACES],
            by_content: HashMap::new(),
            by_address: HashMap::new(),
        };
        let fixed = |answer: &Answer| Some(Arc::new(RecordSet::fixed(answer.clone())));
        sets.numbered[NO_DATA] = fixed(&zone.no_data);
        sets.numbered[NX_DOMAIN] = fixed(&zone.nx_domain);
        if let Some(apex) = zone.names.get(&zone.apex) {
            let of_apex = [
                (APEX_SOA, &apex.soa),
                (APEX_NS, &apex.ns),
                (APEX_A, &apex.a),
                (APEX_AAAA, &apex.aaaa),
            ];
            for (place, set) in of_apex {
                sets.numbered[place].clone_from(set);
                if let Some(set) = set {
                    sets.by_content.insert(Content(set.clone()), place);
                    sets.by_address.insert(Arc::as_ptr(set), place);
                }
            }
        }
        sets
    }

    fn of_name(&mut self, name: &NameSets) -> [SetIndex; 4] {
        [&name.a, &name.aaaa, &name.ns, &name.soa]
            .map(|set| set.as_ref().map_or(NO_DATA, |set| self.index(set)))
    }

    fn index(&mut self, set: &Arc<RecordSet>) -> SetIndex {
        if let Some(index) = self.by_address.get(&Arc::as_ptr(set)) {
            return *index;
        }
        let sets = &mut self.numbered;
        *self.by_content.entry(Content(set.clone())).or_insert_with(|| {
            sets.push(Some(set.clone()));
            sets.len() - 1
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::{ZoneSettings, compile};
    use crate::placement::place;
    use crate::placement::tests::one_node_snapshot;

    fn desired(domain: &str) -> (Zone, Desired) {
        let settings = ZoneSettings::new(domain, 3, &[]).expect("settings");
        let zone = compile(&place(&one_node_snapshot()), &settings);
        let desired = Desired::new(&zone);
        (zone, desired)
    }

    #[test]
    fn every_name_leads_to_the_sets_that_the_zone_has_for_it() {
        let (zone, desired) = desired("Radio.Example.com");
        assert_eq!(desired.names.len(), zone.names.len());
        for (name, sets) in &zone.names {
            let key = NameKey::new(name.as_bytes()).expect("short");
            let found = desired.names.iter().find(|name| name.key == key).expect("the name");
            let of_type = [&sets.a, &sets.aaaa, &sets.ns, &sets.soa];
            for (index, set) in found.sets.iter().zip(of_type) {
                let no_data = Arc::new(RecordSet::fixed(zone.no_data.clone()));
                let want = set.as_ref().unwrap_or(&no_data);
                assert_eq!(desired.sets[*index].as_ref(), Some(want), "{name}");
            }
        }
    }

    #[test]
    fn sets_that_say_the_same_are_one() {
        let (mut zone, before) = desired("radio.example.com");
        let mut of_node = zone.names[&zone.apex.child("node1")].clone();
        of_node.a = of_node.a.map(|set| Arc::new(RecordSet::clone(&set)));
        zone.names.insert(zone.apex.child("copy"), of_node);
        let after = Desired::new(&zone);
        assert_eq!(after.names.len(), before.names.len() + 1);
        assert_eq!(after.sets.len(), before.sets.len());
    }

    #[test]
    fn names_too_long_for_the_kernel_are_none_of_its_zone() {
        let label = "x".repeat(30);
        let (_, fits) = desired(&format!("{label}.{label}"));
        assert_eq!((fits.names.len(), fits.apex.is_some()), (1, true), "63 bytes");
        let (_, long) = desired(&format!("{label}.{label}y"));
        assert_eq!((long.names.len(), long.apex.is_some()), (0, false), "64 bytes");
    }

    #[test]
    fn of_too_many_names_the_mounts_are_left_out() {
        let (mut zone, _) = desired("radio.example.com");
        let sets = zone.names[&zone.apex].clone();
        let source = zone.apex.child("source");
        for number in 0..KERNEL_NAMES_MAX {
            zone.names.insert(source.child(&format!("m{number}")), sets.clone());
        }
        let desired = Desired::new(&zone);
        assert_eq!(desired.names.len() + desired.names_left_out, zone.names.len());
        assert_eq!(desired.names.len(), KERNEL_NAMES_MAX as usize);
        for name in [zone.apex.clone(), zone.apex.child("node1"), source] {
            let key = NameKey::new(name.as_bytes()).expect("short");
            assert!(desired.names.iter().any(|name| name.key == key), "{name}");
        }
    }
}
