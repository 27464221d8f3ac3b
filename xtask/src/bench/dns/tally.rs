//! All measurements, as rows of the result: figures, and what they are of the limit's and of the best
//! peer's, with what was promised. Pure.

use std::collections::BTreeMap;

use anyhow::Result;

use super::measure::{LATENCY_RATE, Measured};
use super::subject::Subject;
use super::test_run;
use crate::bench::report::{Report, Row, percentile};

const PERCENTILES: [usize; 3] = [50, 99, 100];
/// Share of the reflecting program's rate that the kernel reaches at least.
const SHARE_OF_REFLECT: f64 = 0.95;
/// How often the best peer's rate the kernel reaches at least, and userspace.
const KERNEL_TIMES_PEER: f64 = 3.0;
const USERSPACE_TIMES_PEER: f64 = 1.0;
/// Share of the cheapest peer's cost that the kernel needs at most.
const COST_SHARE: f64 = 0.2;
/// Share of a core that a quiet machine uses at most, with a server that nobody asks.
const QUIET: f64 = 0.05;

const VETH: &str =
    "veth is not a network card: these are ratios of one machine, not rates of a server";
const METHOD: &str = "the load generator has core 0, the server core 1; what a query's arrival costs, XDP programs \
     included, falls on core 0, so rates of programs in the kernel are also the generator's";
const COST: &str = "cpu_us_per_answer: user, nice, system, irq and softirq time of all cores (/proc/stat) at half of \
     the subject's best rate, less user and system time of the generator's core, less what the machine \
     spends when nothing is asked";

/// All measurements so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    measured: BTreeMap<Subject, Measured>,
    test_run: Vec<Row>,
    failed: Vec<(&'static str, String)>,
}

impl Tally {
    /// Adds a subject, or why it could not be measured.
    pub(super) fn add(&mut self, subject: Subject, measured: Result<Measured>) {
        match measured {
            Ok(measured) => drop(self.measured.insert(subject, measured)),
            Err(error) => self.failed.push((subject.name(), format!("{error:#}"))),
        }
    }

    /// Adds the kernel program's times, or why there are none.
    pub(super) fn add_test_run(&mut self, rows: Result<Vec<Row>>) {
        match rows {
            Ok(rows) => self.test_run = rows,
            Err(error) => self.failed.push((test_run::NAME, format!("{error:#}"))),
        }
    }

    pub(super) fn report(&self) -> Report {
        let mut rows = self.test_run.clone();
        let figures = |metric: &str, unit: &str, value: fn(&Measured) -> Option<f64>| -> Vec<Row> {
            let row = |(subject, measured): (&Subject, &Measured)| {
                Some(Row::new(subject.name(), metric, value(measured)?, unit))
            };
            self.measured.iter().filter_map(row).collect()
        };
        let rate = |measured: &Measured| Some(measured.answers_per_second);
        rows.extend(figures("answers_per_second", "1/s", rate));
        rows.extend(figures("cpu_us_per_answer", "us CPU", |measured| measured.cpu_us_per_answer));
        rows.extend(
            self.measured.iter().flat_map(|(subject, measured)| latencies(*subject, measured)),
        );
        rows.extend(self.ratios());
        let costless = self.measured.iter().filter(|(_, one)| one.cpu_us_per_answer.is_none());
        rows.extend(costless.map(|(subject, _)| {
            Row::new(subject.name(), "cost_not_told", 1.0, "subjects").at_most(Some(0.0))
        }));
        rows.extend(
            self.failed.iter().map(|(name, _)| {
                Row::new(name, "not_measured", 1.0, "subjects").at_most(Some(0.0))
            }),
        );
        let mut report = Report::new("dns", rows);
        report.notes = self.notes();
        report
    }

