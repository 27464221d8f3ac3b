//! How long it takes to follow the cluster at its limits: `cargo bench --bench placement [-- --quick]`.
//!
//! `fold_ms`: one event of etcd folded into the state, and the snapshot made of it. `place_ms`: a full placement of that
//! snapshot. `compile_ms`: the zone of that placement. Prints one line of JSON; a percentile of 100 is the maximum.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use autoradio_common::limits::{MOUNTS_MAX, NODES_MAX};
use autoradio_edge::clock;
use autoradio_edge::cluster::{
    Capacity, Event, LoadRecord, MasterRecord, MountPath, MountRecord, NodeName, NodeRecord,
    PREFIX, SCHEMA_VERSION, SourceRecord, State, TitleRecord,
};
use autoradio_edge::dns::{ZoneSettings, compile};
use autoradio_edge::placement::{Ledger, Placer};
use serde::Serialize;
use serde_json::{Value, json};

const PERCENTILES: [usize; 3] = [50, 99, 100];
/// Mounts and sources that each node reports.
const MOUNTS_PER_REPORT: usize = 50;

fn main() -> std::io::Result<()> {
    // cargo adds `--bench`; what else is not known is not meant for this program.
    let quick = std::env::args().any(|argument| argument == "--quick");
    let runs = if quick { 50 } else { 500 };
    let mut state = full_cluster();
    let mut rows = rows("fold_ms", measure_fold(&mut state, runs));
    rows.extend(self::rows("place_ms", measure_place(&state, runs)));
    rows.extend(self::rows("compile_ms", measure_compile(&state, runs.min(50))));
    writeln!(std::io::stdout(), "{}", json!({ "bench": "placement", "rows": rows }))
}

/// Everything that a cluster at its limits has in etcd.
fn full_cluster() -> State {
    let mut state = State::default();
    let mut revision = 0;
    let mut put = |key: String, value: Vec<u8>| {
        revision += 1;
        let damaged = state.apply(&event(&key, value, revision));
        assert_eq!(damaged, None, "a record that is refused measures nothing");
    };
    for number in 0..NODES_MAX {
        put(format!("nodes/{}", node(number)), bytes(&node_record(number)));
        put(format!("load/{}", node(number)), bytes(&load_record(number, 1)));
    }
    for number in 0..MOUNTS_MAX {
        let id = mount(number).id();
        put(format!("mounts/{id}"), bytes(&mount_record(number)));
        put(format!("masters/{id}"), bytes(&MasterRecord { node: node(number % NODES_MAX) }));
        put(format!("titles/{id}"), bytes(&title_record(number)));
    }
    state
}

/// Reports, claims and mounts in turn, each followed by a snapshot.
fn measure_fold(state: &mut State, runs: usize) -> Vec<Duration> {
    let mut kept = state.snapshot();
    let fold = |run: usize| {
        let number = run * 7 % NODES_MAX;
        let revision = state.revision() + 1;
        let id = mount(number).id();
        let (key, value) = match run % 3 {
            0 => (format!("load/{}", node(number)), bytes(&load_record(number, run as u64))),
            1 => (format!("masters/{id}"), bytes(&MasterRecord { node: node(run % NODES_MAX) })),
            _ => (format!("mounts/{id}"), bytes(&mount_record(number))),
        };
        let event = event(&key, value, revision);
        let began = clock::now();
        let damaged = state.apply(&event);
        let snapshot = state.snapshot();
        let took = clock::now() - began;
        assert_eq!((damaged, snapshot.revision), (None, revision));
        // The one before is dropped when nobody reads it any more, as in the daemon.
        kept = snapshot;
        assert_eq!(kept.mounts.len(), MOUNTS_MAX);
        took
    };
    (0..runs).map(fold).collect()
}

