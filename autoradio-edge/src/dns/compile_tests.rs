//! Tests of the zone compiler.

use std::sync::Arc;

use super::*;
use crate::cluster::{Capacity, Master, MountRecord, NodeRecord, SCHEMA_VERSION};
use crate::dns::Lookup;
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
    Placement { revision: 7, nodes: nodes.into(), mounts: mounts.into() }
}

fn zone(answers_max: usize) -> Zone {
    let settings = ZoneSettings::new("radio.example.com", answers_max, &[]).expect("settings");
    compile(&placement(), &settings)
}

fn found(zone: &Zone, name: &str, rtype: u16) -> RecordSet {
    let name = WireName::parse(name).expect("name");
    match zone.lookup(&name, rtype) {
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
    assert_eq!(zone.lookup(&name, rtype::AAAA), Lookup::NoData(&zone.no_data));
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
        let lookup = zone.lookup(&WireName::parse(name).expect("name"), rtype::A);
        let want =
            if exists { Lookup::NoData(&zone.no_data) } else { Lookup::NxDomain(&zone.nx_domain) };
        assert_eq!(lookup, want, "{name}");
    }
    let outside = WireName::parse("example.com").expect("name");
    assert_eq!(zone.lookup(&outside, rtype::A), Lookup::Outside);
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
    let lookup = zone.lookup(&zone.apex, rtype::A);
    assert_eq!(lookup, Lookup::NoData(&zone.no_data));
}
