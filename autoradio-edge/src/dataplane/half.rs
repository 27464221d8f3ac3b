//! What one half of the kernel's maps holds, and what must change for it to hold another zone. Pure.
//!
//! The other half is in force meanwhile. Little of a zone changes from one placement to the next, so sets keep their places
//! as long as they say the same, and only what differs is written.

use std::collections::HashMap;
use std::sync::Arc;

use autoradio_common::limits::{
    KERNEL_SLOT_TABLES_MAX, KERNEL_VARIANTS_MAX, NAME_BYTES_MAX, VARIANTS_PER_NAME_MAX,
};
use autoradio_common::names::{NAME_PLACES, NamedRecord};
use autoradio_common::zone::{
    AnswerRef, NAME_KEY_BYTES, NONE, NameRecord, SlotTable, Variant, ZoneHead,
};

use super::desired::{Content, Desired, NO_DATA, NX_DOMAIN, PLACES, SetIndex};
use crate::dns::{Answer, RecordSet};

/// Where the sets with places of their own stand, and for how many variants: four of one answer, two of all nodes.
const PLACE_RUNS: [Run; PLACES] = {
    let crowd = VARIANTS_PER_NAME_MAX as u32;
    [
        Run { first: 0, length: 1, table: None },
        Run { first: 1, length: 1, table: None },
        Run { first: 2, length: 1, table: None },
        Run { first: 3, length: 1, table: None },
        Run { first: 4, length: crowd, table: Some(0) },
        Run { first: 4 + crowd, length: crowd, table: Some(1) },
    ]
};
/// Variants and slot tables before those of all other sets.
const PLACED_VARIANTS: u32 = 4 + 2 * VARIANTS_PER_NAME_MAX as u32;
const PLACED_TABLES: u32 = 2;

/// What of a zone is not in the maps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fit {
    /// Names over the limit, or without a place in the table.
    pub names_left_out: usize,
    /// Different answers over the limits.
    pub sets_left_out: usize,
}

impl Fit {
    /// Whether everything is.
    pub fn is_whole(self) -> bool {
        self == Self::default()
    }
}

/// What must be written.
#[derive(Debug)]
pub(super) struct Change {
    /// Variants by their index in the map.
    pub(super) variants: Vec<(u32, Variant)>,
    /// Slot tables by their index in the map.
    pub(super) slot_tables: Vec<(u32, SlotTable)>,
    /// Names that come, change or move, and places that become empty, by their index in the map.
    pub(super) names: Vec<(u32, NamedRecord)>,
    /// What holds for the half as a whole.
    pub(super) head: ZoneHead,
    /// What did not fit.
    pub(super) fit: Fit,
}

/// A part of the half's variants and slot tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    first: u32,
    length: u32,
    table: Option<u32>,
}

/// One half: 0 or 1.
#[derive(Debug)]
pub(super) struct Half {
    number: u32,
    /// What stands at each place of the table.
    names: Vec<NamedRecord>,
    placed: [Option<Arc<RecordSet>>; PLACES],
    runs: HashMap<Content, Run>,
    variants: Room,
    slot_tables: Room,
}

impl Half {
    /// A half whose table of names holds this at its [`NAME_PLACES`]. What else it holds, nothing leads to.
    pub(super) fn new(number: u32, names: Vec<NamedRecord>) -> Self {
        Self {
            number,
            names,
            placed: Default::default(),
            runs: HashMap::new(),
            variants: Room::new(PLACED_VARIANTS, KERNEL_VARIANTS_MAX),
            slot_tables: Room::new(PLACED_TABLES, KERNEL_SLOT_TABLES_MAX),
        }
    }

    /// Takes over what is desired; the result is what must be written for it to be true.
    pub(super) fn plan(&mut self, desired: &Desired) -> Change {
        let mut change = Change {
            variants: Vec::new(),
            slot_tables: Vec::new(),
            names: Vec::new(),
            head: head(desired),
            fit: Fit { names_left_out: desired.names_left_out, sets_left_out: 0 },
        };
        self.forget_unused(desired);
        let sets = desired.sets.iter().enumerate();
        let refs: Vec<_> =
            sets.map(|(at, set)| self.place(at, set.as_ref(), &mut change)).collect();
        change.fit.sets_left_out = refs
            .iter()
            .zip(&desired.sets)
            .filter(|(at, set)| at.is_nothing() && set.is_some())
            .count();
        if desired.names_left_out == 0 {
            change.head.nx_domain = refs[NX_DOMAIN];
        }
        self.rename(desired, &refs, &mut change);
        change
    }

