//! The result of a bench, in the form that all of them share, and as a table. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// All figures of one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Report {
    pub(super) bench: String,
    pub(super) rows: Vec<Row>,
    /// What a reader must know of the circumstances: sentences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) notes: Vec<String>,
}

/// One figure, and under what it was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) subject: String,
    pub(super) metric: String,
    pub(super) value: f64,
    pub(super) unit: String,
    /// Such as `percentile`; `limit` is the most that `value` may be, `least` the least.
    #[serde(flatten)]
    pub(super) more: BTreeMap<String, Value>,
}

/// The field that says which part of the measurements `value` bounds.
const PERCENTILE: &str = "percentile";
/// The fields that say what was promised: the most, and the least.
const LIMIT: &str = "limit";
const LEAST: &str = "least";

/// Rows that differ in their percentile only.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Group<'a> {
    /// Subject, metric and circumstances, for people.
    pub(super) title: String,
    pub(super) unit: &'a str,
    /// Percentile, if the row has one, and value.
    pub(super) values: Vec<(Option<u64>, f64)>,
    /// The most that was promised of one of them.
    pub(super) limit: Option<f64>,
    /// The least that was promised of one of them.
    pub(super) least: Option<f64>,
}

impl Row {
    pub(super) fn new(subject: &str, metric: &str, value: f64, unit: &str) -> Self {
        let [subject, metric, unit] = [subject, metric, unit].map(str::to_owned);
        Self { subject, metric, value, unit, more: BTreeMap::new() }
    }

    /// The same with one more field.
    pub(super) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.more.insert(name.to_owned(), value.into());
        self
    }

    /// The same with a promise that [`Report::broken`] checks.
    pub(super) fn at_most(self, limit: Option<f64>) -> Self {
        match limit {
            Some(limit) => self.with(LIMIT, limit),
            None => self,
        }
    }

    /// The same with a promise of the other kind.
    pub(super) fn at_least(self, least: f64) -> Self {
        self.with(LEAST, least)
    }

    fn limit(&self) -> Option<f64> {
        self.more.get(LIMIT)?.as_f64()
    }

    fn least(&self) -> Option<f64> {
        self.more.get(LEAST)?.as_f64()
    }

    fn percentile(&self) -> Option<u64> {
        self.more.get(PERCENTILE)?.as_u64()
    }

    fn title(&self) -> String {
        let untold = [PERCENTILE, LIMIT, LEAST];
        let more = self.more.iter().filter(|(name, _)| !untold.contains(&name.as_str()));
        let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let more: Vec<String> =
            more.map(|(name, value)| format!("{name} {}", word(value))).collect();
        let more = if more.is_empty() { String::new() } else { format!(" ({})", more.join(", ")) };
        format!("{} {}{more}", self.subject, self.metric)
    }
}

impl Report {
    pub(super) fn new(bench: &str, rows: Vec<Row>) -> Self {
        Self { bench: bench.to_owned(), rows, notes: Vec::new() }
    }

