//! Tests of the zone compiler.

use std::collections::BTreeMap;

use super::*;
use crate::cluster::{Capacity, LoadRecord, Master, MountRecord, NodeRecord, SCHEMA_VERSION};
use crate::dns::Lookup;
use crate::dns::rtype;
use crate::placement::{PlacedMount, WEIGHT_FULL};

fn node(name: &str, addresses: &[&str], weight: u32) -> (NodeName, PlacedNode) {
    let addresses: Vec<IpAddr> =
        addresses.iter().map(|text| text.parse().expect("address")).collect();
    let name: NodeName = name.parse().expect("name");
    let record = NodeRecord {
        schema: SCHEMA_VERSION,
        name: name.clone(),
        domain: "radio.example.com".into(),
        peer_address: addresses[0],
        addresses,
        http_port: 80,
        icecast_port: 8000,
        version: "0".into(),
        id: String::new(),
        capacity: Capacity::default(),
        unknown: serde_json::Map::new(),
    };
    (
        name,
        PlacedNode {
            record: Arc::new(record),
            weight,
            draining: weight == 0,
            full: false,
            load: None,
        },
    )
}

fn placement() -> Placement {
    let nodes = [
        node("a", &["198.18.0.1", "fd00::1"], WEIGHT_FULL),
        node("b", &["198.18.0.2"], WEIGHT_FULL),
        node("c", &["198.18.0.3"], 0),
    ];
    let record = MountRecord::new("/live".parse().expect("path"), "source", String::new());
    let master = Some(Master { node: "c".parse().expect("name"), epoch: 4 });
    let mount = PlacedMount { record: Arc::new(record), master, title: None, source: None };
    let mounts = [("/live".parse().expect("path"), mount)];
    Placement { revision: 7, nodes: nodes.into(), mounts: mounts.into(), ..Placement::default() }
}

fn zone(answers_max: usize) -> Zone {
    let settings = ZoneSettings::new("radio.example.com", answers_max, &[]).expect("settings");
    compile(&placement(), &settings)
}

fn found(zone: &Zone, name: &str, rtype: u16) -> RecordSet {
    let name = WireName::parse(name).expect("name");
    match zone.lookup(name.as_bytes(), rtype) {
        Lookup::Found(set) => set.clone(),
        other => panic!("{name} {rtype}: {other:?}"),
    }
}

#[test]
fn the_apex_names_nodes_with_weight_only_each_first_in_its_variant() {
    let set = found(&zone(3), "radio.example.com", rtype::A);
    assert_eq!(set.variants.len(), 2);
    let firsts: Vec<&[u8]> = set.variants.iter().map(|answer| &answer.bytes[12..16]).collect();
    assert_eq!(firsts, [[198, 18, 0, 1], [198, 18, 0, 2]]);
    assert!(set.variants.iter().all(|answer| answer.answers == 2 && answer.bytes.len() == 32));
    assert_eq!(set.slots.iter().filter(|slot| **slot == 0).count(), 128);
}

/// Addresses of an answer, in order.
fn addresses(answer: &Answer) -> Vec<IpAddr> {
    let records = answer.bytes.chunks(16);
    records.map(|record| IpAddr::from([record[12], record[13], record[14], record[15]])).collect()
}