    /// Gives back the room of sets that no name has any more.
    fn forget_unused(&mut self, desired: &Desired) {
        let wanted: std::collections::HashSet<_> =
            desired.sets[PLACES..].iter().flatten().cloned().map(Content).collect();
        let (variants, slot_tables) = (&mut self.variants, &mut self.slot_tables);
        self.runs.retain(|content, run| {
            let stays = wanted.contains(content);
            if !stays {
                variants.give_back(run.first, run.length);
                slot_tables.give_back(run.table.unwrap_or(0), u32::from(run.table.is_some()));
            }
            stays
        });
    }

    /// Makes a set stand in the maps; the result is how a name refers to it.
    fn place(
        &mut self,
        index: SetIndex,
        set: Option<&Arc<RecordSet>>,
        change: &mut Change,
    ) -> AnswerRef {
        let Some(set) = set.filter(|set| set.fits_kernel()) else {
            return AnswerRef::NOTHING;
        };
        let count = set.variants.len() as u32;
        let (run, before) = if let Some(place) = PLACE_RUNS.get(index) {
            if count > place.length {
                return AnswerRef::NOTHING;
            }
            (*place, self.placed[index].replace(set.clone()))
        } else if let Some(run) = self.runs.get(&Content(set.clone())) {
            return self.reference(*run, count);
        } else {
            let Some(run) = self.take_room(count) else { return AnswerRef::NOTHING };
            self.runs.insert(Content(set.clone()), run);
            (run, None)
        };
        self.write(run, before.as_deref(), set, change);
        self.reference(run, count)
    }

    fn take_room(&mut self, count: u32) -> Option<Run> {
        let table = if count > 1 { Some(self.slot_tables.take(1)?) } else { None };
        let Some(first) = self.variants.take(count) else {
            self.slot_tables.give_back(table.unwrap_or(0), u32::from(table.is_some()));
            return None;
        };
        Some(Run { first, length: count, table })
    }

    fn reference(&self, run: Run, count: u32) -> AnswerRef {
        let table = run.table.filter(|_| count > 1);
        let slot_table =
            table.map_or(NONE, |table| (self.number * KERNEL_SLOT_TABLES_MAX + table) as u16);
        let variants_first = (self.number * KERNEL_VARIANTS_MAX + run.first) as u16;
        AnswerRef { variants_first, slot_table }
    }

    /// Writes what of a set differs from what stands there.
    fn write(&self, run: Run, before: Option<&RecordSet>, set: &RecordSet, change: &mut Change) {
        let first = self.number * KERNEL_VARIANTS_MAX + run.first;
        for (index, answer) in set.variants.iter().enumerate() {
            if before.and_then(|before| before.variants.get(index)) != Some(answer) {
                change.variants.extend(variant(answer).map(|new| (first + index as u32, new)));
            }
        }
        let differs = before.is_none_or(|before| before.slots != set.slots);
        if let Some(place) = run.table.filter(|_| differs) {
            let table = SlotTable { variant: *set.slots };
            change.slot_tables.push((self.number * KERNEL_SLOT_TABLES_MAX + place, table));
        }
    }

    fn rename(&mut self, desired: &Desired, refs: &[AnswerRef], change: &mut Change) {
        let mut names = vec![NamedRecord::NOBODY; NAME_PLACES as usize];
        for name in &desired.names {
            let [a, aaaa, ns, soa] = name.sets.map(|set| refs[set]);
            let record = NameRecord { a, aaaa, ns, soa, no_data: refs[NO_DATA] };
            names[name.place as usize] = NamedRecord { tag: name.tag, record, key: name.key };
        }
        let places = (self.number * NAME_PLACES..).zip(names.iter().zip(&self.names));
        let differ = places.filter(|(_, (new, old))| new != old);
        change.names = differ.map(|(index, (new, _))| (index, *new)).collect();
        self.names = names;
    }
}

