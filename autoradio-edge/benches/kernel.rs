//! How long the kernel program takes for one packet: `cargo bench --bench kernel [-- --quick] [NAME…]`, as root, after
//! `cargo xtask build-ebpf`. Prints one line of JSON for each kind of packet, one for what was taken off, and
//! some for the publishing of a zone at the cluster's limits.
//!
//! The kernel runs the program many times on one packet (`BPF_PROG_TEST_RUN`) and tells the mean. Each run would see what
//! the run before made of the packet, so the object `bench` puts the query back first, and its program `restore` does that
//! and nothing else. The figure is the difference of both, each the median of several measurements: the cost of the run
//! itself is in both, and so in neither.

#[path = "../tests/frames/mod.rs"]
mod frames;

use std::io::Write;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use autoradio_common::cookie::{CookieClient, CookieKeys, hash, stamp};
use autoradio_common::limits::{MOUNTS_MAX, NODES_MAX};
use autoradio_common::rate::RateLimit;
use autoradio_edge::clock;
use autoradio_edge::cluster::{Capacity, NodeRecord, SCHEMA_VERSION, Snapshot};
use autoradio_edge::dataplane::{Kernel, KernelPolicy};
use autoradio_edge::dns::{ZoneSettings, compile};
use autoradio_edge::placement::place;
use aya::maps::{Array, MapData};
use aya::programs::{TestRun, TestRunOptions, Xdp};
use frames::{CLIENT_V4, LOCAL_V4, LOCAL_V6, OPT, QuerySpec, frame_v4, frame_v6};
use serde_json::json;

/// Longest query's frame, as the bench object has it.
const FRAME_BYTES_MAX: usize = 512;
const EDNS: [u16; 4] = [1, 0, 0, 1];

fn main() -> Result<()> {
    // cargo adds `--bench`; what else is not known is not meant for this program.
    let quick = std::env::args().any(|argument| argument == "--quick");
    let only: Vec<String> = std::env::args().skip(1).filter(|it| !it.starts_with("--")).collect();
    let wanted = |name: &str| only.is_empty() || only.iter().any(|it| it == name);
    ensure!(
        nix::unistd::geteuid().is_root(),
        "the kernel runs programs for root only: run as root"
    );
    let mut bench = Bench::load(if quick { 50_000 } else { 500_000 })?;
    let shortest = frame_v4(&QuerySpec::default().message());
    bench.put_frame(&shortest)?;
    for name in ["empty", "restore"] {
        let ns = bench.run(name, &shortest, XDP_PASS)?;
        writeln!(std::io::stdout(), "{}", json!({ "bench": "kernel", "name": name, "ns": ns }))?;
    }
    for (name, frame, action) in packets().into_iter().filter(|(name, ..)| wanted(name)) {
        bench.kernel.set_policy(&policy(name))?;
        let ns = bench.measure(&frame, action).with_context(|| name.to_owned())?;
        let row = json!({ "bench": "kernel", "name": name, "ns": ns });
        writeln!(std::io::stdout(), "{row}")?;
    }
    if wanted("publish") { bench.measure_publishing() } else { Ok(()) }
}

const XDP_PASS: u32 = 2;
const XDP_TX: u32 = 3;

/// Every kind of packet, and what becomes of it.
fn packets() -> Vec<(&'static str, Vec<u8>, u32)> {
    let plain = QuerySpec::default;
    let with_opt = || QuerySpec { counts: EDNS, after: OPT, ..plain() };
    let a_opt = frame_v4(&with_opt().message());
    let cookie = cookie_opt();
    let with_cookie = QuerySpec { after: &cookie, ..with_opt() };
    let absent = b"\x06absent\x05radio\x07example\x03com\x00";
    let other = b"\x05audio\x07example\x03com\x00";
    let mut not_dns = a_opt.clone();
    not_dns[36..38].copy_from_slice(&80u16.to_be_bytes());
    vec![
        ("a", frame_v4(&plain().message()), XDP_TX),
        ("a_opt", a_opt.clone(), XDP_TX),
        ("a_opt_rrl", a_opt, XDP_TX),
        ("a_opt_cookie", frame_v4(&with_cookie.message()), XDP_TX),
        ("aaaa_v6", frame_v6(&QuerySpec { qtype: 28, ..with_opt() }.message()), XDP_TX),
        ("nodata", frame_v4(&QuerySpec { qtype: 65, ..with_opt() }.message()), XDP_TX),
        ("nxdomain", frame_v4(&QuerySpec { name: absent, ..with_opt() }.message()), XDP_TX),
        ("pass_not_dns", not_dns, XDP_PASS),
        ("pass_no_record", frame_v4(&QuerySpec { name: other, ..with_opt() }.message()), XDP_PASS),
    ]
}

/// No limit, or one that is never reached.
fn policy(name: &str) -> KernelPolicy {
    let answers = if name.ends_with("_rrl") { 1_000_000_000 } else { 0 };
    KernelPolicy { sticky: false, rate: RateLimit::per_second(answers, 2) }
}

