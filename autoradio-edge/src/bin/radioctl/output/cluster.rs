//! Shows nodes, the cluster's status, and what restoring a backup changes.

use std::time::{Duration, UNIX_EPOCH};

use autoradio_edge::clock;
use autoradio_edge::cluster::{MountChange, Snapshot};
use autoradio_edge::placement::place;
use comfy_table::Table;

use super::{Output, bold};
use crate::args::Format;
use crate::cluster_view::{self, MountStatusView, NodeView, SourceView, StatusView};

impl Output {
    /// All nodes.
    pub(crate) fn nodes(&self, snapshot: &Snapshot) -> anyhow::Result<()> {
        let nodes = cluster_view::nodes(snapshot, &place(snapshot));
        if self.format == Format::Json {
            return Self::json(&nodes);
        }
        if nodes.is_empty() {
            return Self::note("No node lives. Start one: autoradio-edge run --domain NAME");
        }
        Self::text(&format!("{}\n", self.node_table(&nodes)))
    }

    /// The cluster at a glance.
    pub(crate) fn status(&self, snapshot: &Snapshot) -> anyhow::Result<()> {
        let status = cluster_view::status(snapshot, &place(snapshot));
        if self.format == Format::Json {
            return Self::json(&status);
        }
        let StatusView { revision, domain, listeners, nodes, mounts } = &status;
        let domain = domain.as_deref().unwrap_or("no node lives");
        Self::note(&format!("{domain}: {listeners} listeners (revision {revision})\n"))?;
        Self::text(&format!("{}\n\n", self.node_table(nodes)))?;
        if mounts.is_empty() {
            return Self::note(
                "There are no mounts yet. Make one: radioctl create-mount /live.mp3",
            );
        }
        Self::text(&format!("{}\n", self.mount_table(mounts)))
    }

    /// What restoring would change, before it is asked whether to do it. On standard error: it is part of the question.
    pub(crate) fn diff(changes: &[MountChange]) {
        for change in changes {
            Self::aside(sign(change), &describe(change));
        }
    }

    /// What restoring has changed.
    pub(crate) fn restored(&self, changes: &[MountChange], unchanged: usize) -> anyhow::Result<()> {
        let paths = |wanted: &str| -> Vec<String> {
            let of_kind = changes.iter().filter(|change| sign(change) == wanted);
            of_kind.map(|change| change.path().to_string()).collect()
        };
        let (created, replaced, deleted) = (paths("+"), paths("~"), paths("-"));
        if self.format == Format::Json {
            return Self::json(&serde_json::json!({
                "created": created, "changed": replaced, "deleted": deleted, "unchanged": unchanged,
            }));
        }
        Self::note(&format!(
            "{} created, {} changed, {} deleted, {unchanged} as they were.",
            created.len(),
            replaced.len(),
            deleted.len()
        ))
    }

    fn node_table(&self, nodes: &[NodeView]) -> Table {
        let mut table = self.table();
        let head =
            ["NODE", "STATE", "LOAD", "LISTENERS", "MBIT/S", "SOURCES", "MASTER OF", "ADDRESSES"];
        table.set_header(head.map(bold));
        for node in nodes {
            table.add_row([
                node.name.clone(),
                node.state.to_owned(),
                format!("{:.0} %", node.utilisation * 100.0),
                format!("{} of {}", node.listeners, node.listeners_max),
                format!(
                    "{} of {}",
                    megabits(node.bits_per_second),
                    megabits(node.bits_per_second_max)
                ),
                node.sources.to_string(),
                node.masters.to_string(),
                node.addresses.join(" "),
            ]);
        }
        table
    }

    fn mount_table(&self, mounts: &[MountStatusView]) -> Table {
        let mut table = self.table();
        let head = ["MOUNT", "MASTER", "EPOCH", "SOURCE", "LISTENERS", "BY NODE"];
        table.set_header(head.map(bold));
        let dash = || "-".to_owned();
        for mount in mounts {
            let by_node = mount.listeners_by_node.iter();
            let by_node: Vec<String> =
                by_node.map(|(node, count)| format!("{node} {count}")).collect();
            table.add_row([
                mount.path.clone(),
                mount.master.clone().unwrap_or_else(dash),
                mount.epoch.map_or_else(dash, |epoch| epoch.to_string()),
                mount.source.as_ref().map_or_else(|| "none".to_owned(), describe_source),
                mount.listeners.to_string(),
                by_node.join(", "),
            ]);
        }
        table
    }
}

fn describe_source(source: &SourceView) -> String {
    let since = UNIX_EPOCH + Duration::from_secs(source.since_unix_s);
    let seconds = clock::unix_s().saturating_sub(source.since_unix_s);
    let length = humantime::format_duration(Duration::from_secs(coarse(seconds)));
    format!("at {} since {} ({length})", source.node, humantime::format_rfc3339_seconds(since))
}

/// Seconds, cut to whole minutes above ten minutes: more than anybody reads.
fn coarse(seconds: u64) -> u64 {
    if seconds < 600 { seconds } else { seconds / 60 * 60 }
}

/// Megabits with one decimal, without it where it is 0.
fn megabits(bits: u64) -> String {
    let tenths = bits / 100_000;
    if tenths.is_multiple_of(10) {
        format!("{}", tenths / 10)
    } else {
        format!("{}.{}", tenths / 10, tenths % 10)
    }
}

fn sign(change: &MountChange) -> &'static str {
    match change {
        MountChange::Create(_) => "+",
        MountChange::Replace { .. } => "~",
        MountChange::Delete { .. } => "-",
    }
}

fn describe(change: &MountChange) -> String {
    let path = change.path();
    match change {
        MountChange::Create(_) => format!("{path} is created"),
        MountChange::Delete { .. } => format!("{path} is deleted"),
        MountChange::Replace { fields, .. } if fields.is_empty() => {
            format!("{path} is written anew: its record cannot be read")
        }
        MountChange::Replace { fields, .. } => format!("{path} changes: {}", fields.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn megabits_are_short() {
        for (bits, want) in [(0, "0"), (128_000, "0.1"), (80_000_000, "80"), (1_550_000, "1.5")] {
            assert_eq!(megabits(bits), want);
        }
    }

    #[test]
    fn a_long_time_is_told_in_minutes() {
        assert_eq!((coarse(61), coarse(7_261)), (61, 7_260));
    }
}
