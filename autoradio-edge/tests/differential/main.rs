//! The kernel program against the userspace responder, frame by frame, over any number of generated frames.
//!
//! A passed frame comes out as it went in; an answered one is a valid frame with the bytes that userspace answers to the
//! same client at the same time. What must be answered in the kernel is judged apart (`oracle.rs`), so that a program which
//! passes everything does not get through.
//!
//! `AUTORADIO_FRAMES` says how many frames (100 000 without it), `AUTORADIO_SEED` which; the seed in use is printed.

mod generate;
mod oracle;
mod reply;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use autoradio_common::cookie::CookieKeys;
use autoradio_common::rate::RateLimit;
use autoradio_common::verdict::Fate;
use autoradio_edge::clock;
use autoradio_edge::cluster::{Capacity, MountRecord, NodeRecord, SCHEMA_VERSION, Snapshot};
use autoradio_edge::dataplane::{Kernel, KernelPolicy};
use autoradio_edge::dns::{Asked, Policy, Select, Transport, Zone, ZoneSettings, compile, respond};
use autoradio_edge::placement::place;
use generate::Material;
use hickory_proto::op::{Message, MessageType};
use hickory_proto::serialize::binary::DecodeError;
use oracle::Datagram;
use rand::SeedableRng;
use rand::rngs::StdRng;

const XDP_PASS: u32 = 2;
const XDP_TX: u32 = 3;
const LOCAL_V4: [u8; 4] = [198, 18, 0, 1];
const LOCAL_V6: [u8; 16] = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
/// Frames between two renewals of the lease, and of the time that the program knows.
const ROUND: usize = 2_000;
const KEYS: CookieKeys = CookieKeys { current: [1, 2], other: [3, 4] };

/// A zone of this name with twenty nodes in both families, whose names have all lengths up to 43, and some mounts.
///
/// With eighteen addresses, AAAA answers are over 512 bytes and A answers are not.
fn zone(apex: &str, answers_max: usize) -> Zone {
    let mut snapshot = Snapshot { revision: 9, ..Snapshot::default() };
    for number in 1..=20_u8 {
        let name = format!("{}{number}", "n".repeat(2 * usize::from(number)));
        let record = NodeRecord {
            schema: SCHEMA_VERSION,
            name: name.parse().expect("a name"),
            domain: apex.to_owned(),
            addresses: vec![
                IpAddr::from([198, 18, 0, number]),
                IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, u16::from(number)]),
            ],
            peer_address: IpAddr::from([198, 18, 0, number]),
            http_port: 80,
            icecast_port: 8_000,
            version: String::new(),
            id: String::new(),
            capacity: Capacity::default(),
            unknown: serde_json::Map::new(),
        };
        snapshot.nodes.insert(record.name.clone(), Arc::new(record));
    }
    for path in ["/live", "/evening/show.ogg", "/caf\u{e9}"] {
        let path = path.parse().expect("a mount path");
        let record = MountRecord::new(path, "source", String::new());
        snapshot.mounts.insert(record.path.clone(), Arc::new(record));
    }
    let settings = ZoneSettings::new(apex, answers_max, &[]).expect("settings");
    compile(&place(&snapshot), &settings)
}

/// Both sides with the same zone and the same policy.
struct Bench {
    kernel: Kernel,
    zone: Zone,
    policy: Policy,
    unix_s: u32,
    locals: [IpAddr; 2],
    /// What came of the frames.
    answered: u64,
    passed: u64,
}

impl Bench {
    fn new(zone: Zone, select: Select) -> Self {
        let locals = [IpAddr::from(LOCAL_V4), IpAddr::from(LOCAL_V6)];
        let mut kernel = Kernel::load(&locals).expect("the kernel program loads");
        let sticky = select == Select::Sticky;
        kernel.set_policy(&KernelPolicy { sticky, rate: RateLimit::default() }).expect("set");
        kernel.set_cookies(KEYS).expect("set");
        kernel.publish(&zone).expect("published");
        let policy = Policy { select, cookies: KEYS, ..Policy::named("node1".to_owned()) };
        let mut bench = Self { kernel, zone, policy, unix_s: 0, locals, answered: 0, passed: 0 };
        bench.renew();
        bench
    }

    /// Renews the lease, and learns what time the program has been told.
    fn renew(&mut self) {
        loop {
            let before = clock::unix_s();
            self.kernel.renew_lease().expect("renewed");
            if clock::unix_s() == before {
                self.unix_s = before as u32;
                return;
            }
        }
    }