    /// The rows, those together that differ in their percentile only, in the order of the first.
    pub(super) fn groups(&self) -> Vec<Group<'_>> {
        let mut groups: Vec<Group<'_>> = Vec::new();
        for row in &self.rows {
            let (title, value) = (row.title(), (row.percentile(), row.value));
            match groups.iter_mut().find(|group| group.title == title) {
                Some(group) => {
                    group.values.push(value);
                    group.limit = group.limit.or(row.limit());
                    group.least = group.least.or(row.least());
                }
                None => groups.push(Group {
                    title,
                    unit: &row.unit,
                    values: vec![value],
                    limit: row.limit(),
                    least: row.least(),
                }),
            }
        }
        groups
    }

    /// For people: one line per group.
    pub(super) fn table(&self) -> String {
        let groups = self.groups();
        let width = groups.iter().map(|group| group.title.len()).max().unwrap_or_default();
        let line = |group: &Group<'_>| {
            let values = group.values.iter().map(|(percentile, value)| match percentile {
                Some(100) => format!("max {}", short(*value)),
                Some(percentile) => format!("p{percentile} {}", short(*value)),
                None => short(*value),
            });
            let values: Vec<String> = values.map(|value| format!("{value:>10}")).collect();
            let promise = |word: &str, bound: Option<f64>| {
                bound.map_or_else(String::new, |bound| format!("  at {word} {}", short(bound)))
            };
            let promised = promise("most", group.limit) + &promise("least", group.least);
            format!("{:<width$}  {} {}{promised}", group.title, values.join("  "), group.unit)
        };
        groups.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    /// A sentence for every row that is over its limit, or under its least.
    pub(super) fn broken(&self) -> Vec<String> {
        let told = |row: &Row, word: &str, bound: f64| {
            let (title, value, unit) = (row.title(), short(row.value), &row.unit);
            format!("{title} is {value} {unit}, at {word} {}", short(bound))
        };
        let broken = self.rows.iter().filter_map(|row| {
            let over = row.limit().filter(|limit| row.value > *limit);
            let under = row.least().filter(|least| row.value < *least);
            over.map(|limit| told(row, "most", limit))
                .or_else(|| under.map(|least| told(row, "least", least)))
        });
        broken.collect()
    }
}

/// The value below or at which `percent` of the samples are: nearest rank. `None` without any.
pub(super) fn percentile(samples: &[u64], percent: usize) -> Option<u64> {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied()
}

/// For people: four digits tell apart what a bench can.
pub(super) fn short(value: f64) -> String {
    if value.fract() == 0.0 || value >= 1_000.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.3}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let row = |percentile: u64, value, limit| {
            let row = Row::new("host_gone", "source_back_ms", value, "ms");
            row.with("etcd_leader", false).with(PERCENTILE, percentile).at_most(limit)
        };
        let rows = vec![
            row(50, 3_100.0, None),
            row(99, 6_200.0, Some(6_000.0)),
            Row::new("host_gone", "failed_rounds", 0.0, "rounds").at_most(Some(0.0)),
        ];
        Report::new("failover", rows)
    }

    #[test]
    fn a_row_has_the_form_that_others_read() {
        let text = serde_json::to_string(&report().rows[0]).unwrap();
        let want = r#"{"subject":"host_gone","metric":"source_back_ms","value":3100.0,"#.to_owned()
            + r#""unit":"ms","etcd_leader":false,"percentile":50}"#;
        assert_eq!(text, want);
        assert_eq!(serde_json::from_str::<Row>(&text).unwrap(), report().rows[0]);
    }

    #[test]
    fn percentiles_of_one_thing_are_one_line() {
        let report = report();
        let groups = report.groups();
        assert_eq!(groups.len(), 2);
        assert_eq!(groups[0].values, [(Some(50), 3_100.0), (Some(99), 6_200.0)]);
        let table = report.table();
        assert!(table.contains("p99 6200") && table.contains("at most 6000"), "{table}");
    }

    #[test]
    fn only_what_is_over_its_limit_is_broken() {
        let broken = report().broken();
        assert_eq!(broken.len(), 1);
        assert!(broken[0].contains("source_back_ms") && broken[0].contains("6200"), "{broken:?}");
    }

    #[test]
    fn what_is_under_its_least_is_broken_too() {
        let share = |value| Row::new("autoradio-xdp", "share", value, "ratio").at_least(0.95);
        let report = Report::new("dns", vec![share(0.96), share(0.949)]);
        let broken = report.broken();
        assert_eq!(broken, ["autoradio-xdp share is 0.949 ratio, at least 0.950"]);
        assert!(report.table().contains("at least 0.950"), "{}", report.table());
    }

    #[test]
    fn a_percentile_is_the_nearest_rank() {
        let samples: Vec<u64> = (1..=200).rev().collect();
        for (percent, want) in [(50, 100), (99, 198), (100, 200)] {
            assert_eq!(percentile(&samples, percent), Some(want), "p{percent}");
        }
        assert_eq!(percentile(&[7], 99), Some(7));
        assert_eq!(percentile(&[], 50), None);
    }
}
