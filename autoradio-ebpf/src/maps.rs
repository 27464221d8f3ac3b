//! The maps: the zone, the settings, the counters, and each CPU's scratch space.

use autoradio_common::limits::{
    KERNEL_LATENCY_BUCKETS, KERNEL_NAME_PROBES_MAX, KERNEL_PREFIXES_MAX, KERNEL_SLOT_TABLES_MAX,
    KERNEL_TRACE_BYTES, KERNEL_VARIANTS_MAX,
};
use autoradio_common::names::{self, NAME_PLACES, NamedRecord};
use autoradio_common::prefix::{GOLDEN_GAMMA, sticky_draw};
use autoradio_common::rate::{RATE_WAYS, RateSet, set_index};
use autoradio_common::settings::KernelSettings;
use autoradio_common::trace::TraceEvent;
use autoradio_common::verdict::Verdict;
use autoradio_common::zone::{
    NAME_KEY_BYTES, NameRecord, SlotTable, Variant, ZoneHead, half,
};
use aya_ebpf::helpers::generated::bpf_get_prandom_u32;
use aya_ebpf::macros::map;
use aya_ebpf::maps::ring_buf::RingBufEntry;
use aya_ebpf::maps::{Array, PerCpuArray, RingBuf};

/// Bytes of a message that can be read by a masked offset: a power of two above the longest query's.
pub const MESSAGE_ROOM: usize = 1024;
/// Where the message starts in the buffer, in bytes, so that the name starts at a whole word.
pub const MESSAGE_AT: usize = 4;
/// Words of the message buffer: reads at a masked offset stay inside.
const MESSAGE_WORDS: usize = (MESSAGE_AT + MESSAGE_ROOM + 8) / 8 + 1;
/// Words of a name's key.
pub const KEY_WORDS: usize = NAME_KEY_BYTES / 8;

/// Sets of the rates.
const RATE_SETS: u32 = KERNEL_PREFIXES_MAX / RATE_WAYS as u32;
const _: () = assert!(RATE_SETS.is_power_of_two());

/// Room to work in: the BPF stack holds 512 bytes only, and what stands here the verifier does not follow, which keeps the
/// paths through the program that it must tell apart few.
#[repr(C, align(8))]
pub struct Scratch {
    /// The name looked up: a [`NameKey`](autoradio_common::zone::NameKey).
    pub key: [u64; KEY_WORDS],
    /// The DNS message of the query, from byte [`MESSAGE_AT`] on.
    pub message: [u64; MESSAGE_WORDS],
    /// What was seen of the query so far.
    pub seen: Seen,
    /// Options of the query.
    pub given: Given,
    /// Options of the reply: see `options`.
    pub options: [u64; OPTIONS_WORDS],
    /// The reply's OPT record where it is all that follows the question.
    pub opt: [u64; 2],
    /// State of this CPU's dice; 0: not thrown yet.
    dice: u64,
}

/// Words of the options of a reply: their length, a cookie, a client subnet.
pub const OPTIONS_WORDS: usize = 7;

/// What was seen of a query.
#[repr(C)]
pub struct Seen {
    /// The client's address, IPv4 in the first four bytes, the rest zero.
    pub client: [u64; 2],
    /// Bytes of the name.
    pub name_bytes: u32,
    /// Query type.
    pub qtype: u32,
    /// Flags of the DNS header.
    pub dns_flags: u32,
    /// Bytes of the message.
    pub message_bytes: u32,
    /// Place of a number that the verifier is to forget.
    forgotten: u32,
    zero: u32,
}

/// Where in the message the options are that are answered; 0 bytes: not there.
#[repr(C)]
pub struct Given {
    /// Offset of the cookie.
    pub cookie_at: u32,
    /// Bytes of it.
    pub cookie_bytes: u32,
    /// Offset of the client subnet option with its header.
    pub subnet_at: u32,
    /// Bytes of that.
    pub subnet_bytes: u32,
}

