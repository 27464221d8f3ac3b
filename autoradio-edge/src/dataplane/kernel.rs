//! Loads, attaches and feeds the XDP program. This file and its folder alone speak to the kernel's BPF side.

mod attach;
mod error;
mod look;
mod pins;
mod publish;
mod ticks;
mod trace;

use std::net::IpAddr;

use autoradio_common::cookie::CookieKeys;
use autoradio_common::limits::{KERNEL_LATENCY_BUCKETS, LOCAL_ADDRESSES_MAX};
use autoradio_common::rate::RateLimit;
use autoradio_common::settings::{FLAG_HISTOGRAM, FLAG_STICKY, KernelSettings, TraceFilter};
use autoradio_common::verdict::Verdict;
use autoradio_common::zone::NAME_KEY_BYTES;
use aya::maps::{Array, MapData, MapError, PerCpuArray, RingBuf};
use aya::programs::{ProgramError, TestRun, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader};
use tracing::{info, warn};

use super::half::Fit;
use super::{DataplaneError, XdpMode};
use crate::clock;
use crate::dns::Zone;
use attach::Attachment;
use error::{load_error, map_error};
pub use look::{LatencyLook, Look, QueryLook};
pub use pins::Pins;
use publish::Publisher;
pub use trace::TraceEvents;

/// How long the program answers without hearing from the daemon, in milliseconds.
pub const XDP_LEASE_MS: u64 = 10_000;

/// The object that the build embedded; empty when it was built without one.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/autoradio.bpf"));
const PROGRAM: &str = "autoradio";

/// What the operator decides about answers, the same in the kernel and in userspace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelPolicy {
    /// The draw follows the client's network instead of chance.
    pub sticky: bool,
    /// How fast one client prefix is answered.
    pub rate: RateLimit,
}

/// What the verifier made of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Instructions that the verifier walked, over all paths.
    pub instructions: u32,
    /// Bytes of the program after the verifier's rewriting.
    pub bytes: u32,
}

/// The loaded program and its maps. Dropping it detaches the program, unless it is pinned.
pub struct Kernel {
    ebpf: Ebpf,
    mode: XdpMode,
    attachment: Attachment,
    settings: KernelSettings,
    /// The zone in the maps is the newest; otherwise the lease is not renewed, so that userspace answers.
    in_force: bool,
    publisher: Publisher,
    fit: Fit,
    settings_map: Array<MapData, KernelSettings>,
    verdicts: PerCpuArray<MapData, u64>,
    latency: PerCpuArray<MapData, u64>,
    trace_events: Option<RingBuf<MapData>>,
}

impl Kernel {
    /// Loads the program, ready to answer on `addresses` once it is attached and has a zone.
    ///
    /// The first eight addresses of each family count; queries to others are answered by userspace.
    pub fn load(addresses: &[IpAddr]) -> Result<Self, DataplaneError> {
        Self::load_object(OBJECT, addresses)
    }

    /// The same of another object that has the program under the same name: benches have their own.
    pub fn load_object(object: &[u8], addresses: &[IpAddr]) -> Result<Self, DataplaneError> {
        if object.is_empty() {
            return Err(DataplaneError::NoObject);
        }
        let ebpf = EbpfLoader::new().load(object).map_err(|error| load_error(&error))?;
        let mut kernel = Self::with_maps(ebpf, addresses)?;
        kernel.publisher.begin_empty();
        kernel.write_settings()?;
        Ok(kernel)
    }

    /// The same, on maps that outlive this process; on those that an earlier one left, if they are of this object.
    pub fn load_pinned(addresses: &[IpAddr], mut pins: Pins) -> Result<Self, DataplaneError> {
        if OBJECT.is_empty() {
            return Err(DataplaneError::NoObject);
        }
        let mut ebpf = EbpfLoader::new().load(OBJECT).map_err(|error| load_error(&error))?;
        pins.stage(ebpf.maps())?;
        let left = pins.maps_of(OBJECT);
        if let Some(left) = &left {
            let mut loader = EbpfLoader::new();
            for (name, path) in left {
                loader.map_pin_path(name, path.as_path());
            }
            ebpf = loader.load(OBJECT).map_err(|error| load_error(&error))?;
            pins.unstage()?;
        }
        let mut kernel = Self::with_maps(ebpf, addresses)?;
        if left.is_some() {
            kernel.adopt_settings()?;
        } else {
            kernel.publisher.begin_empty();
        }
        kernel.write_settings()?;
        kernel.attachment = Attachment::pinned_at(pins, left.is_some());
        Ok(kernel)
    }

