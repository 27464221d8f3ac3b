//! Evictions: sources that this node's Icecast holds and may hold no more are closed there.
//!
//! Tunnels of fronts end by themselves when their mount changes hands. What came straight to Icecast, or through a front
//! that does not know yet, only the node that lets sources in can end.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use autoradio_common::limits::HTTP_INSIST_MS_MAX;
use tracing::{info, warn};

use super::icecast;
use super::server::Shared;
use crate::clock;
use crate::cluster::{MountPath, StandingReader};

/// Pause before a source that has not taken its place yet is looked for again.
const PAUSE: Duration = Duration::from_millis(200);

/// Why the sources of mounts that this node holds have to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// The node has stepped down.
    SteppedDown,
    /// The node is alone: each source is closed once, so that its client may find the other nodes.
    Alone,
}

/// Returns when sources of mounts that this node holds have to go, whoever brought them.
pub(super) async fn ordered(mut standing: StandingReader) -> Order {
    let alone = standing.close_once();
    let stepped_down = async {
        while standing.now().may_keep() {
            standing.changed().await;
        }
    };
    tokio::select! {
        () = stepped_down => Order::SteppedDown,
        () = alone => Order::Alone,
    }
}

/// Closes what may not stay, on every change, until the front stops.
pub(super) async fn run(shared: &Shared) {
    let mut placements = shared.placements.clone();
    let mut standing = shared.settings.standing.clone();
    let mut leaving = BTreeMap::new();
    let mut alone = Box::pin(standing.close_once());
    let mut all = false;
    loop {
        placements.mark_unchanged();
        let gate = &shared.settings.gate;
        let lost = if std::mem::take(&mut all) { gate.take_all() } else { gate.take_lost() };
        if !lost.is_empty() {
            info!(mounts = lost.len(), first = %lost[0], "closing sources that may not stay");
        }
        let deadline = clock::now() + Duration::from_millis(HTTP_INSIST_MS_MAX);
        leaving.extend(lost.into_iter().map(|mount| (mount, deadline)));
        close_all(shared, &mut leaving).await;
        tokio::select! {
            () = shared.cancel.cancelled() => return,
            () = standing.changed() => {}
            () = &mut alone => {
                all = true;
                alone = Box::pin(standing.close_once());
            }
            changed = placements.changed() => if changed.is_err() {
                return;
            },
            () = tokio::time::sleep(PAUSE), if !leaving.is_empty() => {}
        }
    }
}

/// Closes each mount's source and keeps those mounts that have none yet: a source that was let in a moment ago may take
/// its place only now.
async fn close_all(shared: &Shared, leaving: &mut BTreeMap<MountPath, Instant>) {
    let admin_password = &shared.settings.secrets.admin_password;
    for (mount, deadline) in std::mem::take(leaving) {
        // Let in again: what is there now may stay.
        if shared.settings.gate.has_let_in(&mount) {
            continue;
        }
        match icecast::kill_source(shared.settings.icecast, &mount, admin_password).await {
            Ok(true) => info!(%mount, "a source that may not stay was closed"),
            Ok(false) if clock::now() < deadline => drop(leaving.insert(mount, deadline)),
            Ok(false) => {}
            // Its sources end with it.
            Err(error) => warn!(%mount, %error, "this node's Icecast did not close a source"),
        }
    }
}
