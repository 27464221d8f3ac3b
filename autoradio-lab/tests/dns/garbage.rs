//! A flood of bytes that are no queries.

use std::fs;
use std::time::Duration;

use autoradio_lab::node::DAEMON;
use autoradio_lab::prober::{DnsStorm, Garbage, Moment};
use autoradio_lab::topology::INTERFACE;
use autoradio_lab::{Lab, Node, faults};

use crate::rig::{SOON, UNLIMITED, try_dig_all, wait_name};

const FLOOD_MS: u64 = 8_000;
/// How much larger the daemon may be after the flood, in KiB.
const GROWN_KIB_MAX: u64 = 64 * 1024;
/// Bits a second that must arrive for it to be a flood, on a machine that is busy with other things too.
const BITS_PER_S_MIN: u64 = 100_000_000;
/// Bits a second that it should be.
const BITS_PER_S_GOAL: u64 = 1_000_000_000;
/// A veth that is flooded loses packets before anybody sees them, so that who asks asks again soon.
const ANSWER_MAX: Duration = Duration::from_millis(100);
/// Answers a second through the flood; thousands on a machine with nothing else to do.
const ANSWERS_PER_S_MIN: u64 = 10;

/// Resident memory of the node's daemon, in KiB.
fn resident_kib(node: &Node) -> u64 {
    let [pid] = faults::find(node.host(), DAEMON)[..] else { panic!("one daemon on the node") };
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Bytes that have arrived on the node's wire.
fn arrived_bytes(node: &Node) -> u64 {
    let path = format!("/sys/class/net/{INTERFACE}/statistics/rx_bytes");
    node.host().run("cat", &[&path]).expect("it has a wire").trim().parse().expect("a number")
}

#[test]
#[ignore = "needs root and namespaces: cargo xtask test"]
fn a_flood_of_garbage_leaves_the_node_answering_and_no_larger() {
    let lab = Lab::builder().nodes(1).clients(2).args(&UNLIMITED).build().expect("a lab");
    lab.start_nodes().expect("the node is ready");
    let (node, server) = (lab.node(1), lab.node(1).host().v4());
    wait_name(&lab, lab.client(2), node, lab.domain());
    let (before_kib, before_bytes) = (resident_kib(node), arrived_bytes(node));
    let flood = Garbage::start(lab.client(1), server).expect("a flood");
    let start = Moment::now();
    let storm =
        DnsStorm::start(lab.client(2), server, &[lab.domain()], ANSWER_MAX).expect("a storm");
    let passed = || Moment::now().ms_since(start) > FLOOD_MS;
    lab.wait_until("time passes", SOON, passed).expect("time passes");
    let (arrived, flooded_ms) =
        (arrived_bytes(node) - before_bytes, Moment::now().ms_since(start).max(1));
    let (tally, flood, after_kib) = (storm.end(), flood.end(), resident_kib(node));
    let arrived_bits_per_s = arrived * 8 * 1_000 / flooded_ms;
    let (answers, lost) = (tally.answers(), tally.lost);
    eprintln!(
        "{flood:?}; {arrived_bits_per_s} bits a second arrived, {BITS_PER_S_GOAL} wanted; \
         {answers} answers, {lost} lost in {flooded_ms} ms; {before_kib} to {after_kib} KiB"
    );
    assert!(arrived_bits_per_s >= BITS_PER_S_MIN, "{flood:?}");
    assert!(answers * 1_000 >= ANSWERS_PER_S_MIN * flooded_ms, "{tally:?}");
    assert_eq!(tally.garbled, 0, "{tally:?}");
    assert!(after_kib < before_kib + GROWN_KIB_MAX, "from {before_kib} to {after_kib} KiB");
    // What only userspace answers is answered as soon as the flood is over.
    let address = server.to_string();
    let question = [(lab.domain().to_owned(), "A")];
    lab.wait_until("userspace answers", SOON, || {
        let said = try_dig_all(lab.client(2), &address, "+nsid", &question);
        said.is_ok_and(|said| said.iter().any(|said| said.answers.len() == 1))
    })
    .expect("userspace answers");
    assert!(node.is_ready(), "the daemon serves");
}
