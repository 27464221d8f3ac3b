//! Where a listener goes: decided by the placement, noted in the ledger, told as a URL.
//!
//! Noted are those sent away, and those who are served here once their stream has begun: a player that asks again and again
//! for a mount without a source fills nothing.

use std::sync::PoisonError;

use super::server::{FrontSettings, Shared};
use super::sniff::Sniffed;
use crate::clock;
use crate::cluster::{MountPath, NodeName};
use crate::http::FrontError;
use crate::http::route::{icecast_landing, landing};
use crate::placement::{Own, Placement, Target};

/// Port that a URL need not name (RFC 9110 §4.2.1).
const HTTP_PORT: u16 = 80;

/// The URL at which somebody else serves the listener, `None` if this front does. One who has `landed` stays or is refused.
///
/// Without proxying it is always a URL, since then only Icecasts serve listeners, this node's own among them.
pub(super) fn elsewhere(
    shared: &Shared,
    placement: &Placement,
    request: &Sniffed,
    mount: &MountPath,
    landed: bool,
) -> Result<Option<String>, FrontError> {
    let settings = &shared.settings;
    let own = Own { name: &settings.node, capacity_whole: &settings.capacity_whole };
    let node = {
        let mut ledger = settings.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        let target = if landed {
            placement.landed(own, &ledger)
        } else {
            placement.target(own, rand::random(), &ledger)
        };
        let node = match target {
            Target::Here => settings.node.clone(),
            Target::Redirect(node) => node,
            Target::Refuse => {
                metrics::counter!("autoradio_http_listeners_refused_total").increment(1);
                return Err(FrontError::NoRoom);
            }
        };
        if settings.icecast_proxy && node == settings.node {
            return Ok(None);
        }
        ledger.assign(&node, clock::boot_ms());
        node
    };
    let to = if settings.icecast_proxy { "front" } else { "icecast" };
    metrics::counter!("autoradio_http_listeners_redirected_total", "to" => to).increment(1);
    Ok(Some(url(shared, placement, &node, mount, &request.head.target)))
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
