//! Shows what becomes of DNS queries.

use autoradio_edge::api::TracedQuery;

use super::{Output, bold};
use crate::args::Format;
use crate::dns_view::{LatencyView, Percentile, Rate, TRACE_HEAD, trace_line};

impl Output {
    /// How fast packets came to which end.
    pub(crate) fn dns_rates(&self, rates: &[Rate]) -> anyhow::Result<()> {
        if self.format == Format::Json {
            return Self::json(&rates);
        }
        if rates.is_empty() {
            return Self::note("Nobody has asked yet.");
        }
        let mut table = self.table();
        table.set_header(["BY", "VERDICT", "PER SECOND", "TOTAL"].map(bold));
        for rate in rates {
            let per_second = format!("{:.1}", rate.per_second);
            table.add_row([rate.by, &rate.verdict, &per_second, &rate.total.to_string()]);
        }
        Self::text(&format!("{table}\n"))
    }

    /// What stands above traced queries.
    pub(crate) fn dns_trace_head(&self) -> anyhow::Result<()> {
        match self.format {
            Format::Json => Ok(()),
            Format::Table => Self::note(TRACE_HEAD),
        }
    }

    /// A traced query: one line, or one JSON object in a line.
    pub(crate) fn dns_query(&self, query: &TracedQuery) -> anyhow::Result<()> {
        match self.format {
            Format::Json => Self::note(&serde_json::to_string(query)?),
            Format::Table => Self::note(&trace_line(query)),
        }
    }

    /// How long the kernel program took.
    pub(crate) fn dns_latency(&self, view: &LatencyView) -> anyhow::Result<()> {
        if self.format == Format::Json {
            return Self::json(view);
        }
        let LatencyView { seconds, queries, percentiles, .. } = view;
        Self::note(&format!("{queries} queries in {seconds} s"))?;
        for Percentile { percent, at_most_ns } in percentiles {
            Self::note(&format!("{percent:>5} %  up to {at_most_ns:>9} ns"))?;
        }
        Ok(())
    }
}
