//! One round: make sure that all is well, lose a node, measure, bring it back.

use std::time::Duration;

use autoradio_lab::failover::Watch;
use autoradio_lab::{Lab, LabError, Node, faults};

use super::tally::Sample;

/// Longest time until a repaired cluster is whole again and the source on air.
const STEADY: Duration = Duration::from_secs(60);
/// Longest time that a fault may take to be noticed by everyone; then the round has failed.
const NOTICED: Duration = Duration::from_secs(30);
/// How long is watched for an interruption that should not come: several leases.
const WATCHED: Duration = Duration::from_secs(8);
/// Longest time that a node which was told to stop takes: its drain, and a margin.
const STOPPED: Duration = Duration::from_secs(30);
const KILLED: Duration = Duration::from_secs(10);

/// A way to lose a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    /// SIGKILL of the master's daemon and children.
    ProcessKilled,
    /// The master's wire is cut.
    HostGone,
    /// SIGSTOP of the master's daemon and children.
    Stopped,
    /// SIGTERM to the master's daemon, as for an upgrade.
    Terminated,
    /// SIGKILL of the etcd that leads, alone.
    EtcdLeaderKilled,
}

impl Fault {
    pub(super) const ALL: [Self; 5] = [
        Self::ProcessKilled,
        Self::HostGone,
        Self::Stopped,
        Self::Terminated,
        Self::EtcdLeaderKilled,
    ];

    /// Its name in the result.
    pub(super) const fn subject(self) -> &'static str {
        match self {
            Self::ProcessKilled => "process_killed",
            Self::HostGone => "host_gone",
            Self::Stopped => "stopped",
            Self::Terminated => "terminated",
            Self::EtcdLeaderKilled => "etcd_leader_killed",
        }
    }

    /// Whether the source enters by the node that is lost in this round; otherwise by another, which
    /// tunnels. A stopped host's kernel goes on acknowledging what it gets, so that no source
    /// connected to it can know: that would measure the patience of a client.
    fn enters_by_the_lost(self, number: usize) -> bool {
        self != Self::Stopped && number.is_multiple_of(2)
    }
}

/// A node that is about to be lost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ready<'a> {
    pub(super) node: &'a Node,
    /// Whether its etcd leads.
    pub(super) etcd_leader: bool,
}

/// Waits until all is well, chooses the node to lose, and has the source enter where it should.
pub(super) fn prepare<'a>(
    lab: &'a Lab,
    watch: &Watch<'_>,
    mount: &str,
    fault: Fault,
    number: usize,
) -> Result<Ready<'a>, LabError> {
    watch.wait_steady(STEADY)?;
    watch.dns().forget();
    let mut leader = lab.etcd_leader();
    lab.wait_until("an etcd leads", STEADY, || {
        leader = lab.etcd_leader();
        leader.is_some()
    })?;
    let master = lab.wait_master(mount, STEADY)?;
    let leads =
        |node: &Node| leader.is_some_and(|leader| leader.host().name() == node.host().name());
    let node = if fault == Fault::EtcdLeaderKilled { leader.unwrap_or(master) } else { master };
    let others = lab.others(node);
    let entry = if fault.enters_by_the_lost(number) { node } else { others[number % others.len()] };
    watch.enter_through(entry, STEADY)?;
    Ok(Ready { node, etcd_leader: leads(node) })
}

/// Loses the node and measures.
pub(super) fn run(watch: &Watch<'_>, fault: Fault, ready: Ready<'_>) -> Result<Sample, LabError> {
    let node = ready.node;
    let host = node.host();
    let measured = |work: &dyn Fn() -> Result<(), LabError>| {
        watch.measure(node, NOTICED, work).map(Sample::Lost)
    };
    match fault {
        Fault::ProcessKilled => measured(&|| node.kill(KILLED)),
        Fault::HostGone => measured(&|| faults::cut(host)),
        Fault::Stopped => measured(&|| {
            faults::stop_everything(host);
            Ok(())
        }),
        Fault::Terminated => measured(&|| node.terminate()),
        Fault::EtcdLeaderKilled => {
            let kill = || faults::kill(host, "etcd").map(drop);
            watch.interruption_ms(WATCHED, NOTICED, kill).map(Sample::Interrupted)
        }
    }
}

/// Brings the node back; [`prepare`] of the next round waits for it.
pub(super) fn repair(fault: Fault, node: &Node) -> Result<(), LabError> {
    match fault {
        Fault::ProcessKilled => node.start(),
        Fault::HostGone => faults::heal(node.host()),
        Fault::Stopped => {
            faults::cont_everything(node.host());
            Ok(())
        }
        Fault::Terminated => {
            node.wait_ended(STOPPED)?;
            node.start()
        }
        // Its daemon starts it again.
        Fault::EtcdLeaderKilled => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_but_the_silent_one_is_measured_both_ways() {
        for fault in Fault::ALL {
            let ways = [0, 1].map(|number| fault.enters_by_the_lost(number));
            let want = if fault == Fault::Stopped { [false, false] } else { [true, false] };
            assert_eq!(ways, want, "{}", fault.subject());
        }
    }
}
