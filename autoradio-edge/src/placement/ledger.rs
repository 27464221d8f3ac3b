//! Prediction: what this node has assigned to whom since that node's last report.
//!
//! A crowd that comes within one heartbeat is spread by what every node will carry once it has arrived, not by what it
//! carried before. A report replaces the prediction; a listener that never arrived is forgotten after a while.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::cluster::{LoadRecord, NodeName};

/// Longest way of a report, in milliseconds, from the moment whose load it tells to the moment when it is read. What was
/// assigned within it may be missing in the report.
const REPORT_LAG_MS: u64 = 1_000;
/// An assignment without any report for so long did not change the node's load by enough to be told, or never arrived, in
/// milliseconds: several heartbeats of the default length.
const ASSIGNMENT_MS_MAX: u64 = 10_000;
/// Assignments within so many milliseconds are counted together.
const BUCKET_MS: u64 = 100;

/// All assignments that reports do not yet show.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    accounts: BTreeMap<NodeName, Account>,
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
    /// Notes that a listener was sent to `node`, or taken by it if it is this one.
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
        self.accounts.retain(|node, account| {
            account.prune(now_ms);
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

    fn prune(&mut self, now_ms: u64) {
        let read_ms = self.report.map(|(_, read_ms)| read_ms);
        self.buckets.retain(|bucket| {
            let end_ms = bucket.begun_ms + BUCKET_MS;
            match read_ms {
                // The report came later: it counts them, or the next one will.
                Some(read_ms) if bucket.begun_ms <= read_ms => {
                    end_ms + REPORT_LAG_MS > read_ms && now_ms < read_ms + REPORT_LAG_MS
                }
                _ => now_ms < end_ms + ASSIGNMENT_MS_MAX,
            }
        });
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
        ledger.note_reports(&report(1), 5_000);
        assert_eq!(ledger.assigned(&name()), 10, "the same report as before");
        ledger.note_reports(&report(2), 5_100);
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
        ledger.note_reports(&report(0), 9_000);
        assert_eq!(ledger.assigned(&name()), 0);
    }

    #[test]
    fn listeners_who_never_arrive_are_forgotten() {
        let mut ledger = assigned_at(1_000);
        ledger.note_reports(&report(1), 11_099);
        assert_eq!(ledger.assigned(&name()), 10);
        ledger.note_reports(&report(1), 11_100);
        assert_eq!(ledger.assigned(&name()), 0);
        ledger.note_reports(&BTreeMap::new(), 11_100);
        assert!(ledger.accounts.is_empty(), "nothing is kept of a node that is gone");
    }
}