fn keys() -> CookieKeys {
    CookieKeys { current: CookieKeys::key(*b"0123456789abcdef"), other: [0; 2] }
}

/// An OPT record with a cookie that is valid for an hour from now on.
fn cookie_opt() -> Vec<u8> {
    let stamp = stamp(clock::unix_s() as u32);
    let client = CookieClient::V4(u32::from_le_bytes(CLIENT_V4));
    let hash = hash(keys().current, *b"clientck", stamp, client);
    [&OPT[..9], b"\x00\x1c\x00\x0a\x00\x18clientck", &stamp, &hash].concat()
}

struct Bench {
    kernel: Kernel,
    repeats: u32,
}

impl Bench {
    fn load(repeats: u32) -> Result<Self> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bpf/bench");
        let object = std::fs::read(&path)
            .with_context(|| format!("{}: run `cargo xtask build-ebpf`", path.display()))?;
        let mut kernel = Kernel::load_object(&object, &[LOCAL_V4.into(), LOCAL_V6.into()])?;
        for name in ["empty", "restore"] {
            let program = kernel.ebpf_mut().program_mut(name).context("no such program")?;
            <&mut Xdp>::try_from(program)?.load()?;
        }
        let settings = ZoneSettings::new("radio.example.com", 3, &[])?;
        kernel.publish(&compile(&place(&snapshot()), &settings))?;
        kernel.set_cookies(keys())?;
        Ok(Self { kernel, repeats })
    }

    /// Gives both programs the query that they put back.
    fn put_frame(&mut self, frame: &[u8]) -> Result<()> {
        ensure!(frame.len() <= FRAME_BYTES_MAX, "the frame is too long");
        let mut element = [0; 4 + FRAME_BYTES_MAX];
        element[..4].copy_from_slice(&(frame.len() as u32).to_ne_bytes());
        element[4..4 + frame.len()].copy_from_slice(frame);
        let map = self.kernel.ebpf_mut().map_mut("FRAME").context("no map FRAME")?;
        Array::<&mut MapData, [u8; 4 + FRAME_BYTES_MAX]>::try_from(map)?.set(0, element, 0)?;
        Ok(())
    }

    /// Nanoseconds that the program takes for the frame.
    fn measure(&mut self, frame: &[u8], action: u32) -> Result<f64> {
        self.put_frame(frame)?;
        let mut net: Vec<f64> = Vec::new();
        for _ in 0..7 {
            self.kernel.renew_lease()?;
            let restore = self.run("restore", frame, XDP_PASS)?;
            net.push(self.run("autoradio", frame, action)? - restore);
        }
        net.sort_by(f64::total_cmp);
        Ok(net[net.len() / 2])
    }

    /// Prints how long it takes to publish a zone at the cluster's limits, all of it and with a new serial number only.
    fn measure_publishing(&mut self) -> Result<()> {
        let settings = ZoneSettings::new("radio.example.com", 3, &[])?;
        let zone = |revision| {
            let mut zone = compile(&place(&Snapshot { revision, ..snapshot() }), &settings);
            let (source, sets) = (zone.apex.child("source"), zone.names[&zone.apex].clone());
            for number in 0..NODES_MAX + MOUNTS_MAX {
                zone.names.insert(source.child(&format!("m{number}")), sets.clone());
            }
            zone
        };
        // Both halves are filled once before what is left is the difference.
        for (name, revision) in [("publish_all", 10), ("publish_all", 11), ("publish_serial", 12)] {
            let (zone, started) = (zone(revision), clock::now());
            self.kernel.publish(&zone)?;
            let ns = started.elapsed().as_nanos();
            let row = json!({ "bench": "kernel", "name": name, "ns": ns });
            writeln!(std::io::stdout(), "{row}")?;
        }
        Ok(())
    }

    fn run(&mut self, program: &str, frame: &[u8], action: u32) -> Result<f64> {
        let program = self.kernel.ebpf_mut().program_mut(program).context("no such program")?;
        let options =
            TestRunOptions { data_in: Some(frame), repeat: self.repeats, ..TestRunOptions::new() };
        let result = <&mut Xdp>::try_from(program)?.test_run(options)?;
        ensure!(result.return_value == action, "action {}, not {action}", result.return_value);
        Ok((result.duration.as_secs_f64() * 1e9).round())
    }
}

/// Five nodes of both families.
fn snapshot() -> Snapshot {
    let node = |number: u8| {
        let mut v6 = LOCAL_V6;
        v6[15] = number;
        let record = NodeRecord {
            schema: SCHEMA_VERSION,
            name: format!("node{number}").parse().expect("a name"),
            domain: "radio.example.com".into(),
            addresses: vec![IpAddr::from([198, 18, 0, number]), IpAddr::from(v6)],
            peer_address: IpAddr::from([198, 18, 0, number]),
            http_port: 80,
            icecast_port: 8000,
            version: "0".into(),
            id: String::new(),
            capacity: Capacity::default(),
            unknown: serde_json::Map::new(),
        };
        (record.name.clone(), Arc::new(record))
    };
    Snapshot { revision: 9, nodes: (1..=5).map(node).collect(), ..Snapshot::default() }
}
