//! All measurements, as rows of the result: figures, and what they are of the limit's and of the best
//! peer's, with what was promised. Pure.

use std::collections::BTreeMap;

use anyhow::Result;

use super::measure::{COST_RATE, LATENCY_RATE, Measured};
use super::setup::Setup;
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
/// What two costs of the same may differ by: a server that seems cheaper than none by more was not measured.
const COST_ERROR_US: f64 = 0.3;
/// Share of a core that a quiet machine uses at most, with a server that nobody asks.
const QUIET: f64 = 0.05;

const VETH: &str =
    "veth is not a network card: these are ratios of one machine, not rates of a server";
const METHOD: &str = "the load generator's thread has core 0; setup apart: a server has core 1 and one worker, and \
     what a query's arrival costs, XDP programs included, falls on core 0; setup together: a server has all cores and \
     a worker for each";
const COST: &str = "machine_us_per_answer: time in which a core was not idle, all cores, load generator included, at the \
     same rate for all, less what the machine spends when nothing is asked; cpu_us_per_answer: the same less that \
     of reflect, which is the generator's own work, both ways over the wire and an XDP program that does nothing";

/// The field of a row that tells the set-up.
const SETUP: &str = "setup";

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
        rows.extend(self.measured.iter().flat_map(|(subject, measured)| rates(*subject, measured)));
        rows.extend(self.measured.iter().map(|(subject, measured)| {
            let us = measured.cost.us_per_answer;
            cost_row(*subject, "machine_us_per_answer", us)
        }));
        let net = |subject: &Subject| Some((*subject, self.net_us(*subject)?));
        let costs: Vec<(Subject, f64)> = self.measured.keys().filter_map(net).collect();
        rows.extend(costs.iter().map(|(subject, us)| cost_row(*subject, "cpu_us_per_answer", *us)));
        rows.extend(
            self.measured.iter().flat_map(|(subject, measured)| latencies(*subject, measured)),
        );
        rows.extend(self.ratios());
        let untold = costs.iter().filter(|(_, us)| *us < -COST_ERROR_US);
        rows.extend(untold.map(|(subject, _)| {
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

    /// What a server adds to the cost of queries that are sent straight back. Only where that was measured.
    fn net_us(&self, subject: Subject) -> Option<f64> {
        let reflect = self.measured.get(&Subject::Reflect)?.cost.us_per_answer;
        let measured = self.measured.get(&subject).filter(|_| subject != Subject::Reflect)?;
        Some(measured.cost.us_per_answer - reflect)
    }

    /// What was promised of one subject by another. Only of what was measured.
    fn ratios(&self) -> Vec<Row> {
        let cheapest = self.peers().filter_map(|peer| self.net_us(peer)).reduce(f64::min);
        let kernel = self.net_us(Subject::AutoradioXdp).filter(|us| *us >= -COST_ERROR_US);
        let cost = ratio(Subject::AutoradioXdp, "cpu_of_cheapest_peer", kernel, cheapest)
            .map(|row| row.at_most(Some(COST_SHARE)));
        Setup::ALL.into_iter().flat_map(|setup| self.ratios_of_rates(setup)).chain(cost).collect()
    }

    /// How the rates of one set-up compare. Three times the best peer's rate is promised of the whole machine: apart, a kernel
    /// program has the generator's core only, and its limit is not three times the best peer's rate either.
    fn ratios_of_rates(&self, setup: Setup) -> Vec<Row> {
        let rate = |subject| self.measured.get(&subject)?.answers_per_second.get(&setup).copied();
        let best = self.peers().filter_map(rate).reduce(f64::max);
        let limit = rate(Subject::Reflect);
        let (kernel, userspace) = (Subject::AutoradioXdp, Subject::AutoradioUserspace);
        let of_peer = |subject| ratio(subject, "rate_of_best_peer", rate(subject), best);
        let promised = |row: Row| match setup {
            Setup::Apart => row,
            Setup::Together => row.at_least(KERNEL_TIMES_PEER),
        };
        let rows = [
            ratio(kernel, "rate_of_reflect", rate(kernel), limit)
                .map(|row| row.at_least(SHARE_OF_REFLECT)),
            of_peer(Subject::Reflect),
            of_peer(kernel).map(promised),
            of_peer(userspace).map(|row| row.at_least(USERSPACE_TIMES_PEER)),
        ];
        rows.into_iter().flatten().map(|row| row.with(SETUP, setup.name())).collect()
    }

    fn peers(&self) -> impl Iterator<Item = Subject> {
        self.measured.keys().copied().filter(|subject| subject.is_peer())
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if !self.measured.is_empty() {
            notes.extend([VETH, METHOD, COST].map(str::to_owned));
        }
        for (subject, measured) in &self.measured {
            let name = subject.name();
            if measured.cost.busy_before > QUIET {
                let percent = measured.cost.busy_before * 100.0;
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

fn rates(subject: Subject, measured: &Measured) -> impl Iterator<Item = Row> {
    measured.answers_per_second.iter().map(move |(setup, rate)| {
        Row::new(subject.name(), "answers_per_second", *rate, "1/s").with(SETUP, setup.name())
    })
}

fn cost_row(subject: Subject, metric: &str, us: f64) -> Row {
    Row::new(subject.name(), metric, us, "us CPU").with("queries_per_second", COST_RATE)
}

fn ratio(subject: Subject, metric: &str, ours: Option<f64>, theirs: Option<f64>) -> Option<Row> {
    Some(Row::new(subject.name(), metric, ours? / theirs?, "ratio"))
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
    use super::super::measure::Cost;
    use super::*;

    /// Rates apart and together, and the cost with that of sending.
    fn measured(apart: f64, together: f64, us_per_answer: f64) -> Measured {
        let latencies = Latencies { us: (1..=100).collect(), lost: 0 };
        let cost = Cost { us_per_answer, busy_before: 0.0 };
        let answers_per_second = [(Setup::Apart, apart), (Setup::Together, together)].into();
        Measured { answers_per_second, cost, latencies }
    }

    fn tally(kernel: Measured, userspace: Measured) -> Tally {
        let mut tally = Tally::default();
        tally.add(Subject::Reflect, Ok(measured(400.0, 400.0, 3.0)));
        tally.add(Subject::AutoradioXdp, Ok(kernel));
        tally.add(Subject::AutoradioUserspace, Ok(userspace));
        // The faster is not the cheaper, nor the one that is faster in the other set-up.
        tally.add(Subject::Nsd, Ok(measured(140.0, 110.0, 8.0)));
        tally.add(Subject::Gdnsd, Ok(measured(130.0, 120.0, 7.0)));
        tally
    }

    #[test]
    fn promises_are_of_the_limit_the_fastest_and_the_cheapest_peer() {
        // A fifth of the four microseconds that gdnsd adds to reflect's three.
        let kept = tally(measured(380.0, 380.0, 3.8), measured(140.0, 120.0, 8.0)).report();
        assert_eq!(kept.broken(), [""; 0]);
        let broken = tally(measured(379.0, 359.0, 3.81), measured(139.0, 119.0, 8.0)).report();
        let broken = broken.broken();
        for (what, times) in [
            ("autoradio-xdp rate_of_reflect (setup apart)", 1),
            ("autoradio-xdp rate_of_reflect (setup together)", 1),
            ("autoradio-xdp rate_of_best_peer (setup together)", 1),
            ("autoradio-userspace rate_of_best_peer (setup apart)", 1),
            ("autoradio-userspace rate_of_best_peer (setup together)", 1),
            ("cpu_of_cheapest_peer", 1),
            ("", 6),
        ] {
            let found = broken.iter().filter(|line| line.contains(what)).count();
            assert_eq!(found, times, "{what} in {broken:?}");
        }
    }

    #[test]
    fn a_cost_is_told_with_the_sending_and_without() {
        let report = tally(measured(400.0, 400.0, 3.5), measured(140.0, 120.0, 8.0)).report();
        let told = |subject: &str, metric: &str| {
            let mut rows = report.rows.iter();
            let row = rows.find(|row| row.subject == subject && row.metric == metric);
            row.map(|row| row.value)
        };
        assert_eq!(told("gdnsd", "machine_us_per_answer"), Some(7.0));
        assert_eq!(told("gdnsd", "cpu_us_per_answer"), Some(4.0));
        assert_eq!(told("reflect", "cpu_us_per_answer"), None);
        assert_eq!(told("autoradio-xdp", "cpu_of_cheapest_peer"), Some(0.125));
    }

    #[test]
    fn what_could_not_be_measured_is_named_and_counts_as_broken() {
        let mut tally = tally(measured(400.0, 400.0, 3.5), measured(150.0, 130.0, 6.0));
        tally.add(Subject::Knot, Err(anyhow!("knotd is missing")));
        let report = tally.report();
        assert_eq!(report.broken().len(), 1);
        assert!(report.notes.iter().any(|note| note.contains("knotd is missing")));
    }

    #[test]
    fn a_server_that_seems_to_cost_less_than_none_gives_no_ratio_and_counts_as_broken() {
        let report = tally(measured(400.0, 400.0, 2.6), measured(150.0, 130.0, 6.0)).report();
        assert!(report.rows.iter().all(|row| row.metric != "cpu_of_cheapest_peer"));
        let broken = report.broken();
        assert!(broken.len() == 1 && broken[0].contains("cost_not_told"), "{broken:?}");
    }

    #[test]
    fn subjects_that_were_not_asked_for_give_no_ratios() {
        let mut tally = Tally::default();
        tally.add(Subject::AutoradioXdp, Ok(measured(1.0, 1.0, 100.0)));
        let report = tally.report();
        assert_eq!(report.broken(), [""; 0]);
        assert!(report.rows.iter().all(|row| row.unit != "ratio"), "{:?}", report.rows);
    }

    #[test]
    fn a_restless_machine_and_lost_queries_are_told() {
        let latencies = Latencies { us: vec![1], lost: 3 };
        let cost = Cost { us_per_answer: 1.0, busy_before: 0.2 };
        let restless = Measured { cost, latencies, ..measured(1.0, 1.0, 1.0) };
        let mut tally = Tally::default();
        tally.add(Subject::Nsd, Ok(restless));
        let notes = tally.report().notes.join("\n");
        assert!(notes.contains("20 % of a core") && notes.contains("3 queries"), "{notes}");
    }
}
