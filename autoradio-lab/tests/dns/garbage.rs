//! A flood of bytes that are no queries.

use std::fs;
use std::time::Duration;

use autoradio_lab::node::DAEMON;
use autoradio_lab::prober::{DnsStorm, Garbage};
use autoradio_lab::{Lab, Node, faults};

use crate::rig::{SOON, UNLIMITED, dig_all, wait_name};

const FLOOD: Duration = Duration::from_secs(8);
/// How much larger the daemon may be after the flood, in KiB.
const GROWN_KIB_MAX: u64 = 64 * 1024;
/// Bits a second below which it was no flood; a gigabit on a machine with nothing else to do.
const BITS_PER_S_MIN: u64 = 100_000_000;

/// Resident memory of the node's daemon, in KiB.
fn resident_kib(node: &Node) -> u64 {
    let [pid] = faults::find(node.host(), DAEMON)[..] else { panic!("one daemon on the node") };
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
#[ignore = "needs root and namespaces: cargo xtask test"]
fn a_flood_of_garbage_leaves_the_node_answering_and_no_larger() {
    let lab = Lab::builder().nodes(1).clients(2).args(&UNLIMITED).build().expect("a lab");
    lab.start_nodes().expect("the node is ready");
    let (node, server) = (lab.node(1), lab.node(1).host().v4());
    wait_name(&lab, lab.client(2), node, lab.domain());
    let before_kib = resident_kib(node);
    let flood = Garbage::start(lab.client(1), server).expect("a flood");
    let storm = DnsStorm::start(lab.client(2), server, &[lab.domain()]).expect("a storm");
    std::thread::sleep(FLOOD);
    let (tally, flood) = (storm.end(), flood.end());
    let after_kib = resident_kib(node);
    eprintln!(
        "{flood:?}; {} answers, {} lost; {before_kib} to {after_kib} KiB",
        tally.answers(),
        tally.lost
    );
    assert!(flood.bits_per_second >= BITS_PER_S_MIN, "{flood:?}");
    assert!(tally.answers() > 1_000, "{tally:?}");
    // A veth that is flooded loses packets before anybody sees them.
    assert!(tally.lost * 20 < tally.answers(), "{tally:?}");
    assert_eq!(tally.garbled, 0, "{tally:?}");
    assert!(after_kib < before_kib + GROWN_KIB_MAX, "from {before_kib} to {after_kib} KiB");
    // What only userspace answers is answered as soon as the flood is over.
    let address = server.to_string();
    let question = [(lab.domain().to_owned(), "A")];
    lab.wait_until("userspace answers", SOON, || {
        let said = dig_all(lab.client(2), &address, "+nsid", &question);
        said.iter().any(|said| said.answers.len() == 1)
    })
    .expect("userspace answers");
    assert!(node.is_ready(), "the daemon serves");
}
