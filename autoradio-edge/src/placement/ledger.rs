//! Prediction: what this node has assigned to whom since that node's last report.
//!
//! A crowd that comes within one heartbeat is spread by what every node will carry once it has arrived, not by what it
//! carried before. A report replaces the prediction; a listener that never arrived is forgotten after a while.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use crate::cluster::{LoadRecord, NodeName};

/// Longest way of a report, in milliseconds, from the moment whose load it tells to the moment when it is read. What was
/// assigned within it may be missing in the report.
const REPORT_LAG_MS: u64 = 1_000;
/// An assignment without any report for so many heartbeats did not change the node's load by enough to be told, or never
/// arrived.
const ASSIGNMENT_HEARTBEATS_MAX: u64 = 3;
/// Heartbeat where none is told, in milliseconds.
const HEARTBEAT_MS: u64 = 1_000;
/// Most listeners of one address that are expected in that time: a player that asks again and again, but goes nowhere, must
/// not make peers look full. Enough for an office behind one router.
const EXPECTED_OF_ADDRESS_MAX: u32 = 64;
/// Most addresses that are told apart; whoever comes beyond is expected to arrive.
const ADDRESSES_MAX: usize = 4_096;
/// Assignments within so many milliseconds are counted together.
const BUCKET_MS: u64 = 100;

/// All assignments that reports do not yet show.
#[derive(Clone, Debug)]
pub struct Ledger {
    accounts: BTreeMap<NodeName, Account>,
    /// When an address was first sent somewhere, and how often since.
    senders: BTreeMap<IpAddr, (u64, u32)>,
    /// How long an assignment counts that no report shows, in milliseconds.
    assignment_ms_max: u64,
}

impl Default for Ledger {
    fn default() -> Self {
        Self::new(Duration::from_millis(HEARTBEAT_MS))
    }
}

#[derive(Clone, Debug, Default)]
struct Account {
    /// Sequence of the last report, and when it was read.
    report: Option<(u64, u64)>,
    buckets: VecDeque<Bucket>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    begun_ms: u64,
    listeners: u64,
}

impl Ledger {
    /// One for a cluster whose nodes report this often.
    pub fn new(heartbeat: Duration) -> Self {
        let heartbeat_ms = u64::try_from(heartbeat.as_millis()).unwrap_or(HEARTBEAT_MS);
        let assignment_ms_max = heartbeat_ms.saturating_mul(ASSIGNMENT_HEARTBEATS_MAX);
        Self { accounts: BTreeMap::new(), senders: BTreeMap::new(), assignment_ms_max }
    }

    /// Notes that a listener at `address` was told to go to `node`. Of one address only so many are expected to arrive.
    pub fn expect(&mut self, node: &NodeName, address: IpAddr, now_ms: u64) {
        let address = network(address);
        if self.senders.len() < ADDRESSES_MAX || self.senders.contains_key(&address) {
            let (since_ms, times) = self.senders.entry(address).or_insert((now_ms, 0));
            if now_ms >= since_ms.saturating_add(self.assignment_ms_max) {
                (*since_ms, *times) = (now_ms, 0);
            }
            *times = times.saturating_add(1);
            if *times > EXPECTED_OF_ADDRESS_MAX {
                return;
            }
        }
        self.assign(node, now_ms);
    }

    /// Notes that a listener was taken by `node`, or is sure to be.
    pub fn assign(&mut self, node: &NodeName, now_ms: u64) {
        if !self.accounts.contains_key(node) {
            self.accounts.insert(node.clone(), Account::default());
        }
        let Some(account) = self.accounts.get_mut(node) else { return };
        match account.buckets.back_mut() {
            Some(bucket) if now_ms < bucket.begun_ms + BUCKET_MS => bucket.listeners += 1,
            _ => account.buckets.push_back(Bucket { begun_ms: now_ms, listeners: 1 }),
        }
    }

    /// Takes note of the reports in force, at least once a second. A daemon that starts again counts from zero again, so
    /// a report is new if its number is another.
    pub fn note_reports(&mut self, loads: &BTreeMap<NodeName, Arc<LoadRecord>>, now_ms: u64) {
        for (node, load) in loads {
            if let Some(account) = self.accounts.get_mut(node) {
                account.note(load.sequence, now_ms);
            } else {
                let report = Some((load.sequence, now_ms));
                self.accounts.insert(node.clone(), Account { report, ..Account::default() });
            }
        }
        let kept_ms = self.assignment_ms_max;
        self.senders.retain(|_, (since_ms, _)| now_ms < since_ms.saturating_add(kept_ms));
        self.accounts.retain(|node, account| {
            account.prune(now_ms, kept_ms);
            loads.contains_key(node) || !account.buckets.is_empty()
        });
    }

    /// Listeners assigned to `node` that its report does not show.
    pub fn assigned(&self, node: &NodeName) -> u64 {
        let buckets = self.accounts.get(node).map(|account| &account.buckets);
        buckets.map_or(0, |buckets| buckets.iter().map(|bucket| bucket.listeners).sum())
    }
}

