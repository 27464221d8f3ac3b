//! Writes a zone into the half of the maps that is not in force.
//!
//! **Why no reader sees a mixture.** A reader takes the generation from the settings once and stays in its half. That half
//! is not touched while it is in force, nor for [`SETTLE`] after: a run of the program takes less than a microsecond, so by
//! then nobody is left in it. All maps are arrays whose elements are one half's or the other's, so a reader of the half in force
//! meets nothing that is written.

use std::time::{Duration, Instant};

use autoradio_common::names::{NAME_PLACES, NamedRecord};
use autoradio_common::zone::{SlotTable, Variant, ZoneHead, half};
use aya::Ebpf;
use aya::maps::{Array, MapData};

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
    names: Array<MapData, NamedRecord>,
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

    /// Nobody has written to these maps yet, so nothing needs to be read of them.
    pub(super) fn begin_empty(&mut self) {
        let nobody = vec![NamedRecord::NOBODY; NAME_PLACES as usize];
        self.halves = [0, 1].map(|half| Some(Half::new(half, nobody.clone())));
    }

    /// Makes the half of `generation`, which is not in force, hold the zone. Says what did not fit.
    pub(super) fn write(&mut self, zone: &Zone, generation: u32) -> Result<Fit, DataplaneError> {
        let desired = Desired::new(zone);
        if let Some(at) = self.switched_at {
            std::thread::sleep(SETTLE.saturating_sub(clock::now().duration_since(at)));
        }
        let index = half(generation) as usize;
        // Taken out while it is written: after an error nobody knows what the half holds.
        let mut held = match self.halves[index].take() {
            Some(held) => held,
            None => self.found(half(generation))?,
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

    /// A half with the names that stand there.
    fn found(&self, half: u32) -> Result<Half, DataplaneError> {
        let first = half * NAME_PLACES;
        let places = first..first + NAME_PLACES;
        let names: Result<Vec<_>, _> = places.map(|index| self.names.get(&index, 0)).collect();
        Ok(Half::new(half, names.map_err(|error| map_error("NAMES", &error))?))
    }

    fn apply(&mut self, change: &Change, half: u32) -> Result<(), DataplaneError> {
        for (index, variant) in &change.variants {
            self.variants.set(*index, variant, 0).map_err(|e| map_error("VARIANTS", &e))?;
        }
        for (index, table) in &change.slot_tables {
            self.slot_tables.set(*index, table, 0).map_err(|e| map_error("SLOT_TABLES", &e))?;
        }
        for (index, named) in &change.names {
            self.names.set(*index, named, 0).map_err(|error| map_error("NAMES", &error))?;
        }
        self.zones.set(half, change.head, 0).map_err(|error| map_error("ZONES", &error))
    }
}
