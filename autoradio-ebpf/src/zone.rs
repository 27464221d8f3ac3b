//! Looks the question up: settings in force, record, slot, variant.

use autoradio_common::limits::{SLOTS, VARIANT_BYTES_MAX};
use autoradio_common::verdict::Verdict;
use autoradio_common::zone::{KernelConfig, Variant};
use aya_ebpf::helpers::generated::{bpf_get_prandom_u32, bpf_ktime_get_boot_ns};

use crate::maps::{self, Scratch};

/// The settings, while the daemon's lease on them runs.
#[inline(always)]
pub fn config_in_force() -> Result<&'static KernelConfig, Verdict> {
    let config = maps::config().ok_or(Verdict::PassLeaseOver)?;
    // SAFETY: a helper without arguments.
    let now_boot_ns = unsafe { bpf_ktime_get_boot_ns() };
    if config.generation == 0 || now_boot_ns >= config.lease_until_boot_ns {
        return Err(Verdict::PassLeaseOver);
    }
    Ok(config)
}

/// Draws one of the variants that answer the key in the scratch space.
#[inline(always)]
pub fn draw(scratch: &Scratch) -> Result<&'static Variant, Verdict> {
    let record = maps::record(&scratch.key).ok_or(Verdict::PassNoRecord)?;
    let table = maps::slot_table(record.slot_table).ok_or(Verdict::PassNoRecord)?;
    // SAFETY: a helper without arguments.
    let slot = unsafe { bpf_get_prandom_u32() } as usize & (SLOTS - 1);
    let index = record.variants_first + u32::from(table.variant[slot]);
    let variant = maps::variant(index).ok_or(Verdict::PassNoRecord)?;
    let length = usize::from(variant.length);
    if length == 0 || length > VARIANT_BYTES_MAX {
        return Err(Verdict::PassNoRecord);
    }
    Ok(variant)
}