fn head(desired: &Desired) -> ZoneHead {
    let mut apex = desired.apex.map_or([0; NAME_KEY_BYTES], |key| key.bytes);
    apex[NAME_BYTES_MAX] = 0;
    // A zone whose name is too long has no name that the program reads: nothing ends in 64 bytes.
    let apex_bytes = desired.apex.map_or(NAME_KEY_BYTES, |_| desired.apex_bytes) as u32;
    ZoneHead { apex, apex_bytes, nx_domain: AnswerRef::NOTHING }
}

fn variant(answer: &Answer) -> Option<Variant> {
    let counts = [answer.answers, answer.authorities, answer.additionals];
    Variant::new(answer.rcode, counts, &answer.bytes)
}

/// Which elements of an array are free.
#[derive(Debug)]
struct Room {
    taken: Vec<bool>,
    first: usize,
}

impl Room {
    /// The elements from `first` up to `end`.
    fn new(first: u32, end: u32) -> Self {
        Self { taken: vec![false; end as usize], first: first as usize }
    }

    /// Takes `count` elements in a row, the first that are free.
    fn take(&mut self, count: u32) -> Option<u32> {
        let (mut start, count) = (self.first, count as usize);
        while start + count <= self.taken.len() {
            match self.taken[start..start + count].iter().rposition(|taken| *taken) {
                None => {
                    self.taken[start..start + count].fill(true);
                    return Some(start as u32);
                }
                Some(taken) => start += taken + 1,
            }
        }
        None
    }

