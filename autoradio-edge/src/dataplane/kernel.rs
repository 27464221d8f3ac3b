//! Loads, attaches and feeds the XDP program. The only file that speaks to the kernel's BPF side.

use std::error::Error;
use std::io;
use std::net::IpAddr;

use autoradio_common::limits::{KERNEL_RECORDS_MAX, KERNEL_VARIANTS_MAX, LOCAL_ADDRESSES_MAX};
use autoradio_common::verdict::Verdict;
use autoradio_common::zone::{AnswerKey, AnswerRecord, KernelConfig, SlotTable, Variant};
use aya::maps::{Array, HashMap, MapData, MapError, PerCpuArray};
use aya::programs::xdp::XdpMode as AttachMode;
use aya::programs::{ProgramError, TestRun, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader};

use super::desired::{DesiredRecord, desired_records};
use super::{DataplaneError, XdpChoice, XdpMode};
use crate::clock;
use crate::dns::Zone;

/// How long the program answers without hearing from the daemon, in milliseconds.
pub const XDP_LEASE_MS: u64 = 10_000;

/// The object that the build embedded; empty when it was built without one.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/autoradio.bpf"));
const PROGRAM: &str = "autoradio";

/// The loaded program and its maps. Dropping it detaches the program.
pub struct Kernel {
    ebpf: Ebpf,
    mode: XdpMode,
    config: KernelConfig,
    /// The zone in the maps is the newest; otherwise the lease is not renewed, so that userspace answers.
    in_force: bool,
    published: Option<Vec<DesiredRecord>>,
    keys_before: Vec<AnswerKey>,
    keys: Vec<AnswerKey>,
    records: HashMap<MapData, AnswerKey, AnswerRecord>,
    slot_tables: Array<MapData, SlotTable>,
    variants: Array<MapData, Variant>,
    settings: Array<MapData, KernelConfig>,
    verdicts: PerCpuArray<MapData, u64>,
}

impl Kernel {
    /// Loads the program, ready to answer on `addresses` once it is attached and has a zone.
    ///
    /// The first eight addresses of each family count; queries to others are answered by userspace.
    pub fn load(addresses: &[IpAddr]) -> Result<Self, DataplaneError> {
        Self::load_object(OBJECT, addresses)
    }

    fn load_object(object: &[u8], addresses: &[IpAddr]) -> Result<Self, DataplaneError> {
        if object.is_empty() {
            return Err(DataplaneError::NoObject);
        }
        let mut ebpf = EbpfLoader::new().load(object).map_err(|error| load_error(&error))?;
        program(&mut ebpf)?.load().map_err(|error| load_error(&error))?;
        Ok(Self {
            mode: XdpMode::Off,
            config: config_for(addresses),
            in_force: false,
            published: None,
            keys_before: Vec::new(),
            keys: Vec::new(),
            records: open(&mut ebpf, "RECORDS")?,
            slot_tables: open(&mut ebpf, "SLOT_TABLES")?,
            variants: open(&mut ebpf, "VARIANTS")?,
            settings: open(&mut ebpf, "CONFIG")?,
            verdicts: open(&mut ebpf, "VERDICTS")?,
            ebpf,
        })
    }

    /// Attaches the program to `interface`. The result is the mode in use.
    pub fn attach(
        &mut self,
        interface: &str,
        choice: XdpChoice,
    ) -> Result<XdpMode, DataplaneError> {
        self.mode = match choice {
            XdpChoice::Off => XdpMode::Off,
            XdpChoice::Native => self.attach_in(interface, XdpMode::Native)?,
            XdpChoice::Generic => self.attach_in(interface, XdpMode::Generic)?,
            XdpChoice::Auto => match self.attach_in(interface, XdpMode::Native) {
                Err(DataplaneError::Attach { .. }) => {
                    self.attach_in(interface, XdpMode::Generic)?
                }
                result => result?,
            },
        };
        Ok(self.mode)
    }

    fn attach_in(&mut self, interface: &str, mode: XdpMode) -> Result<XdpMode, DataplaneError> {
        let flags = if mode == XdpMode::Native { AttachMode::Driver } else { AttachMode::Skb };
        match program(&mut self.ebpf)?.attach(interface, flags) {
            Ok(_) => Ok(mode),
            Err(error) => Err(attach_error(&error, interface, mode)),
        }
    }

