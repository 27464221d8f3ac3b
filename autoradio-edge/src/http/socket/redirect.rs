//! Where a listener goes: decided by the placement, noted in the ledger, told as a URL.
//!
//! Noted are those sent away, if there is something to hear, and those who are served here once their stream has begun: a player
//! that asks again and again for a mount without a source fills nothing.

use std::net::IpAddr;
use std::sync::PoisonError;

use autoradio_common::limits::ICECAST_RELAYS_MAX;

use super::server::{FrontSettings, Shared};
use super::sniff::Sniffed;
use crate::clock;
use crate::cluster::{MountPath, NodeName};
use crate::http::FrontError;
use crate::http::route::{icecast_landing, landing};
use crate::placement::{Ledger, Own, Placement, Target};

/// Port that a URL need not name (RFC 9110 §4.2.1).
const HTTP_PORT: u16 = 80;

/// The URL at which somebody else serves the listener from `address`, `None` if this front does. One who has `landed` stays or
/// is refused.
///
/// Without proxying it is always a URL, since then only Icecasts serve listeners, this node's own among them.
pub(super) fn elsewhere(
    shared: &Shared,
    placement: &Placement,
    request: &Sniffed,
    address: IpAddr,
    mount: &MountPath,
    landed: bool,
) -> Result<Option<String>, FrontError> {
    let settings = &shared.settings;
    let node = {
        let mut ledger = settings.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        let node = match only_at(settings, placement, mount) {
            Some(node) => node,
            None => chosen(settings, placement, landed, &ledger)?,
        };
        if settings.icecast_proxy && node == settings.node {
            return Ok(None);
        }
        if !settings.icecast_proxy && is_full(placement, &node, mount) {
            return Err(FrontError::MountFull { mount: mount.clone() });
        }
        if !settings.icecast_proxy || plays(placement, mount) {
            ledger.expect(&node, address, clock::boot_ms());
        }
        node
    };
    let to = if settings.icecast_proxy { "front" } else { "icecast" };
    metrics::counter!("autoradio_http_listeners_redirected_total", "to" => to).increment(1);
    Ok(Some(url(shared, placement, &node, mount, &request.head.target)))
}

/// The node that the placement means.
fn chosen(
    settings: &FrontSettings,
    placement: &Placement,
    landed: bool,
    ledger: &Ledger,
) -> Result<NodeName, FrontError> {
    let own = Own { name: &settings.node, capacity_whole: &settings.capacity_whole };
    let target = if landed {
        placement.landed(own, ledger)
    } else {
        placement.target(own, rand::random(), ledger)
    };
    match target {
        Target::Here => Ok(settings.node.clone()),
        Target::Redirect(node) => Ok(node),
        Target::Refuse => {
            metrics::counter!("autoradio_http_listeners_refused_total").increment(1);
            Err(FrontError::NoRoom)
        }
    }
}

/// The only node whose Icecast is sure to know the mount, where there are more than an Icecast relays: its master.
fn only_at(settings: &FrontSettings, placement: &Placement, mount: &MountPath) -> Option<NodeName> {
    if settings.icecast_proxy || placement.mounts.len() <= ICECAST_RELAYS_MAX {
        return None;
    }
    let master = &placement.mounts.get(mount)?.master.as_ref()?.node;
    placement.nodes.contains_key(master).then(|| master.clone())
}

/// Whether the node has all the listeners that the mount may have on one; its front would judge, but an Icecast does not.
fn is_full(placement: &Placement, node: &NodeName, mount: &MountPath) -> bool {
    let most = placement.mounts.get(mount).and_then(|placed| placed.record.max_listeners);
    let listeners = || {
        let load = placement.nodes.get(node)?.load.as_ref()?;
        load.mounts.get(mount).copied()
    };
    most.is_some_and(|most| listeners().unwrap_or(0) >= u64::from(most))
}

/// Whether some front reports a source of the mount.
fn plays(placement: &Placement, mount: &MountPath) -> bool {
    placement.mounts.get(mount).is_some_and(|placed| placed.source.is_some())
}

/// Notes that this front has begun to serve a listener.
pub(super) fn note_served(settings: &FrontSettings) {
    let mut ledger = settings.ledger.lock().unwrap_or_else(PoisonError::into_inner);
    ledger.assign(&settings.node, clock::boot_ms());
}

fn url(
    shared: &Shared,
    placement: &Placement,
    node: &NodeName,
    mount: &MountPath,
    target: &str,
) -> String {
    let settings = &shared.settings;
    let record = placement.nodes.get(node).map(|placed| &placed.record);
    let (port, path) = if settings.icecast_proxy {
        (record.map_or(HTTP_PORT, |record| record.http_port), landing(mount, target))
    } else {
        let port = record.map_or(settings.icecast.port(), |record| record.icecast_port);
        (port, icecast_landing(mount, target))
    };
    let port = if port == HTTP_PORT { String::new() } else { format!(":{port}") };
    format!("http://{node}.{}{port}{path}", settings.domain)
}