    fn give_back(&mut self, first: u32, count: u32) {
        if count > 0 {
            self.taken[first as usize..(first + count) as usize].fill(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use autoradio_common::names::EMPTY;
    use autoradio_common::zone::NameKey;

    use super::*;
    use crate::cluster::Snapshot;
    use crate::dns::{Zone, ZoneSettings, compile};
    use crate::placement::place;
    use crate::placement::tests::one_node_snapshot;

    fn zone_at(revision: i64, answers_max: usize) -> Zone {
        let snapshot = Snapshot { revision, ..one_node_snapshot() };
        let settings = ZoneSettings::new("radio.example.com", answers_max, &[]).expect("settings");
        compile(&place(&snapshot), &settings)
    }

    fn empty(number: u32) -> Half {
        Half::new(number, vec![NamedRecord::NOBODY; NAME_PLACES as usize])
    }

    /// The half's maps, as the changes written so far make them.
    #[derive(Default)]
    struct Maps {
        variants: HashMap<u32, Variant>,
        names: HashMap<u32, NamedRecord>,
    }

    impl Maps {
        fn apply(&mut self, change: &Change) {
            self.variants.extend(change.variants.iter().copied());
            self.names.extend(change.names.iter().copied());
            self.names.retain(|_, named| named.tag != EMPTY);
        }

        /// What they answer about a name's A records, whatever the draw.
        fn first_a(&self, zone: &Zone, name: &str) -> Option<&[u8]> {
            let key = NameKey::new(zone.apex.child(name).as_bytes())?;
            let named = self.names.values().find(|named| named.key == key)?;
            let variant = &self.variants[&u32::from(named.record.a.variants_first)];
            Some(&variant.bytes[..usize::from(variant.length)])
        }
    }

    #[test]
    fn a_new_serial_number_changes_the_answers_with_the_soa_and_nothing_else() {
        let mut half = empty(1);
        let first = half.plan(&Desired::new(&zone_at(1, 3)));
        assert!(first.fit.is_whole() && !first.head.nx_domain.is_nothing());
        let again = half.plan(&Desired::new(&zone_at(1, 3)));
        assert_eq!((again.variants.len(), again.names.len()), (0, 0));
        let second = half.plan(&Desired::new(&zone_at(2, 3)));
        let mut indices: Vec<_> = second.variants.iter().map(|(index, _)| *index).collect();
        indices.sort_unstable();
        let base = KERNEL_VARIANTS_MAX;
        assert_eq!(indices, [base, base + 1, base + 2], "no data, no name, SOA");
        assert_eq!(second.names.len(), 0);
    }

    #[test]
    fn names_come_change_and_go() {
        let (mut half, mut maps) = (empty(1), Maps::default());
        let mut zone = zone_at(1, 3);
        maps.apply(&half.plan(&Desired::new(&zone)));
        assert_eq!(maps.names.len(), zone.names.len());
        let address = |last| {
            let mut answer = Answer { answers: 1, ..Answer::default() };
            let owner = crate::dns::record::Owner::Question;
            let address = IpAddr::from([192, 0, 2, last]);
            crate::dns::record::push_address(&mut answer.bytes, owner, 10, address);
            answer
        };
        for last in [1, 2] {
            let set = Some(Arc::new(RecordSet::fixed(address(last))));
            let sets = crate::dns::NameSets { a: set, ..Default::default() };
            zone.names.insert(zone.apex.child("new"), sets);
            maps.apply(&half.plan(&Desired::new(&zone)));
            assert_eq!(maps.first_a(&zone, "new"), Some(&*address(last).bytes));
        }
        zone.names.remove(&zone.apex.child("new"));
        maps.apply(&half.plan(&Desired::new(&zone)));
        assert_eq!(maps.first_a(&zone, "new"), None);
        assert_eq!(maps.names.len(), zone.names.len());
        for (index, named) in (NAME_PLACES..).zip(&half.names) {
            assert_eq!(maps.names.get(&index).unwrap_or(&NamedRecord::NOBODY), named);
        }
    }

    #[test]
    fn whatever_names_stood_in_a_half_give_way() {
        let (zone, first) = (zone_at(1, 3), NAME_PLACES);
        let key = NameKey::new(zone.apex.child("gone").as_bytes()).expect("short");
        let gone = NamedRecord { tag: 7, key, ..NamedRecord::NOBODY };
        let mut half = Half::new(1, vec![gone; NAME_PLACES as usize]);
        let mut maps = Maps::default();
        maps.names.extend((0..NAME_PLACES).map(|place| (first + place, gone)));
        maps.apply(&half.plan(&Desired::new(&zone)));
        let mut clean = Maps::default();
        clean.apply(&empty(1).plan(&Desired::new(&zone)));
        assert_eq!((maps.names.len(), &maps.names), (zone.names.len(), &clean.names));
    }

    #[test]
    fn what_does_not_fit_is_left_to_userspace_and_said() {
        let mut zone = zone_at(1, 3);
        for number in 0..KERNEL_VARIANTS_MAX {
            let answer = Answer {
                answers: 1,
                bytes: [&[0; 12], number.to_be_bytes().as_slice()].concat(),
                ..Answer::default()
            };
            let a = Some(Arc::new(RecordSet::fixed(answer)));
            let sets = crate::dns::NameSets { a, ..Default::default() };
            zone.names.insert(zone.apex.child(&format!("n{number}")), sets);
        }
        let mut half = empty(0);
        let change = half.plan(&Desired::new(&zone));
        let rest = (PLACED_VARIANTS + 1) as usize; // One is the node's own.
        assert_eq!(change.fit, Fit { names_left_out: 0, sets_left_out: rest });
        assert!(!change.head.nx_domain.is_nothing(), "every name is there");
        let nothing = change.names.iter().filter(|(_, named)| named.record.a.is_nothing());
        assert_eq!(nothing.count(), rest);
        let full = half.plan(&Desired::new(&zone_at(2, 3)));
        assert!(full.fit.is_whole(), "there is room again");
    }

    #[test]
    fn without_all_names_no_name_is_said_not_to_exist() {
        let zone = zone_at(1, 3);
        let mut desired = Desired::new(&zone);
        desired.names_left_out = 1;
        let change = empty(1).plan(&desired);
        assert!(change.head.nx_domain.is_nothing() && !change.fit.is_whole());
    }

    #[test]
    fn runs_of_variants_are_taken_where_they_fit() {
        let mut room = Room::new(2, 10);
        assert_eq!((room.take(3), room.take(2), room.take(3)), (Some(2), Some(5), Some(7)));
        assert_eq!(room.take(1), None);
        room.give_back(5, 2);
        assert_eq!((room.take(3), room.take(2)), (None, Some(5)));
    }
}