// Two generations of the zone stand beside each other while one takes over.
#[map]
static NAMES: Array<NamedRecord> = Array::with_max_entries(2 * NAME_PLACES, 0);
#[map]
static SLOT_TABLES: Array<SlotTable> = Array::with_max_entries(2 * KERNEL_SLOT_TABLES_MAX, 0);
#[map]
static VARIANTS: Array<Variant> = Array::with_max_entries(2 * KERNEL_VARIANTS_MAX, 0);
#[map]
static ZONES: Array<ZoneHead> = Array::with_max_entries(2, 0);
#[map]
static SETTINGS: Array<KernelSettings> = Array::with_max_entries(1, 0);
#[map]
static VERDICTS: PerCpuArray<u64> = PerCpuArray::with_max_entries(Verdict::COUNT as u32, 0);
#[map]
static LATENCY: PerCpuArray<u64> = PerCpuArray::with_max_entries(KERNEL_LATENCY_BUCKETS as u32, 0);
#[map]
static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);
#[map]
static RATES: Array<RateSet> = Array::with_max_entries(RATE_SETS, 0);
#[map]
static TRACE: RingBuf = RingBuf::with_byte_size(KERNEL_TRACE_BYTES, 0);

impl Scratch {
    /// Reads a byte of the message.
    ///
    /// `offset` is masked to the buffer, because the verifier forgets bounds that were proven on another register.
    #[inline(always)]
    pub fn byte(&self, offset: usize) -> u8 {
        // SAFETY: the mask keeps the offset inside the buffer.
        unsafe { *self.message_at(offset) }
    }

    /// Reads two bytes of the message.
    #[inline(always)]
    pub fn word(&self, offset: usize) -> u16 {
        // SAFETY: the buffer goes on for eight bytes behind the masked offsets; the read needs no alignment.
        u16::from_be(unsafe { self.message_at(offset).cast::<u16>().read_unaligned() })
    }

    /// Reads eight bytes of the message as they stand.
    #[inline(always)]
    pub fn eight(&self, offset: usize) -> u64 {
        // SAFETY: as for `word`.
        u64::from_le(unsafe { self.message_at(offset).cast::<u64>().read_unaligned() })
    }

    #[inline(always)]
    fn message_at(&self, offset: usize) -> *const u8 {
        let inside = MESSAGE_AT + (offset & (MESSAGE_ROOM - 1));
        // SAFETY: the mask keeps the offset inside the buffer.
        unsafe { self.message.as_ptr().cast::<u8>().add(inside) }
    }

    /// Whether the name looked up, of so many bytes, is that of a record. Both are filled with zeros up to a whole word.
    #[inline(always)]
    fn is_name_of(&self, named: &NamedRecord, name_bytes: usize) -> bool {
        let mut differs = 0;
        for index in 0..KEY_WORDS {
            if 8 * index >= name_bytes {
                break;
            }
            let mut word = [0; 8];
            word.copy_from_slice(&named.key.bytes[8 * index..8 * index + 8]);
            differs |= u64::from_ne_bytes(word) ^ self.key[index];
        }
        differs == 0
    }

    /// A number from 0 to 255, by chance: SplitMix64 with a state of this CPU's own that starts where the kernel's generator
    /// says, whose every number costs as much as all the rest of a draw.
    #[inline(always)]
    pub fn draw(&mut self) -> u8 {
        if self.dice == 0 {
            // SAFETY: a helper without arguments.
            let [high, low] = [(); 2].map(|()| u64::from(unsafe { bpf_get_prandom_u32() }));
            self.dice = high << 32 | low;
        }
        self.dice = self.dice.wrapping_add(GOLDEN_GAMMA);
        sticky_draw(self.dice)
    }

    /// Eight bytes of the name looked up, from any byte on.
    #[inline(always)]
    pub fn name_eight(&self, offset: usize) -> u64 {
        let at = self.key.as_ptr().cast::<u8>();
        // SAFETY: the mask keeps the offset inside the key, and the scratch space goes on behind it.
        u64::from_le(unsafe {
            at.add(offset & (NAME_KEY_BYTES - 1)).cast::<u64>().read_unaligned()
        })
    }
}

impl Seen {
    /// Forgets the query before. Word by word: see [`clear`].
    #[inline(always)]
    pub fn clear(&mut self) {
        clear(&mut self.client);
        for field in [&mut self.name_bytes, &mut self.qtype, &mut self.dns_flags] {
            // SAFETY: a reference is valid for writes.
            unsafe { core::ptr::write_volatile(field, 0) };
        }
    }

