//! Evictions: sources that this node's Icecast holds and may hold no more are closed there.
//!
//! Tunnels of fronts end by themselves when their mount changes hands. What came straight to Icecast, or through a front
//! that does not know yet, only the node that lets sources in can end.

use std::time::Duration;

use autoradio_common::limits::HTTP_INSIST_MS_MAX;
use tracing::{info, warn};

use super::icecast;
use super::server::Shared;
use crate::clock;
use crate::cluster::{MountPath, Standing, StandingReader};

/// Pause before a source that was let in, and has not taken its place yet, is looked for again.
const PAUSE: Duration = Duration::from_millis(200);

/// Returns when sources of mounts that this node holds have to go, whoever brought them.
pub(super) async fn ordered(mut standing: StandingReader) {
    while standing.now() != Standing::SteppedDown {
        standing.changed().await;
    }
}

/// Closes what may not stay, on every change, until the front stops.
pub(super) async fn run(shared: &Shared) {
    let mut placements = shared.placements.clone();
    let mut standing = shared.settings.standing.clone();
    loop {
        placements.mark_unchanged();
        let lost = shared.settings.gate.take_lost();
        if !lost.is_empty() {
            info!(sources = lost.len(), first = %lost[0], "closing sources that may not stay");
        }
        for mount in &lost {
            close(shared, mount).await;
        }
        tokio::select! {
            () = shared.cancel.cancelled() => return,
            () = standing.changed() => {}
            changed = placements.changed() => if changed.is_err() {
                return;
            },
        }
    }
}

/// Closes one source. One that was let in a moment ago may take its place only now, so it is looked for for a while.
async fn close(shared: &Shared, mount: &MountPath) {
    let deadline = clock::now() + Duration::from_millis(HTTP_INSIST_MS_MAX);
    let own = shared.settings.icecast;
    let admin_password = &shared.settings.secrets.admin_password;
    while !shared.settings.gate.has_let_in(mount) {
        match icecast::kill_source(own, mount, admin_password).await {
            Ok(true) => return,
            Ok(false) if clock::now() < deadline => tokio::time::sleep(PAUSE).await,
            Ok(false) => return,
            Err(error) => return warn!(%mount, %error, "a source that may not stay was not closed"),
        }
    }
}
