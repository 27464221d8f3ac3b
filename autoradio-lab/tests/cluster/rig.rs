//! What the cluster's tests share.

use std::time::Duration;

use autoradio_lab::failover::Watch;
use autoradio_lab::status::CreatedMount;
use autoradio_lab::{Builder, Lab, LabError, Node};

pub(crate) const MOUNT: &str = "/live.mp3";
pub(crate) const SOON: Duration = Duration::from_secs(10);
/// Longest time until a cluster that was hurt is whole again.
pub(crate) const WHOLE: Duration = Duration::from_secs(60);
/// The default `--master-election-ttl`.
pub(crate) const LEASE_MS: u64 = 3_000;
/// What it adds to a promised time that etcd elects a leader first.
pub(crate) const ELECTION_MS: u64 = 2_000;
/// What a busy machine may add to a promised time.
pub(crate) const BUSY_MS: u64 = 2_000;
/// The ports of etcd, for clients and for peers.
pub(crate) const ETCD_PORTS: std::ops::RangeInclusive<u16> = 2_379..=2_380;

/// A cluster of so many nodes and two clients, with one mount.
pub(crate) fn cluster(nodes: usize) -> (Lab, CreatedMount) {
    started(Lab::builder().nodes(nodes).clients(2))
}

pub(crate) fn started(builder: Builder) -> (Lab, CreatedMount) {
    let lab = builder.build().expect("a lab");
    lab.start_nodes().expect("all nodes are ready");
    let mount = lab.node(2).create_mount(MOUNT).expect("a mount");
    (lab, mount)
}

/// Clients who watch the lab's mount, once all is well.
pub(crate) fn watched<'a>(lab: &'a Lab, mount: &CreatedMount) -> Watch<'a> {
    let watch = Watch::start(lab, mount).expect("clients who watch");
    watch.wait_steady(WHOLE).expect("all is well");
    watch
}

/// The mount's master, on which all nodes agree.
pub(crate) fn master(lab: &Lab) -> &Node {
    lab.wait_master(MOUNT, SOON).expect("the mount has a master")
}

/// Waits until the node says of itself that it stands so.
pub(crate) fn wait_standing(lab: &Lab, node: &Node, standings: &[&str], limit: Duration) {
    let what = format!("{} stands {}", node.host().name(), standings.join(" or "));
    lab.wait_until(&what, limit, || {
        node.status().is_ok_and(|status| standings.contains(&status.standing.as_str()))
    })
    .unwrap();
}

/// The sentence with which a command failed.
pub(crate) fn refusal(result: Result<impl std::fmt::Debug, LabError>) -> String {
    match result {
        Err(LabError::Command { stderr, .. }) => stderr,
        other => panic!("not refused: {other:?}"),
    }
}