    /// How the program is attached.
    pub fn mode(&self) -> XdpMode {
        self.mode
    }

    /// Puts a zone in force: written beside the old one under the next generation, then switched by one write.
    ///
    /// Nothing is written when the kernel's part of the zone has not changed. After an error the kernel answers nothing
    /// until a later call succeeds: an old zone would contradict userspace.
    pub fn publish(&mut self, zone: &Zone) -> Result<(), DataplaneError> {
        let desired = desired_records(zone);
        if self.published.as_ref() != Some(&desired) {
            let written = self.replace(desired);
            if written.is_err() {
                // If even this fails, the lease ends by itself: nothing renews it.
                let _ = self.end_lease();
            }
            written?;
        }
        self.in_force = true;
        self.renew_lease()
    }

    fn replace(&mut self, desired: Vec<DesiredRecord>) -> Result<(), DataplaneError> {
        // The half that is written now was last read before the previous switch.
        for key in self.keys_before.drain(..) {
            self.records.remove(&key).map_err(|error| map_error("RECORDS", &error))?;
        }
        let generation = self.config.generation.wrapping_add(1).max(1);
        let mut keys = Vec::new();
        if let Err(error) = self.write_generation(generation, &desired, &mut keys) {
            // The switch did not happen: the zone in force stays, what was written for the next one goes.
            for key in &keys {
                let _ = self.records.remove(key);
            }
            return Err(error);
        }
        self.keys_before = std::mem::replace(&mut self.keys, keys);
        self.config.generation = generation;
        self.published = Some(desired);
        Ok(())
    }

    fn write_generation(
        &mut self,
        generation: u32,
        desired: &[DesiredRecord],
        keys: &mut Vec<AnswerKey>,
    ) -> Result<(), DataplaneError> {
        let half = generation % 2;
        let mut variant_index = half * KERNEL_VARIANTS_MAX;
        let variants_end = variant_index + KERNEL_VARIANTS_MAX;
        let first_table = half * KERNEL_RECORDS_MAX;
        let records_max = KERNEL_RECORDS_MAX as usize;
        for (slot_table, record) in (first_table..).zip(desired.iter().take(records_max)) {
            let variants_first = variant_index;
            variant_index += record.variants.len() as u32;
            if variant_index > variants_end {
                break; // What does not fit is answered by userspace.
            }
            for (index, variant) in (variants_first..).zip(&record.variants) {
                self.variants.set(index, variant, 0).map_err(|e| map_error("VARIANTS", &e))?;
            }
            let table = &record.slots;
            self.slot_tables.set(slot_table, table, 0).map_err(|e| map_error("SLOT_TABLES", &e))?;
            let key = record.key(generation);
            let value = AnswerRecord { variants_first, slot_table };
            self.records.insert(key, value, 0).map_err(|e| map_error("RECORDS", &e))?;
            keys.push(key);
        }
        Ok(())
    }

    /// Lets the program answer for another [`XDP_LEASE_MS`], if the newest zone is in force.
    pub fn renew_lease(&mut self) -> Result<(), DataplaneError> {
        if !self.in_force {
            return Ok(());
        }
        self.config.lease_until_boot_ns = clock::boot_ns() + XDP_LEASE_MS * 1_000_000;
        self.settings.set(0, self.config, 0).map_err(|error| map_error("CONFIG", &error))
    }

    /// Ends the lease now, until the next zone is published: everything passes to userspace.
    pub fn end_lease(&mut self) -> Result<(), DataplaneError> {
        self.in_force = false;
        self.config.lease_until_boot_ns = 0;
        self.settings.set(0, self.config, 0).map_err(|error| map_error("CONFIG", &error))
    }

    /// Packets per verdict since the program was loaded, summed over the CPUs, in the order of [`Verdict::ALL`].
    pub fn verdicts(&self) -> Result<Vec<(Verdict, u64)>, DataplaneError> {
        let count = |verdict: &Verdict| {
            let per_cpu = self.verdicts.get(&(*verdict as u32), 0);
            let per_cpu = per_cpu.map_err(|error| map_error("VERDICTS", &error))?;
            Ok((*verdict, per_cpu.iter().sum()))
        };
        Verdict::ALL.iter().map(count).collect()
    }