    /// Writes a number to the scratch space and reads it back: the verifier knows nothing of it any more.
    ///
    /// Where many paths join that differ in one number only, it then follows one of them instead of each. It also keeps the
    /// compiler from leaving out a comparison that it finds needless and the verifier does not.
    #[inline(always)]
    pub fn forgotten(&mut self, value: usize) -> usize {
        forgotten(&mut self.forgotten, value as u32) as usize
    }
}

/// The same, in a place of its own.
#[inline(always)]
pub fn forgotten(place: &mut u32, value: u32) -> u32 {
    // SAFETY: a reference is valid for both; `volatile` only keeps the compiler from leaving them out.
    unsafe {
        core::ptr::write_volatile(place, value);
        core::ptr::read_volatile(place)
    }
}

/// Sets words to zero, without the call of `memset` that the compiler would make of it, which writes byte by byte.
#[inline(always)]
pub fn clear<const WORDS: usize>(words: &mut [u64; WORDS]) {
    for word in words {
        // SAFETY: a reference is valid for writes.
        unsafe { core::ptr::write_volatile(word, 0) };
    }
}

/// Counts a verdict on this CPU.
#[inline(always)]
pub fn count(verdict: Verdict) {
    if let Some(counter) = VERDICTS.get_ptr_mut(verdict as u32) {
        // SAFETY: the element belongs to this CPU, and XDP programs are not interrupted by themselves.
        unsafe { *counter += 1 };
    }
}

/// Counts a latency on this CPU.
#[inline(always)]
pub fn count_latency(bucket: u32) {
    if let Some(counter) = LATENCY.get_ptr_mut(bucket) {
        // SAFETY: as for `count`.
        unsafe { *counter += 1 };
    }
}

/// The program's settings.
#[inline(always)]
pub fn settings() -> Option<&'static KernelSettings> {
    SETTINGS.get(0)
}

/// This CPU's scratch space.
#[inline(always)]
pub fn scratch() -> Option<&'static mut Scratch> {
    let scratch = SCRATCH.get_ptr_mut(0)?;
    // SAFETY: the element belongs to this CPU, map elements live as long as the program, and this is its only borrow in
    // one run.
    Some(unsafe { &mut *scratch })
}

/// The record of the name in the scratch space, of so many bytes and with this hash, in the half of a generation.
#[inline(always)]
pub fn record(
    generation: u32,
    hash: u64,
    name_bytes: usize,
    scratch: &mut Scratch,
) -> Option<&'static NameRecord> {
    let named = tagged(half(generation) * NAME_PLACES + names::home(hash), names::tag(hash))?;
    // What is learned of the length while words are compared is forgotten again: else all that follows is walked for each.
    let name_bytes = scratch.seen.forgotten(name_bytes);
    scratch.is_name_of(named, name_bytes).then_some(&named.record)
}

/// The first place from one on that has this tag. Where one has it, the name looked for stands nowhere else: see [`names`].
#[inline(always)]
fn tagged(first: u32, tag: u32) -> Option<&'static NamedRecord> {
    for probe in 0..KERNEL_NAME_PROBES_MAX {
        let named = NAMES.get(first + probe)?;
        if named.tag == tag {
            return Some(named);
        }
        if named.tag == names::EMPTY {
            break;
        }
    }
    None
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

/// What holds for a half as a whole.
#[inline(always)]
pub fn zone(half: u32) -> Option<&'static ZoneHead> {
    ZONES.get(half)
}

/// The set in which the bucket of a client prefix stands.
#[inline(always)]
pub fn rate_set(prefix: u64, secret: u64) -> Option<&'static mut RateSet> {
    let set = RATES.get_ptr_mut(set_index(prefix, secret, RATE_SETS as usize) as u32)?;
    // SAFETY: elements live as long as the program. Another CPU may write the same one: then one of both answers is not
    // counted, or counted on the bill of a prefix that takes the same cell just now; each word stays whole, and both do no
    // harm.
    Some(unsafe { &mut *set })
}

/// Room for a traced query; `None` while the buffer is full.
#[inline(always)]
pub fn trace_event() -> Option<RingBufEntry<TraceEvent>> {
    TRACE.reserve::<TraceEvent>(0)
}