/// What the chi-square of that many draws over the apex's slots is against the weights.
fn chi_square(weights: &[u32], draws: u32, random: &mut impl rand::RngExt) -> f64 {
    let nodes = weights.iter().enumerate().map(|(index, weight)| {
        node(&format!("n{index:02}"), &[&format!("198.18.0.{index}")], *weight)
    });
    let placement = Placement { nodes: nodes.collect(), ..Placement::default() };
    let settings = ZoneSettings::new("radio.example.com", 3, &[]).expect("settings");
    let set = found(&compile(&placement, &settings), "radio.example.com", rtype::A);
    let mut counts = vec![0_u32; weights.len()];
    for _ in 0..draws {
        match addresses(set.pick(random.random()))[0] {
            IpAddr::V4(address) => counts[usize::from(address.octets()[3])] += 1,
            IpAddr::V6(address) => panic!("{address} in an A record"),
        }
    }
    let total: u32 = weights.iter().sum();
    let expected = |weight: u32| f64::from(draws) * f64::from(weight) / f64::from(total);
    let term = |(weight, count): (&u32, &u32)| {
        if *weight == 0 {
            assert_eq!(*count, 0, "a node without weight is never drawn");
            return 0.0;
        }
        (f64::from(*count) - expected(*weight)).powi(2) / expected(*weight)
    };
    weights.iter().zip(&counts).map(term).sum()
}

#[test]
fn what_is_drawn_from_the_slots_follows_the_weights() {
    let mut random = <rand::rngs::StdRng as rand::SeedableRng>::seed_from_u64(7);
    // Critical values of chi-square at 0.1 %, for as many degrees of freedom as nodes with weight less one.
    for (why, weights, critical) in [
        ("two equal nodes", vec![1_000, 1_000], 10.83),
        ("one to three", vec![250, 750, 0], 10.83),
        ("shares that fill no whole slots", vec![1_000, 700, 300, 55, 0], 16.27),
        ("ten nodes", vec![100, 200, 300, 400, 500, 600, 700, 800, 900, 1_000], 27.88),
    ] {
        let chi_square = chi_square(&weights, 10_000, &mut random);
        assert!(chi_square < critical, "{why}: {chi_square}");
    }
    let flat = chi_square_of_flat_slots(&mut random);
    assert!(flat > 10.83, "the test tells equal shares from shares of one to three: {flat}");
}

/// Draws from equal shares, judged as if they were to be one to three.
fn chi_square_of_flat_slots(random: &mut impl rand::RngExt) -> f64 {
    let first: f64 = (0..10_000).map(|_| f64::from(u8::from(random.random::<bool>()))).sum();
    (first - 2_500.0).powi(2) / 2_500.0 + (7_500.0 - first).powi(2) / 7_500.0
}

#[test]
fn a_node_without_weight_is_in_no_answer_at_no_place() {
    let set = found(&zone(3), "radio.example.com", rtype::A);
    let drained = IpAddr::from([198, 18, 0, 3]);
    assert!(set.variants.iter().all(|answer| !addresses(answer).contains(&drained)));
    let mut orphaned = placement();
    orphaned.mounts.values_mut().for_each(|mount| mount.master = None);
    let settings = ZoneSettings::new("radio.example.com", 3, &[]).expect("settings");
    let zone = compile(&orphaned, &settings);
    let set = found(&zone, "live.source.radio.example.com", rtype::A);
    assert!(set.variants.iter().all(|answer| !addresses(answer).contains(&drained)));
}

#[test]
fn each_family_of_addresses_has_an_answer_while_it_has_a_node() {
    let answer = |draining: [bool; 2]| {
        let mut nodes = BTreeMap::from([
            node("a", &["198.18.0.1"], 0),
            node("b", &["198.18.0.2"], 0),
            node("c", &["fd00::3"], WEIGHT_FULL),
        ]);
        for (node, draining) in nodes.values_mut().zip(draining) {
            node.draining = draining;
        }
        let placement = Placement { nodes, ..Placement::default() };
        let settings = ZoneSettings::new("radio.example.com", 1, &[]).expect("settings");
        let set = found(&compile(&placement, &settings), "radio.example.com", rtype::A);
        set.variants.iter().map(|answer| answer.bytes[15]).collect::<Vec<_>>()
    };
    assert_eq!(answer([false, false]), [1, 2], "both are full");
    assert_eq!(answer([true, false]), [2], "who drains is spared");
    assert_eq!(answer([true, true]), [1, 2], "all drain");
}

fn first(placement: &mut Placement) -> &mut PlacedNode {
    placement.nodes.values_mut().next().expect("a node")
}

