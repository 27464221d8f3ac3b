//! The lab's own network, without any daemon.

use std::path::Path;
use std::time::Duration;

use autoradio_lab::topology::INTERFACE;
use autoradio_lab::{Lab, LabError, faults, names, netns, persist, probe};

const SOON: Duration = Duration::from_secs(5);

fn small_lab() -> Lab {
    Lab::builder().nodes(1).clients(1).build().expect("a lab of one node and one client")
}

#[test]
#[ignore = "needs root and namespaces: cargo xtask test"]
fn a_client_reaches_a_node_by_both_families() {
    let lab = small_lab();
    let node = lab.node(1).host();
    let client = lab.client(1);
    for address in [node.v4().to_string(), node.v6().to_string()] {
        lab.wait_until(&address, SOON, || client.reaches(&address)).unwrap();
    }
}

#[test]
#[ignore = "needs root and namespaces: cargo xtask test"]
fn a_cut_wire_carries_nothing_until_it_is_healed() {
    let lab = small_lab();
    let node = lab.node(1).host();
    let address = node.v4().to_string();
    let reached = || lab.client(1).reaches(&address);
    lab.wait_until("the node is reached", SOON, reached).unwrap();
    faults::cut(node).unwrap();
    assert!(!reached(), "a cut wire carried a packet");
    faults::heal(node).unwrap();
    lab.wait_until("the healed node is reached", SOON, reached).unwrap();
}

/// Also a test of the program that reflects: the client's kernel drops replies with a wrong checksum.
#[test]
#[ignore = "needs root and namespaces: cargo xtask test"]
fn what_a_program_sends_back_over_a_direct_wire_arrives() {
    let lab = Lab::builder().direct().build().expect("a lab of two hosts on one wire");
    let (node, client) = (lab.node(1).host(), lab.client(1));
    let address = node.v4().to_string();
    lab.wait_until("the node is reached", SOON, || client.reaches(&address)).unwrap();
    let object = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bpf/reflect");
    let object = object.to_str().expect("a path in UTF-8");
    let words = ["link", "set", "dev", INTERFACE, "xdpdrv", "obj", object, "sec", "xdp"];
    node.run("ip", &words).expect("the program is attached");
    let at = format!("@{address}");
    for name in ["x.example", "an.odd.example"] {
        let said = client.host().run("kdig", &[&at, name, "A", "+edns", "+time=2"]);
        let said = said.expect("the question comes back");
        assert!(said.contains("Flags: qr rd ad; QUERY: 1; ANSWER: 0;"), "{said}");
    }
}

#[test]
#[ignore = "needs root and namespaces: cargo xtask test"]
fn a_dropped_lab_leaves_nothing_behind() {
    let lab = small_lab();
    let name = lab.name().to_owned();
    let folder = persist::folder(&name);
    // A program that would run for long, in a group that the lab does not know.
    lab.client(1).host().spawn("sleep", &["1000"], "sleep").unwrap().detach();
    assert!(netns::list().iter().any(|n| n == &names::namespace(&name, "node1")));
    drop(lab);
    let left: Vec<String> = netns::list()
        .into_iter()
        .filter(|namespace| names::owner(namespace).is_some_and(|(lab, _)| lab == name))
        .collect();
    assert_eq!(left, Vec::<String>::new());
    assert!(!folder.exists());
    assert!(!persist::list().contains(&name));
}

#[test]
#[ignore = "needs root and namespaces: cargo xtask test"]
fn two_labs_live_side_by_side_with_the_same_addresses() {
    let (first, second) = (small_lab(), small_lab());
    let address = first.node(1).host().v4().to_string();
    assert_eq!(address, second.node(1).host().v4().to_string());
    for lab in [&first, &second] {
        lab.wait_until("its own node", SOON, || lab.client(1).reaches(&address)).unwrap();
    }
    faults::cut(first.node(1).host()).unwrap();
    assert!(!first.client(1).reaches(&address));
    assert!(second.client(1).reaches(&address), "the other lab lost its node");
}

#[test]
#[ignore = "needs root and namespaces: cargo xtask test"]
fn a_kept_lab_is_found_and_removed_by_name() {
    let lab = small_lab();
    let name = lab.name().to_owned();
    lab.keep().unwrap();
    let again = Lab::builder().name(&name).build().unwrap_err();
    assert!(matches!(again, LabError::Exists { .. }), "{again}");
    let opened = Lab::open(&name).unwrap();
    assert_eq!(opened.hosts().count(), 2);
    drop(opened);
    assert!(persist::list().contains(&name), "opening must not remove");
    persist::down(&name).unwrap();
    assert!(matches!(persist::down(&name), Err(LabError::Unknown { .. })));
}

#[test]
#[ignore = "needs root and namespaces: cargo xtask test"]
fn a_lab_is_abandoned_once_its_process_has_ended() {
    let lab = small_lab();
    let name = lab.name().to_owned();
    assert!(!persist::abandoned().contains(&name), "this process lives");
    lab.keep().unwrap();
    assert!(!persist::abandoned().contains(&name), "a kept lab needs no process");
    let mut ended = std::process::Command::new("true").spawn().unwrap();
    ended.wait().unwrap();
    let record = persist::load(&name).unwrap();
    persist::save(&persist::Record { owner_process: Some(ended.id()), ..record }).unwrap();
    assert!(persist::abandoned().contains(&name));
    persist::down(&name).unwrap();
    assert!(!persist::abandoned().contains(&name));
}

#[test]
#[ignore = "needs root and namespaces: cargo xtask test"]
fn a_half_broken_lab_can_still_be_taken_down() {
    let lab = small_lab();
    let name = lab.name().to_owned();
    lab.keep().unwrap();
    // The record is lost, as after a reboot, and one namespace too.
    std::fs::remove_file(format!("/run/autoradio-lab/{name}.json")).unwrap();
    netns::delete(&names::namespace(&name, "client1")).unwrap();
    assert!(persist::list().contains(&name));
    persist::down(&name).unwrap();
    assert!(!persist::list().contains(&name));
}

#[test]
#[ignore = "needs root and namespaces: cargo xtask test"]
fn a_stopped_process_hangs_until_it_is_continued() {
    let lab = small_lab();
    let host = lab.client(1).host();
    let mut sleeper = host.spawn("sleep", &["1000"], "sleep").unwrap();
    lab.wait_until("sleep runs", SOON, || !faults::find(host, "sleep").is_empty()).unwrap();
    let stopped = || faults::state(sleeper.id()) == Some('T');
    faults::stop(host, "sleep").unwrap();
    lab.wait_until("sleep is stopped", SOON, stopped).unwrap();
    faults::cont(host, "sleep").unwrap();
    lab.wait_until("sleep goes on", SOON, || !stopped()).unwrap();
    faults::kill(host, "sleep").unwrap();
    assert!(!sleeper.wait(SOON).unwrap().success(), "a killed process ended well");
    assert!(matches!(faults::kill(host, "sleep"), Err(LabError::Process { .. })));
}

#[test]
#[ignore = "needs root and namespaces: cargo xtask test"]
fn the_probe_says_what_is_not_possible_and_leaves_nothing_behind() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    probe::try_all(&here.join("../target/bpf/pass")).unwrap();
    let refused = probe::try_all(&here.join("Cargo.toml")).unwrap_err();
    assert!(matches!(refused, LabError::Command { .. }), "{refused}");
    let ours = format!("t{}-", std::process::id());
    let left = netns::list().into_iter().filter(|namespace| {
        names::owner(namespace).is_some_and(|(lab, host)| lab.starts_with(&ours) && host == "probe")
    });
    assert_eq!(left.count(), 0);
}