impl Account {
    fn note(&mut self, sequence: u64, now_ms: u64) {
        if self.report.is_none_or(|(noted, _)| noted != sequence) {
            self.report = Some((sequence, now_ms));
        }
    }

    fn prune(&mut self, now_ms: u64, assignment_ms_max: u64) {
        let read_ms = self.report.map(|(_, read_ms)| read_ms);
        self.buckets.retain(|bucket| {
            let end_ms = bucket.begun_ms + BUCKET_MS;
            match read_ms {
                // The report came later: it counts them, or the next one will.
                Some(read_ms) if bucket.begun_ms <= read_ms => {
                    end_ms + REPORT_LAG_MS > read_ms && now_ms < read_ms + REPORT_LAG_MS
                }
                _ => now_ms < end_ms + assignment_ms_max,
            }
        });
    }
}

/// Whom addresses are told apart by: one customer has a whole /64 of IPv6.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> NodeName {
        "node1".parse().expect("name")
    }

    fn report(sequence: u64) -> BTreeMap<NodeName, Arc<LoadRecord>> {
        let load = LoadRecord { sequence, ..LoadRecord::idle() };
        [(name(), Arc::new(load))].into()
    }

    /// A ledger that has read report 1 at 0 ms and assigned ten listeners at `at_ms`.
    fn assigned_at(at_ms: u64) -> Ledger {
        let mut ledger = Ledger::default();
        ledger.note_reports(&report(1), 0);
        for _ in 0..10 {
            ledger.assign(&name(), at_ms);
        }
        ledger
    }

    #[test]
    fn assignments_count_until_a_newer_report_shows_them() {
        let mut ledger = assigned_at(1_000);
        ledger.note_reports(&report(1), 4_000);
        assert_eq!(ledger.assigned(&name()), 10, "the same report as before");
        ledger.note_reports(&report(2), 4_050);
        assert_eq!(ledger.assigned(&name()), 0);
    }

    #[test]
    fn what_a_report_may_have_missed_counts_a_moment_longer() {
        let mut ledger = assigned_at(1_000);
        ledger.note_reports(&report(2), 1_500);
        assert_eq!(ledger.assigned(&name()), 10, "assigned half a second before");
        ledger.note_reports(&report(2), 2_499);
        assert_eq!(ledger.assigned(&name()), 10);
        ledger.note_reports(&report(2), 2_500);
        assert_eq!(ledger.assigned(&name()), 0, "and no longer");
    }

    #[test]
    fn a_daemon_that_starts_again_reports_from_zero() {
        let mut ledger = assigned_at(1_000);
        ledger.note_reports(&report(0), 4_000);
        assert_eq!(ledger.assigned(&name()), 0);
    }

    #[test]
    fn listeners_who_never_arrive_are_forgotten() {
        let mut ledger = assigned_at(1_000);
        ledger.note_reports(&report(1), 4_099);
        assert_eq!(ledger.assigned(&name()), 10);
        ledger.note_reports(&report(1), 4_100);
        assert_eq!(ledger.assigned(&name()), 0);
        ledger.note_reports(&BTreeMap::new(), 4_100);
        assert!(ledger.accounts.is_empty(), "nothing is kept of a node that is gone");
    }

    #[test]
    fn a_slower_heartbeat_keeps_assignments_for_longer() {
        let mut ledger = Ledger::new(Duration::from_secs(5));
        ledger.assign(&name(), 0);
        ledger.note_reports(&BTreeMap::new(), 15_099);
        assert_eq!(ledger.assigned(&name()), 1);
        ledger.note_reports(&BTreeMap::new(), 15_100);
        assert_eq!(ledger.assigned(&name()), 0);
    }

    #[test]
    fn one_address_that_asks_for_ever_fills_no_node_and_a_crowd_of_many_does() {
        let mut ledger = Ledger::default();
        let from = |text: &str| text.parse::<IpAddr>().expect("address");
        for number in 0..10_000_u64 {
            ledger.expect(&name(), from("::ffff:198.18.0.1"), number / 10);
            ledger.expect(&name(), from(&format!("fd00::{}", number % 9_000)), number / 10);
        }
        assert_eq!(ledger.assigned(&name()), 2 * u64::from(EXPECTED_OF_ADDRESS_MAX));
        for number in 0..10_000_u32 {
            ledger.expect(
                &name(),
                IpAddr::from((0xc612_0000_u32 + (number << 1)).to_be_bytes()),
                1_000,
            );
        }
        assert!(ledger.assigned(&name()) >= 10_000, "{}", ledger.assigned(&name()));
        assert_eq!(ledger.senders.len(), ADDRESSES_MAX, "memory is bounded");
        ledger.note_reports(&report(1), 9_000);
        assert!(ledger.senders.is_empty());
        ledger.expect(&name(), from("198.18.0.1"), 9_000);
        assert_eq!(ledger.assigned(&name()), 1, "after a while it is expected again");
    }
}
