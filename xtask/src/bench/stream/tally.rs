//! All measurements, as rows of the result, with what was promised of autoradio. Pure.

use std::collections::BTreeMap;

use anyhow::Result;

use super::measure::Measured;
use super::subject::Subject;
use crate::bench::report::{Report, Row, percentile};

/// With so many listeners the cost is compared.
const COMPARED: u32 = 2_000;
/// From so many on, all are served in time.
const CROWD: u32 = 8_000;
/// Share of Icecast's CPU, and of the bare loop's beyond what each takes with nobody there.
const CPU_OF_ICECAST: f64 = 1.0 / 3.0;
const CPU_OF_BARE_LOOP: f64 = 1.2;
const RSS_BYTES_MAX: f64 = 1_024.0;
const FIRST_BYTE_MS_MAX: f64 = 1_000.0;
const GAP_MS_MAX: f64 = 2_000.0;
/// Share of its core beyond which the crowd measures itself.
const CROWD_BUSY: f64 = 0.9;

const METHOD: &str = "the crowd has core 0, the server core 1; CPU is user and system time of the server's processes and \
     their children: Icecast behind the proxies, Icecast and etcd of autoradio";
const IDLE: &str =
    "cpu_of_bare_loop compares what listeners add: less what each takes with nobody there";
const GAPS: &str = "gap_ms: each listener's longest time without any audio, over all listeners";
const MEMORY: &str = "rss_bytes_per_listener is what the programs that listeners come through grew by: with the proxies \
     Icecast too, of autoradio the daemon alone";
const SOCKETS: &str =
    "socket_bytes_per_listener: the kernel's TCP memory (/proc/net/sockstat), both ends";

/// All measurements so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    measured: BTreeMap<(Subject, u32), Measured>,
    failed: Vec<(&'static str, u32, String)>,
}

impl Tally {
    /// Adds a subject with so many listeners, or why it could not be measured.
    pub(super) fn add(&mut self, subject: Subject, listeners: u32, measured: Result<Measured>) {
        match measured {
            Ok(measured) => drop(self.measured.insert((subject, listeners), measured)),
            Err(error) => self.failed.push((subject.name(), listeners, format!("{error:#}"))),
        }
    }

    pub(super) fn report(&self) -> Report {
        let each =
            self.measured.iter().flat_map(|((subject, _), measured)| rows(*subject, measured));
        let mut rows: Vec<Row> = each.collect();
        rows.extend(self.ratios());
        rows.extend(self.failed.iter().map(|(name, listeners, _)| {
            let row = Row::new(name, "not_measured", 1.0, "subjects").at_most(Some(0.0));
            row.with("listeners", *listeners)
        }));
        let mut report = Report::new("stream", rows);
        report.notes = self.notes();
        report
    }

