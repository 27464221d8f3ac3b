//! Never two masters of one mount in one epoch, whatever happens to them.

use std::time::Duration;

use autoradio_lab::history::{Accept, accepts, overtaken, shared_epochs};
use autoradio_lab::prober::{Moment, SourceProber};
use autoradio_lab::{Host, Lab, Node, faults};

use crate::rig::{MOUNT, SOON, WHOLE, cluster};

/// How long each fault lasts: longer than a lease, and than the claim that follows it.
const FAULT_MS: u64 = 6_000;

#[test]
#[ignore = "needs root and namespaces: cargo xtask test"]
fn no_two_nodes_accept_sources_of_one_mount_in_one_epoch() {
    let (lab, mount) = cluster(3);
    let addresses: Vec<_> = lab.nodes().iter().map(|node| node.host().v4()).collect();
    let turned: Vec<_> = addresses.iter().copied().rev().collect();
    let rivals = [
        SourceProber::start(lab.client(1), &addresses, &mount).unwrap(),
        SourceProber::start(lab.client(2), &turned, &mount).unwrap(),
    ];
    for hurt in [killed, stopped, cut] {
        suffer(&lab, hurt);
    }
    lab.wait_whole(WHOLE).unwrap();
    let history = history_of(&lab);
    assert_eq!(overtaken(&history), [], "in {history:?}");
    // Who hears no peer holds over: it may accept in its epoch while the others are in theirs.
    suffer(&lab, parted);
    lab.wait_whole(WHOLE).unwrap();
    drop(rivals);

    let history = history_of(&lab);
    let mut epochs: Vec<i64> = history.iter().map(|accept| accept.epoch).collect();
    epochs.sort_unstable();
    epochs.dedup();
    assert!(epochs.len() >= 4, "each fault made a new master, yet the epochs are {epochs:?}");
    assert!(history.len() > epochs.len(), "the rivals never met: {history:?}");
    assert_eq!(shared_epochs(&history), [], "in {history:?}");
}

fn suffer(lab: &Lab, hurt: impl Fn(&Lab, &Node)) {
    lab.wait_whole(WHOLE).unwrap();
    hurt(lab, lab.wait_master(MOUNT, WHOLE).unwrap());
}

fn history_of(lab: &Lab) -> Vec<Accept> {
    let logs = lab.nodes().iter().flat_map(|node| accepts(&node.log().unwrap()));
    logs.filter(|accept| accept.mount == MOUNT).collect()
}

fn killed(lab: &Lab, master: &Node) {
    master.kill(SOON).unwrap();
    pause(lab);
    master.start().unwrap();
}

fn stopped(lab: &Lab, master: &Node) {
    faults::stop_everything(master.host());
    pause(lab);
    faults::cont_everything(master.host());
}

fn cut(lab: &Lab, master: &Node) {
    faults::cut(master.host()).unwrap();
    pause(lab);
    faults::heal(master.host()).unwrap();
}

fn parted(lab: &Lab, master: &Node) {
    let others: Vec<&Host> = lab.others(master).into_iter().map(Node::host).collect();
    faults::partition(&[master.host()], &others).unwrap();
    pause(lab);
    faults::reunite(&[master.host()], &others).unwrap();
}

fn pause(lab: &Lab) {
    let start = Moment::now();
    let over = || Moment::now().ms_since(start) > FAULT_MS;
    lab.wait_until("the fault lasts", Duration::from_secs(30), over).unwrap();
}