fn measure_place(state: &State, runs: usize) -> Vec<Duration> {
    let snapshot = state.snapshot();
    let mut ledger = Ledger::default();
    ledger.note_reports(&snapshot.loads, 0);
    snapshot.nodes.keys().for_each(|node| ledger.assign(node, 1));
    let mut placer = Placer::default();
    let place = |run: usize| {
        let began = clock::now();
        let placement = placer.place(&snapshot, run as u64 * 1_000, &ledger);
        let took = clock::now() - began;
        assert_eq!((placement.nodes.len(), placement.mounts.len()), (NODES_MAX, MOUNTS_MAX));
        took
    };
    (0..runs).map(place).collect()
}

fn measure_compile(state: &State, runs: usize) -> Vec<Duration> {
    let placement = Placer::default().place(&state.snapshot(), 0, &Ledger::default());
    let settings = ZoneSettings::new("radio.example.com", 3, &[]).expect("valid settings");
    let compile = |_| {
        let began = clock::now();
        let zone = compile(&placement, &settings);
        let took = clock::now() - began;
        assert!(zone.names.len() > MOUNTS_MAX + NODES_MAX);
        took
    };
    (0..runs).map(compile).collect()
}

fn rows(metric: &str, mut times: Vec<Duration>) -> Vec<Value> {
    times.sort();
    let row = |percentile: usize| {
        let time = times[(times.len() * percentile / 100).min(times.len() - 1)];
        json!({
            "subject": "autoradio", "metric": metric, "value": time.as_secs_f64() * 1_000.0, "unit": "ms",
            "nodes": NODES_MAX, "mounts": MOUNTS_MAX, "percentile": percentile,
        })
    };
    PERCENTILES.map(row).to_vec()
}

fn event(key: &str, value: Vec<u8>, revision: i64) -> Event {
    let key = format!("{PREFIX}{key}").into_bytes();
    Event::Put { key, value, create_revision: revision, mod_revision: revision }
}

fn bytes(record: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(record).expect("records are JSON")
}

fn node(number: usize) -> NodeName {
    format!("node{number}").parse().expect("a node name")
}

fn mount(number: usize) -> MountPath {
    format!("/station{number}/live.mp3").parse().expect("a mount path")
}

fn node_record(number: usize) -> NodeRecord {
    // 198.18.0.0/15 has more addresses than there may be nodes.
    let [.., high, low] = (number as u32).to_be_bytes();
    let address = IpAddr::V4(Ipv4Addr::new(198, 18, high, low));
    NodeRecord {
        schema: SCHEMA_VERSION,
        name: node(number),
        domain: "radio.example.com".into(),
        addresses: vec![address],
        peer_address: address,
        http_port: 80,
        icecast_port: 8000,
        version: "0".into(),
        id: String::new(),
        capacity: Capacity::default(),
        unknown: serde_json::Map::new(),
    }
}

fn mount_record(number: usize) -> MountRecord {
    let hash = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaGhhc2g";
    MountRecord::new(mount(number), "source", hash.to_owned())
}

fn load_record(number: usize, sequence: u64) -> LoadRecord {
    let mounts = || (0..MOUNTS_PER_REPORT).map(|offset| mount((number * 10 + offset) % MOUNTS_MAX));
    let source = SourceRecord { since_unix_s: 1_700_000_000, content_type: "audio/mpeg".into() };
    LoadRecord {
        sequence,
        listeners: (number as u64 * 7 + sequence) % 1_000,
        bits_per_second: (number as u64 * 7) % 1_000 * 128_000,
        mounts: mounts().map(|mount| (mount, 3)).collect(),
        sources: mounts().take(10).map(|mount| (mount, source.clone())).collect(),
        ..LoadRecord::idle()
    }
}

fn title_record(number: usize) -> TitleRecord {
    TitleRecord {
        schema: SCHEMA_VERSION,
        epoch: 1,
        query: format!("mode=updinfo&mount=%2Fstation{number}%2Flive.mp3&song=A%20song"),
        unknown: serde_json::Map::new(),
    }
}