    fn with_maps(mut ebpf: Ebpf, addresses: &[IpAddr]) -> Result<Self, DataplaneError> {
        program(&mut ebpf)?.load().map_err(|error| load_error(&error))?;
        ticks::load(&mut ebpf)?;
        Ok(Self {
            mode: XdpMode::Off,
            settings: settings_for(addresses),
            attachment: Attachment::default(),
            in_force: false,
            publisher: Publisher::open(&mut ebpf)?,
            fit: Fit::default(),
            settings_map: open(&mut ebpf, "SETTINGS")?,
            verdicts: open(&mut ebpf, "VERDICTS")?,
            latency: open(&mut ebpf, "LATENCY")?,
            trace_events: Some(open(&mut ebpf, "TRACE")?),
            ebpf,
        })
    }

    /// Goes on from what the maps say: the zone in force, and until when. What else they say, this process knows better.
    fn adopt_settings(&mut self) -> Result<(), DataplaneError> {
        let left = self.settings_map.get(&0, 0).map_err(|error| map_error("SETTINGS", &error))?;
        let KernelSettings { local_v4, local_v6, trace, tick_ns, .. } = self.settings;
        let flags = left.flags & !FLAG_HISTOGRAM;
        self.settings = KernelSettings { local_v4, local_v6, trace, tick_ns, flags, ..left };
        Ok(())
    }

    /// How the program is attached.
    pub fn mode(&self) -> XdpMode {
        self.mode
    }

    /// Puts a zone in force: what differs is written into the half of the maps that is not read, then one write of the
    /// settings switches.
    ///
    /// Waits for some milliseconds where the last call was less than that ago. After an error the kernel answers nothing
    /// until a later call succeeds: an old zone would contradict userspace.
    pub fn publish(&mut self, zone: &Zone) -> Result<(), DataplaneError> {
        let before = self.settings.generation;
        let fit = match self.switch_to(zone, before.wrapping_add(1).max(1)) {
            Ok(fit) => fit,
            Err(error) => {
                // The half that was in force still is: the next zone belongs into the other one.
                self.settings.generation = before;
                // If even this fails, the lease ends by itself: nothing renews it.
                let _ = self.end_lease();
                return Err(error);
            }
        };
        self.publisher.switched();
        self.report_fit(fit);
        self.replace_waiting()
    }

    /// Says once that the maps lack a part of the zone, and when they hold it all again.
    fn report_fit(&mut self, fit: Fit) {
        if std::mem::replace(&mut self.fit, fit).is_whole() == fit.is_whole() {
            return;
        }
        let Fit { names_left_out, sets_left_out } = fit;
        if fit.is_whole() {
            info!("the whole zone fits the kernel's maps again");
        } else {
            warn!(
                names_left_out,
                sets_left_out,
                "a part of the zone is too large for the kernel's maps: userspace answers it, and where names are left out, \
                 also for every name that does not exist"
            );
        }
    }

    /// Lets the program answer for another [`XDP_LEASE_MS`], if the newest zone is in force, and tells it the time.
    pub fn renew_lease(&mut self) -> Result<(), DataplaneError> {
        self.settings.unix_s = (clock::unix_s() & u64::from(u32::MAX)) as u32;
        if self.in_force {
            let now_ns = ticks::ticks(&mut self.ebpf)?.wrapping_mul(self.settings.tick_ns);
            self.settings.lease_until_ns = now_ns + XDP_LEASE_MS * 1_000_000;
        }
        self.write_settings()
    }

    fn switch_to(&mut self, zone: &Zone, generation: u32) -> Result<Fit, DataplaneError> {
        let fit = self.publisher.write(zone, generation)?;
        self.settings.generation = generation;
        self.in_force = true;
        self.renew_lease()?;
        Ok(fit)
    }

    /// Ends the lease now, until the next zone is published: everything passes to userspace.
    pub fn end_lease(&mut self) -> Result<(), DataplaneError> {
        self.in_force = false;
        self.settings.lease_until_ns = 0;
        self.write_settings()
    }

    /// Sets what the operator decides about answers. Until then: draws by chance, and no limit.
    pub fn set_policy(&mut self, policy: &KernelPolicy) -> Result<(), DataplaneError> {
        self.set_flag(FLAG_STICKY, policy.sticky);
        self.settings.rate = policy.rate;
        self.write_settings()
    }

