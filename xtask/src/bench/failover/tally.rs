//! The rounds' times, as rows of the result, with what was promised of them. Pure.

use std::collections::BTreeMap;
use std::fmt;

use autoradio_lab::failover::Times;

use super::round::Fault;
use crate::bench::report::{Report, Row, percentile};

const PERCENTILES: [usize; 3] = [50, 99, 100];
const DNS: &str = "dns_clean_ms";
const SOURCE: &str = "source_back_ms";
const LISTENER: &str = "listener_back_ms";
const INTERRUPTED: &str = "source_interrupted_ms";

/// What one round measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sample {
    /// A node was lost.
    Lost(Times),
    /// None was, and the source was away for so many milliseconds.
    Interrupted(u64),
}

/// All rounds so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// By fault, and whether the etcd leader was lost with the node.
    rounds: BTreeMap<(Fault, bool), Vec<Option<Sample>>>,
}

impl fmt::Display for Sample {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(times) => write!(
                out,
                "DNS clean after {} ms, source back after {}, listener after {}",
                times.dns_clean_ms, times.source_back_ms, times.listener_back_ms
            ),
            Self::Interrupted(0) => write!(out, "the source noticed nothing"),
            Self::Interrupted(ms) => write!(out, "the source was away for {ms} ms"),
        }
    }
}

impl Sample {
    fn values(self) -> Vec<(&'static str, u64)> {
        match self {
            Self::Lost(times) => vec![
                (DNS, times.dns_clean_ms),
                (SOURCE, times.source_back_ms),
                (LISTENER, times.listener_back_ms),
            ],
            Self::Interrupted(ms) => vec![(INTERRUPTED, ms)],
        }
    }
}

impl Tally {
    /// Adds a round; `None` for one that failed.
    pub(super) fn add(&mut self, fault: Fault, etcd_leader: bool, sample: Option<Sample>) {
        self.rounds.entry((fault, etcd_leader)).or_default().push(sample);
    }

    pub(super) fn report(&self) -> Report {
        let rounds = self.rounds.iter();
        let rows = rounds.flat_map(|((fault, leader), samples)| rows(*fault, *leader, samples));
        Report::new("failover", rows.collect())
    }
}

fn rows(fault: Fault, etcd_leader: bool, samples: &[Option<Sample>]) -> Vec<Row> {
    let row = |metric: &str, value: usize, unit| {
        // Counts are far below what a float holds exactly.
        let value = u32::try_from(value).unwrap_or(u32::MAX).into();
        Row::new(fault.subject(), metric, value, unit).with("etcd_leader", etcd_leader)
    };
    let good: Vec<Sample> = samples.iter().copied().flatten().collect();
    let mut rows = Vec::new();
    for metric in [DNS, SOURCE, LISTENER, INTERRUPTED] {
        let values = good.iter().flat_map(|sample| sample.values());
        let values: Vec<u64> =
            values.filter(|(name, _)| *name == metric).map(|(_, ms)| ms).collect();
        for percent in PERCENTILES {
            if let Some(ms) = percentile(&values, percent) {
                let ms = usize::try_from(ms).unwrap_or(usize::MAX);
                let limit = promise_ms(fault, etcd_leader, metric).filter(|_| percent == 99);
                rows.push(row(metric, ms, "ms").with("percentile", percent).at_most(limit));
            }
        }
    }
    rows.push(row("rounds", samples.len(), "rounds"));
    rows.push(row("failed_rounds", samples.len() - good.len(), "rounds").at_most(Some(0.0)));
    if fault == Fault::Terminated {
        let untold = |sample: &&Sample| matches!(sample, Sample::Lost(times) if !times.source_told);
        let untold = good.iter().filter(untold).count();
        rows.push(row("sources_lost_untold", untold, "sources").at_most(Some(0.0)));
    }
    rows
}

/// What was promised, with default settings, of 99 in 100.
fn promise_ms(fault: Fault, etcd_leader: bool, metric: &str) -> Option<f64> {
    let for_election = if etcd_leader { 2_000.0 } else { 0.0 };
    match (fault, metric) {
        (Fault::ProcessKilled, SOURCE) => Some(4_000.0 + for_election),
        (Fault::HostGone, SOURCE) => Some(6_000.0 + for_election),
        (Fault::Terminated, DNS) => Some(1_000.0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost(source_back_ms: u64, source_told: bool) -> Sample {
        Sample::Lost(Times {
            dns_clean_ms: 900,
            source_back_ms,
            listener_back_ms: 5_000,
            source_told,
        })
    }

    #[test]
    fn the_promises_are_kept_or_named() {
        let mut tally = Tally::default();
        tally.add(Fault::ProcessKilled, false, Some(lost(3_900, true)));
        tally.add(Fault::ProcessKilled, true, Some(lost(5_900, true)));
        tally.add(Fault::Terminated, false, Some(lost(400, true)));
        assert_eq!(tally.report().broken(), [""; 0]);
        tally.add(Fault::ProcessKilled, false, Some(lost(4_100, true)));
        tally.add(Fault::Terminated, false, Some(lost(400, false)));
        tally.add(Fault::HostGone, false, None);
        let broken = tally.report().broken().join("\n");
        for word in ["source_back_ms", "sources_lost_untold", "failed_rounds"] {
            assert!(broken.contains(word), "{word} in {broken}");
        }
        assert_eq!(broken.lines().count(), 3, "{broken}");
    }

    #[test]
    fn a_failed_round_is_counted_and_gives_no_times() {
        let mut tally = Tally::default();
        tally.add(Fault::Stopped, false, None);
        let metrics: Vec<String> = tally.report().rows.into_iter().map(|row| row.metric).collect();
        assert_eq!(metrics, ["rounds", "failed_rounds"]);
    }

    #[test]
    fn an_etcd_that_dies_alone_is_measured_by_the_sources_absence() {
        let mut tally = Tally::default();
        tally.add(Fault::EtcdLeaderKilled, true, Some(Sample::Interrupted(0)));
        let report = tally.report();
        assert_eq!(report.rows[0].metric, "source_interrupted_ms");
        assert_eq!(report.rows.len(), 5);
    }
}
