//! All measurements, as rows of the result, with what was promised of autoradio. Pure.

use std::collections::BTreeMap;

use super::{Connection, Subject};
use crate::bench::report::{Report, Row};

/// How often the best peer's rate autoradio reaches at least.
const TIMES_PEER: f64 = 1.0;

const METHOD: &str = "wrk has core 0, the server core 1; nginx has one worker, HAProxy one thread, autoradio one of each kind";

/// All measurements so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    rates: BTreeMap<(Connection, Subject), f64>,
    failed: BTreeMap<Subject, String>,
}

impl Tally {
    pub(super) fn add(&mut self, subject: Subject, connection: Connection, rate: f64) {
        self.rates.insert((connection, subject), rate);
    }

    pub(super) fn fail(&mut self, subject: Subject, why: &anyhow::Error) {
        self.failed.insert(subject, format!("{why:#}"));
    }

    pub(super) fn report(&self) -> Report {
        let rates = self.rates.iter().map(|((connection, subject), rate)| {
            let row = Row::new(subject.name(), "requests_per_second", *rate, "1/s");
            row.with("connection", connection.name())
        });
        let mut rows: Vec<Row> = rates.collect();
        rows.extend(Connection::ALL.into_iter().filter_map(|connection| self.ratio(connection)));
        rows.extend(self.failed.keys().map(|subject| {
            Row::new(subject.name(), "not_measured", 1.0, "subjects").at_most(Some(0.0))
        }));
        let mut report = Report::new("redirect", rows);
        report.notes.push(METHOD.to_owned());
        let failed = self.failed.iter();
        report.notes.extend(
            failed.map(|(subject, why)| format!("{} was not measured: {why}", subject.name())),
        );
        report
    }

    fn ratio(&self, connection: Connection) -> Option<Row> {
        let rate = |subject| self.rates.get(&(connection, subject)).copied();
        let peers = [Subject::Nginx, Subject::Haproxy].into_iter().filter_map(rate);
        let ratio = rate(Subject::Autoradio)? / peers.reduce(f64::max)?;
        let row = Row::new(Subject::Autoradio.name(), "rate_of_best_peer", ratio, "ratio");
        Some(row.with("connection", connection.name()).at_least(TIMES_PEER))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_peer_is_the_measure_for_each_kind_of_connection() {
        let mut tally = Tally::default();
        for (subject, rate) in
            [(Subject::Nginx, 10.0), (Subject::Haproxy, 12.0), (Subject::Autoradio, 11.0)]
        {
            tally.add(subject, Connection::Close, rate);
        }
        tally.add(Subject::Autoradio, Connection::KeepAlive, 1.0);
        let broken = tally.report().broken();
        assert_eq!(broken.len(), 1, "nobody to compare the other with: {broken:?}");
        assert!(broken[0].contains("close") && broken[0].contains("0.917"), "{broken:?}");
        tally.fail(Subject::Nginx, &anyhow::anyhow!("gone"));
        assert_eq!(tally.report().broken().len(), 2);
    }
}
