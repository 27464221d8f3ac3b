//! Writes a zone into the half of the maps that is not in force.
//!
//! **Why no reader sees a mixture.** A reader takes the generation from the settings once and stays in its half. That half
//! is not touched while it is in force, nor for [`SETTLE`] after: a run of the program takes less than a microsecond, so by
//! then nobody is left in it. The names' map is one preallocated hash, and an element that is deleted from one half may
//! hold another name at once, while a reader still stands on it. That reader is in the same half, so it too is long gone.
//! A reader of the other half that walks the same bucket looks for another hash, and then compares whole names, whose last
//! byte is the half's: no mixture of two names of this half equals a name of that one.

use std::time::{Duration, Instant};

use autoradio_common::zone::{
    NAME_KEY_BYTES, NamedRecord, SlotTable, Variant, ZoneHead, half, half_mark,
};
use aya::Ebpf;
use aya::maps::{Array, HashMap, MapData};

use super::super::DataplaneError;
use super::super::desired::Desired;
use super::super::half::{Change, Fit, Half};
use super::error::map_error;
use super::open;
use crate::clock;
use crate::dns::Zone;

/// How long a half is left alone after it was in force: ten thousands of times as long as the program runs, and longer than a
/// hypervisor usually takes a processor away in the midst of it.
const SETTLE: Duration = Duration::from_millis(20);

/// The maps of the zone, and what they hold.
pub(super) struct Publisher {
    /// By the names' hashes.
    names: HashMap<MapData, u64, NamedRecord>,
    slot_tables: Array<MapData, SlotTable>,
    variants: Array<MapData, Variant>,
    zones: Array<MapData, ZoneHead>,
    /// What each half holds; `None` where nobody knows, after an error or before this process.
    halves: [Option<Half>; 2],
    switched_at: Option<Instant>,
}

impl Publisher {
    /// Takes the maps of an object. Whatever they hold is replaced by the first writes.
    pub(super) fn open(ebpf: &mut Ebpf) -> Result<Self, DataplaneError> {
        Ok(Self {
            names: open(ebpf, "NAMES")?,
            slot_tables: open(ebpf, "SLOT_TABLES")?,
            variants: open(ebpf, "VARIANTS")?,
            zones: open(ebpf, "ZONES")?,
            halves: [None, None],
            switched_at: None,
        })
    }

    /// Makes the half of `generation`, which is not in force, hold the zone. Says what did not fit.
    pub(super) fn write(&mut self, zone: &Zone, generation: u32) -> Result<Fit, DataplaneError> {
        let desired = Desired::new(zone, generation);
        if let Some(at) = self.switched_at {
            std::thread::sleep(SETTLE.saturating_sub(clock::now().duration_since(at)));
        }
        let index = half(generation) as usize;
        // Taken out while it is written: after an error nobody knows what the half holds.
        let mut held = match self.halves[index].take() {
            Some(held) => held,
            None => self.emptied(generation)?,
        };
        let change = held.plan(&desired);
        self.apply(&change, index as u32)?;
        self.halves[index] = Some(held);
        Ok(change.fit)
    }

    /// The generation written last is in force from now on.
    pub(super) fn switched(&mut self) {
        self.switched_at = Some(clock::now());
    }

    /// A half without names: what else it holds, nothing leads to.
    fn emptied(&mut self, generation: u32) -> Result<Half, DataplaneError> {
        let names = self.names.iter().collect::<Result<Vec<_>, _>>();
        let names = names.map_err(|error| map_error("NAMES", &error))?;
        let mark = half_mark(generation);
        for (hash, _) in names.iter().filter(|(_, it)| it.key.bytes[NAME_KEY_BYTES - 1] == mark) {
            self.names.remove(hash).map_err(|error| map_error("NAMES", &error))?;
        }
        Ok(Half::new(half(generation)))
    }

    fn apply(&mut self, change: &Change, half: u32) -> Result<(), DataplaneError> {
        for key in &change.removed {
            self.names.remove(&key.hash()).map_err(|error| map_error("NAMES", &error))?;
        }
        for (index, variant) in &change.variants {
            self.variants.set(*index, variant, 0).map_err(|e| map_error("VARIANTS", &e))?;
        }
        for (index, table) in &change.slot_tables {
            self.slot_tables.set(*index, table, 0).map_err(|e| map_error("SLOT_TABLES", &e))?;
        }
        for &(key, record) in &change.names {
            let named = NamedRecord { key, record };
            let inserted = self.names.insert(key.hash(), named, 0);
            inserted.map_err(|error| map_error("NAMES", &error))?;
        }
        self.zones.set(half, change.head, 0).map_err(|error| map_error("ZONES", &error))
    }
}
