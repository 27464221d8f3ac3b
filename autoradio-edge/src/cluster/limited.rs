//! Records of which only so many are in force: the oldest. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::SharedMap;

/// Records by name, and those of them that are in force.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Limited<Name, Record> {
    max: usize,
    all: BTreeMap<Name, Ranked<Record>>,
    in_force: SharedMap<Name, Arc<Record>>,
}

/// A record with what decides who stays when there are too many: the older key.
#[derive(Clone, Debug, PartialEq)]
struct Ranked<Record> {
    create_revision: i64,
    mod_revision: i64,
    record: Arc<Record>,
}

impl<Name: Ord + Clone, Record> Limited<Name, Record> {
    /// No records yet, of which `max` can be in force.
    pub(super) fn new(max: usize) -> Self {
        Self { max, all: BTreeMap::new(), in_force: SharedMap::default() }
    }

    /// The records in force.
    pub(super) fn in_force(&self) -> &SharedMap<Name, Arc<Record>> {
        &self.in_force
    }

    /// Puts a record in the place of any earlier one of that name.
    pub(super) fn insert(
        &mut self,
        name: Name,
        record: Record,
        create_revision: i64,
        mod_revision: i64,
    ) {
        let record = Arc::new(record);
        let ranked = Ranked { create_revision, mod_revision, record: record.clone() };
        self.all.insert(name.clone(), ranked);
        if self.all.len() <= self.max {
            self.in_force.insert(name, record);
        } else {
            self.choose();
        }
    }

    /// Takes a record away; the oldest that was left out takes its place.
    pub(super) fn remove(&mut self, name: &Name) {
        if self.all.remove(name).is_none() {
            return;
        }
        if self.all.len() < self.max {
            self.in_force.remove(name);
        } else {
            self.choose();
        }
    }

    /// Names and last changes of the records that are left out: the youngest, none in any sane cluster.
    pub(super) fn left_out(&self) -> Vec<(&Name, i64)> {
        if self.all.len() <= self.max {
            return Vec::new();
        }
        // Keys of one transaction share a revision; then the name decides.
        let mut by_age: Vec<_> = self.all.iter().collect();
        by_age.sort_by_key(|(name, ranked)| (ranked.create_revision, *name));
        let youngest = by_age.split_off(self.max).into_iter();
        youngest.map(|(name, ranked)| (name, ranked.mod_revision)).collect()
    }

    fn choose(&mut self) {
        let left_out: BTreeSet<&Name> = self.left_out().into_iter().map(|(name, _)| name).collect();
        let in_force = self.all.iter().filter(|(name, _)| !left_out.contains(name));
        let in_force = in_force.map(|(name, ranked)| (name.clone(), ranked.record.clone()));
        self.in_force = in_force.collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_force(records: &Limited<&'static str, u8>) -> Vec<&'static str> {
        records.in_force().keys().copied().collect()
    }

    #[test]
    fn the_oldest_are_in_force_and_the_next_one_takes_a_free_place() {
        let mut records = Limited::new(2);
        for (name, create_revision) in [("young", 3), ("old", 1), ("middle", 2)] {
            records.insert(name, 0, create_revision, create_revision);
        }
        assert_eq!(in_force(&records), ["middle", "old"]);
        assert_eq!(records.left_out(), [(&"young", 3)]);
        records.insert("old", 7, 1, 4);
        assert_eq!(*records.in_force()["old"], 7, "a change of one that is in force counts");
        records.remove(&"old");
        assert_eq!(in_force(&records), ["middle", "young"]);
        records.remove(&"nobody");
        records.remove(&"middle");
        assert_eq!(in_force(&records), ["young"]);
        assert!(records.left_out().is_empty());
    }

    #[test]
    fn a_snapshot_that_is_held_does_not_change() {
        let mut records = Limited::new(2);
        records.insert("a", 0, 1, 1);
        let held = records.in_force().clone();
        records.insert("b", 0, 2, 2);
        assert_eq!((held.len(), records.in_force().len()), (1, 2));
    }
}
