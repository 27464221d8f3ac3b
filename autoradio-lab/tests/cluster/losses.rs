//! Nodes that are lost, with and without their disk.

use std::time::Duration;

use autoradio_lab::{Lab, faults};

use crate::rig::{BUSY_MS, ELECTION_MS, LEASE_MS, SOON, WHOLE, cluster, master, watched};

const NOTICED: Duration = Duration::from_secs(20);
/// The promise for a killed process; the etcd leader may die with it.
const KILLED_MS_MAX: u64 = 4_000 + ELECTION_MS + BUSY_MS;
/// The same for a host that is gone.
const GONE_MS_MAX: u64 = 6_000 + ELECTION_MS + BUSY_MS;
const MOUNTS: usize = 8;

#[test]
#[ignore = "needs root and namespaces: cargo xtask test"]
fn a_lost_master_leaves_dns_and_its_source_and_listeners_find_another() {
    let (lab, mount) = cluster(3);
    let watch = watched(&lab, &mount);
    let killed = master(&lab);
    watch.enter_through(killed, SOON).unwrap();
    let times = watch.measure(killed, NOTICED, || killed.kill(SOON)).unwrap();
    assert!(times.source_back_ms <= KILLED_MS_MAX, "{times:?}");
    assert!(times.dns_clean_ms <= LEASE_MS + ELECTION_MS + BUSY_MS, "{times:?}");
    assert!(times.source_told, "the connection of a killed process is closed: {times:?}");
    killed.start().unwrap();
    watch.wait_steady(WHOLE).unwrap();

    let cut = master(&lab);
    watch.enter_through(lab.others(cut)[0], SOON).unwrap();
    let times = watch.measure(cut, NOTICED, || faults::cut(cut.host())).unwrap();
    assert!(times.source_back_ms <= GONE_MS_MAX, "{times:?}");
    assert!(times.dns_clean_ms <= LEASE_MS + ELECTION_MS + BUSY_MS, "{times:?}");
    faults::heal(cut.host()).unwrap();
    watch.wait_steady(WHOLE).unwrap();
}

#[test]
#[ignore = "needs root and namespaces: cargo xtask test"]
fn acknowledged_mounts_survive_the_loss_of_any_one_nodes_disk() {
    let (lab, first) = cluster(3);
    let mut want = vec![first.path];
    for number in 0..MOUNTS {
        let path = format!("/mount {number}.mp3");
        // Through every node in turn; what it has acknowledged counts.
        lab.node(number % 3 + 1).create_mount(&path).unwrap();
        want.push(path);
    }
    want.sort();
    for node in lab.nodes() {
        node.kill(SOON).unwrap();
        node.wipe().unwrap();
        node.start().unwrap();
        lab.wait_whole(WHOLE).unwrap();
        assert_all_list(&lab, &want, node.host().name());
    }
}

fn assert_all_list(lab: &Lab, want: &[String], lost: &str) {
    for node in lab.nodes() {
        let mut listed = node.mount_paths().unwrap();
        listed.sort();
        assert_eq!(listed, want, "on {} after {lost} lost its disk", node.host().name());
    }
}