    /// autoradio's cost against the others', where both were measured.
    fn ratios(&self) -> Vec<Row> {
        let of = |subject| self.measured.get(&(subject, COMPARED));
        let total = |measured: &Measured| measured.cpu_per_hour(measured.busy);
        let added =
            |measured: &Measured| measured.cpu_per_hour((measured.busy - measured.idle).max(0.0));
        let ratio = |metric, peer, most, cost: &dyn Fn(&Measured) -> Option<f64>| {
            let ratio =
                cost(of(Subject::Autoradio)?)? / cost(of(peer)?).filter(|cost| *cost > 0.0)?;
            let row = Row::new(Subject::Autoradio.name(), metric, ratio, "ratio");
            Some(row.with("listeners", COMPARED).at_most(Some(most)))
        };
        [
            ratio("cpu_of_icecast", Subject::Icecast, CPU_OF_ICECAST, &total),
            ratio("cpu_of_bare_loop", Subject::BareLoop, CPU_OF_BARE_LOOP, &added),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    fn notes(&self) -> Vec<String> {
        let mut notes: Vec<String> =
            [METHOD, IDLE, GAPS, MEMORY, SOCKETS].map(str::to_owned).into();
        for ((subject, listeners), measured) in &self.measured {
            let (name, heard) = (subject.name(), &measured.heard);
            if heard.busy > CROWD_BUSY {
                let percent = heard.busy * 100.0;
                notes.push(format!(
                    "{name} with {listeners}: the crowd itself was at its limit ({percent:.0} % of its core), so delays are \
                     also its own"
                ));
            }
            for (why, count) in &heard.failures {
                notes.push(format!(
                    "{name} with {listeners}: {count} listeners had no stream: {why}"
                ));
            }
        }
        notes.extend(self.failed.iter().map(|(name, listeners, why)| {
            format!("{name} with {listeners} was not measured: {why}")
        }));
        notes
    }
}

fn rows(subject: Subject, measured: &Measured) -> Vec<Row> {
    let (ours, count) = (subject == Subject::Autoradio, measured.listeners);
    let crowd = ours && count >= CROWD;
    let row = |metric: &str, value: f64, unit: &str| {
        Row::new(subject.name(), metric, value, unit).with("listeners", count)
    };
    let cost = measured.cpu_per_hour(measured.busy);
    let cost = cost.map(|cost| row("cpu_seconds_per_listener_hour", cost, "s CPU"));
    let served = row("served", measured.heard.served.into(), "listeners");
    let times = |metric: &str, samples: &[u64], percents: [(usize, Option<f64>); 2]| {
        let row = percents.map(|(percent, most)| {
            let us = u32::try_from(percentile(samples, percent)?).unwrap_or(u32::MAX);
            let row = row(metric, f64::from(us) / 1_000.0, "ms").with("percentile", percent);
            Some(row.at_most(most.filter(|_| crowd)))
        });
        row.into_iter().flatten().collect::<Vec<_>>()
    };
    let rss = row("rss_bytes_per_listener", measured.rss_bytes, "bytes");
    let mut rows: Vec<Row> = cost.into_iter().collect();
    rows.extend([
        row("cpu_idle", measured.idle, "cores"),
        rss.at_most((ours && count >= COMPARED).then_some(RSS_BYTES_MAX)),
        row("socket_bytes_per_listener", measured.socket_bytes, "bytes"),
        if crowd { served.at_least(count.into()) } else { served },
    ]);
    let heard = &measured.heard;
    let first = [(50, None), (99, Some(FIRST_BYTE_MS_MAX))];
    rows.extend(times("first_byte_ms", &heard.first_byte_us, first));
    rows.extend(times("gap_ms", &heard.longest_gap_us, [(99, None), (100, Some(GAP_MS_MAX))]));
    rows
}

#[cfg(test)]
mod tests {
    use autoradio_lab::load::Heard;

    use super::*;

    fn measured(listeners: u32, busy: f64) -> Measured {
        let heard = Heard {
            served: listeners,
            first_byte_us: vec![1_500; 100],
            longest_gap_us: vec![250_000; 100],
            ..Heard::default()
        };
        Measured { listeners, idle: 0.01, busy, rss_bytes: 900.0, socket_bytes: 2e4, heard }
    }

    #[test]
    fn a_promise_is_broken_by_cost_and_by_whoever_is_not_served() {
        let mut tally = Tally::default();
        tally.add(Subject::BareLoop, COMPARED, Ok(measured(COMPARED, 0.03)));
        tally.add(Subject::Icecast, COMPARED, Ok(measured(COMPARED, 0.12)));
        tally.add(Subject::Autoradio, COMPARED, Ok(measured(COMPARED, 0.033)));
        assert_eq!(tally.report().broken(), Vec::<String>::new(), "1.15 and 0.275");
        let mut crowd = measured(CROWD, 0.2);
        crowd.heard.served -= 1;
        crowd.heard.longest_gap_us.push(2_100_000);
        tally.add(Subject::Autoradio, CROWD, Ok(crowd));
        let broken = tally.report().broken();
        assert!(broken[0].contains("served") && broken[1].contains("gap_ms"), "{broken:?}");
        tally.add(Subject::Autoradio, COMPARED, Ok(measured(COMPARED, 0.05)));
        let broken = tally.report().broken().join("\n");
        assert!(
            broken.contains("cpu_of_icecast") && broken.contains("cpu_of_bare_loop"),
            "{broken}"
        );
    }

    #[test]
    fn nobody_promised_anything_of_peers() {
        let mut tally = Tally::default();
        let mut poor = measured(CROWD, 0.9);
        poor.heard.served = 0;
        poor.heard.longest_gap_us = vec![9_000_000];
        tally.add(Subject::Icecast, CROWD, Ok(poor));
        assert_eq!(tally.report().broken(), Vec::<String>::new());
        tally.add(Subject::Nginx, CROWD, Err(anyhow::anyhow!("no nginx")));
        assert_eq!(tally.report().broken().len(), 1, "what was not measured is told");
    }
}