#[test]
fn placements_give_the_same_zone_unless_something_in_it_changed() {
    let same = |change: fn(&mut Placement)| {
        let mut after = placement();
        change(&mut after);
        let settings = ZoneSettings::new("radio.example.com", 3, &[]).expect("settings");
        let same = same_zone(&placement(), &after);
        let compiled = compile(&after, &settings).names == compile(&placement(), &settings).names;
        assert_eq!(same, compiled, "as compiled");
        same
    };
    assert!(same(|_| {}));
    assert!(same(|placement| first(placement).full = true));
    assert!(same(|placement| first(placement).load = Some(Arc::new(LoadRecord::idle()))));
    assert!(!same(|placement| first(placement).weight = 10));
    assert!(!same(|placement| {
        let record = Arc::make_mut(&mut first(placement).record);
        record.addresses = vec![IpAddr::from([198, 18, 0, 9])];
    }));
    assert!(!same(|placement| drop(placement.nodes.pop_first())));
    assert!(!same(|placement| drop(placement.mounts.pop_first())));
    assert!(!same(|placement| {
        placement.mounts.values_mut().for_each(|mount| mount.master = None);
    }));
}

#[test]
fn an_answer_holds_no_more_addresses_than_the_operator_allows() {
    let set = found(&zone(1), "radio.example.com", rtype::A);
    assert!(set.variants.iter().all(|answer| answer.answers == 1));
}

#[test]
fn nodes_without_ipv6_have_no_aaaa_but_exist() {
    let zone = zone(3);
    assert_eq!(found(&zone, "radio.example.com", rtype::AAAA).variants[0].answers, 1);
    let name = WireName::parse("b.radio.example.com").expect("name");
    assert_eq!(zone.lookup(name.as_bytes(), rtype::AAAA), Lookup::NoData(&zone.no_data));
}

#[test]
fn a_draining_node_keeps_its_own_name_and_its_mounts_source_name() {
    let zone = zone(3);
    for name in ["c.radio.example.com", "live.source.radio.example.com"] {
        assert_eq!(
            &found(&zone, name, rtype::A).variants[0].bytes[12..],
            [198, 18, 0, 3],
            "{name}"
        );
    }
}

#[test]
fn names_between_others_exist_and_all_others_do_not() {
    let zone = zone(3);
    for (name, exists) in [
        ("source.radio.example.com", true),
        ("nobody.radio.example.com", false),
        ("x.live.source.radio.example.com", false),
    ] {
        let lookup = zone.lookup(WireName::parse(name).expect("name").as_bytes(), rtype::A);
        let want =
            if exists { Lookup::NoData(&zone.no_data) } else { Lookup::NxDomain(&zone.nx_domain) };
        assert_eq!(lookup, want, "{name}");
    }
    let outside = WireName::parse("example.com").expect("name");
    assert_eq!(zone.lookup(outside.as_bytes(), rtype::A), Lookup::Outside);
}

#[test]
fn name_servers_are_the_first_nodes_by_name_or_what_the_operator_says() {
    assert_eq!(found(&zone(3), "radio.example.com", rtype::NS).variants[0].answers, 3);
    let own = ["ns.example.net".to_owned()];
    let settings = ZoneSettings::new("radio.example.com", 3, &own).expect("settings");
    let set = found(&compile(&placement(), &settings), "radio.example.com", rtype::NS);
    assert!(set.variants[0].bytes.ends_with(b"\x02ns\x07example\x03net\x00"));
}

#[test]
fn a_cluster_without_nodes_still_has_a_zone() {
    let settings = ZoneSettings::new("radio.example.com", 3, &[]).expect("settings");
    let zone = compile(&Placement::default(), &settings);
    let lookup = zone.lookup(zone.apex.as_bytes(), rtype::A);
    assert_eq!(lookup, Lookup::NoData(&zone.no_data));
}
