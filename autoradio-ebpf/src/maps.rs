//! The maps: the zone, the settings, the counters, and each CPU's scratch space.

use autoradio_common::limits::{KERNEL_RECORDS_MAX, KERNEL_VARIANTS_MAX};
use autoradio_common::verdict::Verdict;
use autoradio_common::zone::{AnswerKey, AnswerRecord, KernelConfig, SlotTable, Variant};
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, PerCpuArray};

/// Bytes of the query buffer: more than the longest query, so that reads at a checked offset stay inside.
pub const QUERY_BUFFER_BYTES: usize = 1024;
/// Bytes of the headers before the DNS message, at most: Ethernet, IPv6, UDP.
pub const HEADERS_BYTES_MAX: usize = 14 + 40 + 8;

/// Room to work in: the BPF stack holds 512 bytes only.
#[repr(C)]
pub struct Scratch {
    /// The key looked up.
    pub key: AnswerKey,
    /// The DNS message of the query.
    pub query: [u8; QUERY_BUFFER_BYTES],
    /// The headers before it, kept while they are moved.
    pub headers: [u8; HEADERS_BYTES_MAX + 2],
}

// Two generations stand beside each other while one takes over.
#[map]
static RECORDS: HashMap<AnswerKey, AnswerRecord> =
    HashMap::with_max_entries(2 * KERNEL_RECORDS_MAX, 0);
#[map]
static SLOT_TABLES: Array<SlotTable> = Array::with_max_entries(2 * KERNEL_RECORDS_MAX, 0);
#[map]
static VARIANTS: Array<Variant> = Array::with_max_entries(2 * KERNEL_VARIANTS_MAX, 0);
#[map]
static CONFIG: Array<KernelConfig> = Array::with_max_entries(1, 0);
#[map]
static VERDICTS: PerCpuArray<u64> = PerCpuArray::with_max_entries(Verdict::COUNT as u32, 0);
#[map]
static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);

/// Counts a verdict on this CPU.
#[inline(always)]
pub fn count(verdict: Verdict) {
    if let Some(counter) = VERDICTS.get_ptr_mut(verdict as u32) {
        // SAFETY: the element belongs to this CPU, and XDP programs are not interrupted by themselves.
        unsafe { *counter += 1 };
    }
}

/// The program's settings.
#[inline(always)]
pub fn config() -> Option<&'static KernelConfig> {
    CONFIG.get(0)
}

/// This CPU's scratch space.
#[inline(always)]
pub fn scratch() -> Option<&'static mut Scratch> {
    let scratch = SCRATCH.get_ptr_mut(0)?;
    // SAFETY: the element belongs to this CPU, map elements live as long as the program, and this is its only borrow in
    // one run.
    Some(unsafe { &mut *scratch })
}

/// The record of a key.
#[inline(always)]
pub fn record(key: &AnswerKey) -> Option<AnswerRecord> {
    // SAFETY: a record is only deleted when its generation has not been in force for a while; it is copied here, and a
    // torn copy could only name another valid element of the arrays, which check their bounds.
    unsafe { RECORDS.get(key) }.copied()
}

/// A slot table.
#[inline(always)]
pub fn slot_table(index: u32) -> Option<&'static SlotTable> {
    SLOT_TABLES.get(index)
}

/// A variant.
#[inline(always)]
pub fn variant(index: u32) -> Option<&'static Variant> {
    VARIANTS.get(index)
}