    /// Runs one frame and judges what comes of it.
    fn judge(&mut self, frame: &[u8]) {
        let (action, out) = self.kernel.test_run(frame).expect("test run");
        let query = oracle::datagram(frame, &self.locals);
        match action {
            XDP_PASS => {
                assert!(out == frame, "a passed frame comes out as it went in");
                let must = |query: &Datagram<'_>| {
                    oracle::kernel_must_answer(query.message, self.zone.apex.as_bytes())
                };
                assert!(!query.as_ref().is_some_and(must), "the kernel must answer this");
                self.passed += 1;
            }
            XDP_TX => {
                let query = query.expect("only a query to this node is answered");
                self.judge_reply(&query, reply::message(&out, frame, &query));
                self.answered += 1;
            }
            _ => panic!("XDP action {action}"),
        }
    }

    /// The same; a frame at which a law is broken is shown.
    fn judge_or_show(&mut self, frame: &[u8], which: impl Fn() -> String) {
        let judged = std::panic::AssertUnwindSafe(|| self.judge(frame));
        let held = std::panic::catch_unwind(judged).is_ok();
        assert!(held, "{}: {frame:02x?}", which());
    }

    fn judge_reply(&self, query: &Datagram<'_>, reply: &[u8]) {
        match Message::from_vec(reply) {
            Ok(decoded) => {
                assert_eq!(decoded.metadata.message_type, MessageType::Response);
                assert_eq!(decoded.metadata.id.to_be_bytes(), query.message[..2], "its number");
                assert_eq!(decoded.queries.len(), 1, "one question");
            }
            // A client subnet of no family, echoed; legal (RFC 7871 §6), but not known there.
            Err(DecodeError::UnknownAddressFamily(0)) => {}
            Err(error) => panic!("a reply that cannot be read: {error}"),
        }
        let draws = match self.policy.select {
            Select::Sticky => 0..=0,
            Select::Random => 0..=u8::MAX,
        };
        let mut told = Vec::new();
        let same = draws.into_iter().any(|draw| {
            let (policy, client, unix_s) = (&self.policy, query.client, self.unix_s);
            let asked = Asked { policy, client, draw, unix_s, via: Transport::Udp };
            respond(query.message, &self.zone, &asked, &mut told).expect("an answer");
            told == reply
        });
        assert!(same, "the kernel answers {reply:02x?}, userspace {told:02x?}");
    }

    /// What the program has counted, for whoever reads the test's output; and a check that it has counted every frame.
    fn report(&self, title: &str) {
        let verdicts = self.kernel.verdicts().expect("counters");
        let mut by_fate: BTreeMap<&str, u64> = BTreeMap::new();
        for (verdict, count) in &verdicts {
            let fate = if verdict.fate() == Fate::Answered { "answered" } else { "passed" };
            *by_fate.entry(fate).or_default() += count;
        }
        let (answered, passed) = (by_fate["answered"], by_fate["passed"]);
        let seen: Vec<String> = verdicts
            .iter()
            .filter(|(_, count)| *count > 0)
            .map(|(verdict, count)| format!("{} {count}", verdict.label()))
            .collect();
        eprintln!("{title}: {}", seen.join(", "));
        assert_eq!((answered, passed), (self.answered, self.passed), "every frame is counted");
        assert!(answered > passed / 3, "enough of the frames are answered to mean something");
    }
}

/// Sorted: the order of a hash map is chance, and the seed says all.
fn names(zone: &Zone) -> Vec<Vec<u8>> {
    let mut names: Vec<Vec<u8>> = zone.names.keys().map(|name| name.as_bytes().to_vec()).collect();
    names.sort_by_key(|name| (name.len(), name.clone()));
    names
}

fn setting(name: &str, without: u64) -> u64 {
    std::env::var(name).map_or(without, |text| text.parse().expect("a number"))
}

/// Runs `frames` generated frames; names the one at which a law is broken.
fn run(bench: &mut Bench, seed: u64, frames: usize) {
    let mut random = StdRng::seed_from_u64(seed);
    let names = names(&bench.zone);
    for number in 0..frames {
        if number % ROUND == 0 {
            bench.renew();
        }
        let (unix_s, keys) = (bench.unix_s, KEYS);
        let material =
            Material { names: &names, keys, unix_s, local_v4: LOCAL_V4, local_v6: LOCAL_V6 };
        let frame = generate::frame(number, &material, &mut random);
        bench.judge_or_show(&frame, || format!("AUTORADIO_SEED={seed}, frame {number}"));
    }
}

#[test]
#[ignore = "needs root and the kernel program: cargo xtask test"]
fn kernel_and_userspace_agree_on_every_frame() {
    let frames = setting("AUTORADIO_FRAMES", 100_000) as usize;
    let seed = setting("AUTORADIO_SEED", rand::random::<u32>().into());
    eprintln!("AUTORADIO_SEED={seed} AUTORADIO_FRAMES={frames}");
    for (part, (title, zone, select)) in (0..).zip([
        ("sticky", zone("radio.example.com", 3), Select::Sticky),
        ("by chance", zone("radio.example.com", 3), Select::Random),
        ("large answers", zone("radio.example.com", 18), Select::Sticky),
        ("a short name of the zone", zone("t", 3), Select::Sticky),
    ]) {
        let mut bench = Bench::new(zone, select);
        run(&mut bench, seed.wrapping_add(part), frames / 4);
        bench.report(title);
    }
}

/// Whole frames are cut, and messages in frames whose lengths agree.
#[test]
#[ignore = "needs root and the kernel program: cargo xtask test"]
fn kernel_and_userspace_agree_on_queries_cut_at_every_byte() {
    let mut bench = Bench::new(zone("radio.example.com", 3), Select::Sticky);
    let (names, unix_s) = (names(&bench.zone), bench.unix_s);
    let material =
        Material { names: &names, keys: KEYS, unix_s, local_v4: LOCAL_V4, local_v6: LOCAL_V6 };
    let mut random = StdRng::seed_from_u64(7);
    for _ in 0..60 {
        bench.renew();
        let (client, message) = generate::query(&material, &mut random);
        let whole = client.frame(&message, &material);
        for end in 0..=message.len() {
            let honest = client.frame(&message[..end], &material);
            bench.judge_or_show(&honest, || format!("the message cut to {end}"));
        }
        // The kernel refuses to run a program on less than an Ethernet header.
        for end in 14..whole.len() {
            bench.judge_or_show(&whole[..end], || format!("the frame cut to {end}"));
        }
    }
    assert!(bench.answered >= 30, "{} of the queries are answered when whole", bench.answered);
}