    /// Sets the secrets of the cookies. Until then cookies are ignored.
    pub fn set_cookies(&mut self, keys: CookieKeys) -> Result<(), DataplaneError> {
        self.settings.cookies = keys;
        self.write_settings()
    }

    /// Says which queries are shown as [`TraceEvents`], and until when.
    pub fn set_trace(&mut self, filter: TraceFilter) -> Result<(), DataplaneError> {
        self.settings.trace = filter;
        self.write_settings()
    }

    /// Switches the latency histogram on or off: it costs two readings of the clock for each query.
    pub fn set_histogram(&mut self, on: bool) -> Result<(), DataplaneError> {
        self.set_flag(FLAG_HISTOGRAM, on);
        self.write_settings()
    }

    fn set_flag(&mut self, flag: u32, on: bool) {
        self.settings.flags = self.settings.flags & !flag | if on { flag } else { 0 };
    }

    fn write_settings(&mut self) -> Result<(), DataplaneError> {
        self.settings_map.set(0, self.settings, 0).map_err(|error| map_error("SETTINGS", &error))
    }

    /// Packets per verdict since the program was loaded, summed over the CPUs, in the order of [`Verdict::ALL`].
    pub fn verdicts(&self) -> Result<Vec<(Verdict, u64)>, DataplaneError> {
        let count = |verdict: &Verdict| {
            Ok((*verdict, sum_of_cpus(&self.verdicts, "VERDICTS", *verdict as u32)?))
        };
        Verdict::ALL.iter().map(count).collect()
    }

    /// Queries by the time that the program took for them, while the histogram was on, summed over the CPUs: element `n`
    /// counts those of `2^n` up to `2^(n+1)` nanoseconds, the first those of 0 too.
    pub fn latency(&self) -> Result<[u64; KERNEL_LATENCY_BUCKETS], DataplaneError> {
        let mut buckets = [0; KERNEL_LATENCY_BUCKETS];
        for (index, bucket) in (0..).zip(&mut buckets) {
            *bucket = sum_of_cpus(&self.latency, "LATENCY", index)?;
        }
        Ok(buckets)
    }

    /// The traced queries. Only one may read them: `None` to whoever comes second.
    pub fn trace_events(&mut self) -> Option<TraceEvents> {
        self.trace_events.take().map(TraceEvents::new)
    }

    /// What the verifier made of the program; zeros where the kernel is too old to tell.
    pub fn verified(&mut self) -> Result<Verified, DataplaneError> {
        let info = program(&mut self.ebpf)?.info().map_err(|error| load_error(&error))?;
        let instructions = info.verified_instruction_count().unwrap_or(0);
        Ok(Verified { instructions, bytes: info.size_translated().unwrap_or(0) })
    }

    /// The loaded object, for what measures it.
    pub fn ebpf_mut(&mut self) -> &mut Ebpf {
        &mut self.ebpf
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
    program_named(ebpf, PROGRAM)
}

fn program_named<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp, DataplaneError> {
    let missing = || DataplaneError::Load { reason: format!("the object has no program {name}") };
    let program = ebpf.program_mut(name).ok_or_else(missing)?;
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

fn sum_of_cpus(
    counters: &PerCpuArray<MapData, u64>,
    map: &'static str,
    index: u32,
) -> Result<u64, DataplaneError> {
    let per_cpu = counters.get(&index, 0).map_err(|error| map_error(map, &error))?;
    Ok(per_cpu.iter().sum())
}

fn settings_for(addresses: &[IpAddr]) -> KernelSettings {
    let mut settings = KernelSettings {
        lease_until_ns: 0,
        tick_ns: clock::tick_ns(),
        rate_secret: rand::random(),
        generation: 0,
        flags: 0,
        unix_s: 0,
        zero: 0,
        rate: RateLimit::default(),
        cookies: CookieKeys::default(),
        trace: TraceFilter { until_ns: 0, name_lower: [0; NAME_KEY_BYTES] },
        local_v4: [[0; 4]; LOCAL_ADDRESSES_MAX],
        local_v6: [[0; 16]; LOCAL_ADDRESSES_MAX],
    };
    let (mut v4, mut v6) = (settings.local_v4.iter_mut(), settings.local_v6.iter_mut());
    for address in addresses {
        let taken = match address {
            IpAddr::V4(address) => v4.next().map(|to| *to = address.octets()),
            IpAddr::V6(address) => v6.next().map(|to| *to = address.octets()),
        };
        if taken.is_none() {
            warn!(%address, limit = LOCAL_ADDRESSES_MAX, "too many addresses: userspace alone answers on this one");
        }
    }
    settings
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