    /// What was promised of one subject by another. Only of what was measured.
    fn ratios(&self) -> Vec<Row> {
        let rate = |subject| Some(self.measured.get(&subject)?.answers_per_second);
        let peers = || self.measured.iter().filter(|(subject, _)| subject.is_peer());
        let best = peers().map(|(_, peer)| peer.answers_per_second).reduce(f64::max);
        let cheapest = peers().filter_map(|(_, peer)| peer.cpu_us_per_answer).reduce(f64::min);
        let (kernel, userspace) = (Subject::AutoradioXdp, Subject::AutoradioUserspace);
        let cost = self.measured.get(&kernel).and_then(|measured| measured.cpu_us_per_answer);
        let ratio = |subject: Subject, metric: &str, ours: Option<f64>, theirs: Option<f64>| {
            Some(Row::new(subject.name(), metric, ours? / theirs?, "ratio"))
        };
        let limit = rate(Subject::Reflect);
        let of_reflect = ratio(kernel, "rate_of_reflect", rate(kernel), limit);
        let of_peer = ratio(kernel, "rate_of_best_peer", rate(kernel), best);
        let userspace = ratio(userspace, "rate_of_best_peer", rate(userspace), best);
        let cost = ratio(kernel, "cpu_of_cheapest_peer", cost, cheapest);
        [
            of_reflect.map(|row| row.at_least(SHARE_OF_REFLECT)),
            of_peer.map(|row| row.at_least(KERNEL_TIMES_PEER)),
            userspace.map(|row| row.at_least(USERSPACE_TIMES_PEER)),
            cost.map(|row| row.at_most(Some(COST_SHARE))),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if !self.measured.is_empty() {
            notes.extend([VETH, METHOD, COST].map(str::to_owned));
        }
        for (subject, measured) in &self.measured {
            let name = subject.name();
            if measured.busy_before > QUIET {
                let percent = measured.busy_before * 100.0;
                notes.push(format!(
                    "the machine was not quiet: {percent:.0} % of a core were busy before anything \
                     was asked of {name}"
                ));
            }
            if measured.latencies.lost > 0 {
                let lost = measured.latencies.lost;
                notes.push(format!("{name} left {lost} queries of dnsperf unanswered"));
            }
        }
        let failed =
            self.failed.iter().map(|(name, why)| format!("{name} was not measured: {why}"));
        notes.extend(failed);
        notes
    }
}

fn latencies(subject: Subject, measured: &Measured) -> impl Iterator<Item = Row> {
    PERCENTILES.into_iter().filter_map(move |percent| {
        let us = u32::try_from(percentile(&measured.latencies.us, percent)?).unwrap_or(u32::MAX);
        let row = Row::new(subject.name(), "latency_us", us.into(), "us");
        Some(row.with("queries_per_second", LATENCY_RATE).with("percentile", percent))
    })
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::super::dnsperf::Latencies;
    use super::*;

    fn measured(answers_per_second: f64, cpu_us_per_answer: f64) -> Measured {
        let latencies = Latencies { us: (1..=100).collect(), lost: 0 };
        let cpu_us_per_answer = Some(cpu_us_per_answer);
        Measured { answers_per_second, cpu_us_per_answer, latencies, busy_before: 0.0 }
    }

    fn tally(kernel: Measured, userspace: Measured) -> Tally {
        let mut tally = Tally::default();
        tally.add(Subject::Reflect, Ok(measured(400.0, 1.0)));
        tally.add(Subject::AutoradioXdp, Ok(kernel));
        tally.add(Subject::AutoradioUserspace, Ok(userspace));
        // The faster is not the cheaper.
        tally.add(Subject::Nsd, Ok(measured(120.0, 8.0)));
        tally.add(Subject::Gdnsd, Ok(measured(100.0, 7.0)));
        tally
    }

    #[test]
    fn promises_are_of_the_limit_the_fastest_and_the_cheapest_peer() {
        let kept = tally(measured(380.0, 1.4), measured(120.0, 8.0)).report();
        assert_eq!(kept.broken(), [""; 0]);
        let broken = tally(measured(359.0, 1.41), measured(119.0, 8.0)).report().broken();
        assert_eq!(broken.len(), 4, "{broken:?}");
        for word in ["rate_of_reflect", "userspace rate_of_best_peer", "cpu_of_cheapest_peer"] {
            assert!(broken.iter().any(|line| line.contains(word)), "{word} in {broken:?}");
        }
    }

    #[test]
    fn what_could_not_be_measured_is_named_and_counts_as_broken() {
        let mut tally = tally(measured(400.0, 1.0), measured(130.0, 6.0));
        tally.add(Subject::Knot, Err(anyhow!("knotd is missing")));
        let report = tally.report();
        assert_eq!(report.broken().len(), 1);
        assert!(report.notes.iter().any(|note| note.contains("knotd is missing")));
    }

    #[test]
    fn a_cost_that_could_not_be_told_is_no_figure_and_counts_as_broken() {
        let mut kernel = measured(400.0, 1.0);
        kernel.cpu_us_per_answer = None;
        let report = tally(kernel, measured(130.0, 6.0)).report();
        assert!(report.rows.iter().all(|row| row.metric != "cpu_of_cheapest_peer"));
        let broken = report.broken();
        assert!(broken.len() == 1 && broken[0].contains("cost_not_told"), "{broken:?}");
    }

    #[test]
    fn subjects_that_were_not_asked_for_give_no_ratios() {
        let mut tally = Tally::default();
        tally.add(Subject::AutoradioXdp, Ok(measured(1.0, 100.0)));
        let report = tally.report();
        assert_eq!(report.broken(), [""; 0]);
        assert!(report.rows.iter().all(|row| row.unit != "ratio"), "{:?}", report.rows);
    }

    #[test]
    fn a_restless_machine_and_lost_queries_are_told() {
        let latencies = Latencies { us: vec![1], lost: 3 };
        let restless = Measured { busy_before: 0.2, latencies, ..measured(1.0, 1.0) };
        let mut tally = Tally::default();
        tally.add(Subject::Nsd, Ok(restless));
        let notes = tally.report().notes.join("\n");
        assert!(notes.contains("20 % of a core") && notes.contains("3 queries"), "{notes}");
    }
}