    /// Runs the program on one frame without a network (`BPF_PROG_TEST_RUN`): the XDP action, and the frame after it.
    pub fn test_run(&mut self, frame: &[u8]) -> Result<(u32, Vec<u8>), DataplaneError> {
        let mut out = vec![0; frame.len() + 2_048];
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut out),
            ..TestRunOptions::new()
        };
        let result = program(&mut self.ebpf)?.test_run(options).map_err(|e| load_error(&e))?;
        out.truncate(result.data_size_out as usize);
        Ok((result.return_value, out))
    }
}

fn program(ebpf: &mut Ebpf) -> Result<&mut Xdp, DataplaneError> {
    let missing =
        || DataplaneError::Load { reason: format!("the object has no program {PROGRAM}") };
    let program = ebpf.program_mut(PROGRAM).ok_or_else(missing)?;
    program.try_into().map_err(|error: ProgramError| load_error(&error))
}

/// Takes a map out of the object, checking that both sides agree on its sizes.
fn open<M>(ebpf: &mut Ebpf, name: &'static str) -> Result<M, DataplaneError>
where
    M: TryFrom<aya::maps::Map, Error = MapError>,
{
    let missing = || DataplaneError::Load { reason: format!("the object has no map {name}") };
    M::try_from(ebpf.take_map(name).ok_or_else(missing)?).map_err(|error| map_error(name, &error))
}

fn config_for(addresses: &[IpAddr]) -> KernelConfig {
    let mut config = KernelConfig {
        lease_until_boot_ns: 0,
        generation: 0,
        zero: 0,
        local_v4: [[0; 4]; LOCAL_ADDRESSES_MAX],
        local_v6: [[0; 16]; LOCAL_ADDRESSES_MAX],
    };
    let (mut v4, mut v6) = (config.local_v4.iter_mut(), config.local_v6.iter_mut());
    for address in addresses {
        match address {
            IpAddr::V4(address) => v4.next().into_iter().for_each(|to| *to = address.octets()),
            IpAddr::V6(address) => v6.next().into_iter().for_each(|to| *to = address.octets()),
        }
    }
    config
}

/// Error number of the first I/O error among an error and its causes.
fn os_error(error: &(dyn Error + 'static)) -> Option<i32> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(io_error) = error.downcast_ref::<io::Error>() {
            return io_error.raw_os_error();
        }
        cause = error.source();
    }
    None
}

/// An error with all its causes: aya says what matters in the innermost.
fn explained(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let inner = error.to_string();
        if !text.contains(&inner) {
            text = format!("{text}: {inner}");
        }
        cause = error.source();
    }
    text
}

fn load_error(error: &(dyn Error + 'static)) -> DataplaneError {
    let reason = explained(error);
    match os_error(error) {
        Some(nix::libc::EPERM | nix::libc::EACCES) if !reason.contains("processed") => {
            DataplaneError::Permission { reason }
        }
        _ => DataplaneError::Load { reason },
    }
}

fn attach_error(error: &ProgramError, interface: &str, mode: XdpMode) -> DataplaneError {
    let interface = interface.to_owned();
    if let ProgramError::UnknownInterface { .. } = error {
        return DataplaneError::NoInterface { interface };
    }
    let reason = explained(error);
    match os_error(error) {
        Some(nix::libc::EPERM) => DataplaneError::Permission { reason },
        Some(nix::libc::EBUSY | nix::libc::EEXIST) => DataplaneError::Busy { interface },
        _ => DataplaneError::Attach { interface, mode, reason },
    }
}

fn map_error(map: &'static str, error: &MapError) -> DataplaneError {
    DataplaneError::Map { map, reason: explained(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_without_the_object_says_how_to_get_one() {
        let error = Kernel::load_object(&[], &[]).err().expect("refused").to_string();
        assert!(error.contains("cargo xtask build-ebpf") && error.contains("--xdp off"), "{error}");
    }

    #[test]
    fn a_damaged_object_is_no_panic() {
        let refused = Kernel::load_object(&[0x7f, b'E', b'L', b'F', 0, 0, 0, 0], &[]);
        assert!(matches!(refused.err(), Some(DataplaneError::Load { .. })));
    }
}
