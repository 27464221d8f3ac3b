//! The second half of a demo: the mount's master is killed, then another node is drained.

use std::time::Duration;

use anyhow::{Context, Result};
use autoradio_lab::failover::Watch;
use autoradio_lab::prober::Moment;
use autoradio_lab::status::CreatedMount;
use autoradio_lab::{Lab, LabError, Node};

use super::report::{Drain, Failover};
use crate::output::Step;

const STEADY: Duration = Duration::from_secs(30);
/// Longest time until everybody has what was lost again.
const BACK: Duration = Duration::from_secs(20);
const KILLED: Duration = Duration::from_secs(10);

/// Loses two of the nodes, one after the other, while clients measure.
pub(super) fn lose(lab: &Lab, mount: &CreatedMount) -> Result<(Failover, Drain)> {
    let watch = Watch::start(lab, mount)?;
    let master = Step::run("a source that reconnects goes on air", || {
        watch.wait_steady(STEADY)?;
        lab.wait_master(&mount.path, STEADY)
    })?;
    let killing = format!("{}, the mount's master, is killed", master.host().name());
    let times = Step::run(&killing, || watch.measure(master, BACK, || master.kill(KILLED)))?;
    let failover = Failover {
        source_back_ms: times.source_back_ms,
        listener_back_ms: times.listener_back_ms,
        dns_clean_ms: times.dns_clean_ms,
    };
    let drained = *lab.others(master).first().context("a demo has more than one node")?;
    let living: Vec<&Node> = lab.others(master).into_iter().skip(1).collect();
    let draining = format!("{} is drained", drained.host().name());
    let drain = Step::run(&draining, || drain(lab, &watch, drained, &living))?;
    Ok((failover, drain))
}

/// Has a living node drain another, as an operator would from anywhere.
fn drain(lab: &Lab, watch: &Watch<'_>, node: &Node, living: &[&Node]) -> Result<Drain, LabError> {
    let (name, address) = (node.host().name(), node.host().v4());
    let others: Vec<_> = living.iter().map(|node| node.host().v4()).collect();
    let start = Moment::now();
    node.radioctl_text(&["drain", name])?;
    let mut clean = None;
    lab.wait_until("the drained node is out of DNS", BACK, || {
        clean = watch.dns().clean_ms(address, start, &others);
        clean.is_some()
    })?;
    let what = || "the drained node is out of DNS".to_owned();
    let dns_clean_ms = clean.ok_or_else(|| LabError::Deadline { what: what(), limit: BACK })?;
    Ok(Drain { dns_clean_ms })
}

/// Brings the lost nodes back, for a lab that is kept.
pub(super) fn undo(lab: &Lab) -> Result<(), LabError> {
    for node in lab.nodes().iter().filter(|node| !node.is_ready()) {
        node.start()?;
    }
    lab.wait_whole(STEADY)?;
    for node in lab.nodes() {
        node.radioctl_text(&["undrain", node.host().name()])?;
    }
    Ok(())
}
