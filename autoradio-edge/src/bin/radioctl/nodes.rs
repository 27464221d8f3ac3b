//! The commands about nodes: what they carry, and draining them.

use anyhow::bail;
use autoradio_edge::cluster::{NodeName, Snapshot, Store};

use crate::mounts::snapshot;
use crate::output::Output;

/// Shows all nodes.
pub(crate) async fn list(store: &Store, output: &Output) -> anyhow::Result<()> {
    output.nodes(&snapshot(store, output).await?)
}

/// Shows the cluster at a glance.
pub(crate) async fn status(store: &Store, output: &Output) -> anyhow::Result<()> {
    output.status(&snapshot(store, output).await?)
}

/// Asks a node to take nothing new.
pub(crate) async fn drain(store: &Store, output: &Output, node: &NodeName) -> anyhow::Result<()> {
    let snapshot = snapshot(store, output).await?;
    if !snapshot.nodes.contains_key(node) {
        bail!("no node {node} lives: {}", living(&snapshot));
    }
    if snapshot.nodes.keys().all(|other| other == node || snapshot.draining.contains(other)) {
        output.warning(&format!("{node} is the last node that does not drain: it goes on serving"));
    }
    let sentence = if store.drain(node).await? {
        format!(
            "{node} drains: it leaves DNS at once and hands its mounts over. radioctl undrain {node} takes it back."
        )
    } else {
        format!("{node} drains already.")
    };
    output.done(&sentence)
}

/// Takes the wish back that a node take nothing new; also of a node that does not live, which would drain on its return.
pub(crate) async fn undrain(store: &Store, output: &Output, node: &NodeName) -> anyhow::Result<()> {
    if store.undrain(node).await? {
        return output.done(&format!("{node} takes new listeners and mounts again."));
    }
    let snapshot = snapshot(store, output).await?;
    if snapshot.nodes.contains_key(node) {
        return output.done(&format!("{node} was not draining."));
    }
    bail!("no node {node} lives or drains: {}", living(&snapshot))
}

fn living(snapshot: &Snapshot) -> String {
    let names: Vec<&str> = snapshot.nodes.keys().map(NodeName::as_str).collect();
    if names.is_empty() {
        return "none does right now".to_owned();
    }
    format!("these do: {}", names.join(", "))
}
