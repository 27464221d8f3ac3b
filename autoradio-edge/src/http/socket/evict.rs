//! Evictions: sources that this node's Icecast holds and may hold no more are closed there.
//!
//! Tunnels of fronts end by themselves when their mount changes hands. What came straight to Icecast, or through a front
//! that does not know yet, only the node that lets sources in can end.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use autoradio_common::limits::{HTTP_EVICT_MS_MAX, HTTP_EVICTIONS_MAX, HTTP_INSIST_MS_MAX};
use tokio::task::JoinSet;
use tracing::{debug, info, warn};

use super::icecast;
use super::server::Shared;
use crate::clock;
use crate::cluster::{MountPath, StandingReader};
use crate::http::FrontError;
use crate::http::gate::Vacation;

/// Pause before a source that has not taken its place yet is looked for again.
const PAUSE: Duration = Duration::from_millis(200);
/// Longest pause before an Icecast that does not close a source is told again.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// Doublings of the pause on its way there.
const DOUBLINGS_MAX: u32 = 6;

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

/// A source that has to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Leaving {
    /// When Icecast is told next.
    due: Instant,
    /// Until then a source that was let in may still take its place.
    arrives_until: Instant,
    gives_up: Instant,
    failures: u32,
}

impl Leaving {
    fn new(now: Instant) -> Self {
        Self {
            due: now,
            arrives_until: now + Duration::from_millis(HTTP_INSIST_MS_MAX),
            gives_up: now + Duration::from_millis(HTTP_EVICT_MS_MAX),
            failures: 0,
        }
    }

    /// What is left to do after Icecast was told: it closed one, had none, or did neither.
    fn after(self, told: &Result<bool, FrontError>, now: Instant) -> Option<Self> {
        match told {
            Ok(true) => None,
            Ok(false) => (now < self.arrives_until).then_some(Self { due: now + PAUSE, ..self }),
            // To forget it would let the source stay for good.
            Err(_) => {
                let pause = PAUSE_MAX.min(PAUSE * 2u32.pow(self.failures.min(DOUBLINGS_MAX)));
                let again = Self { due: now + pause, failures: self.failures + 1, ..self };
                (now < self.gives_up).then_some(again)
            }
        }
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
        let now = clock::now();
        leaving.extend(lost.into_iter().map(|mount| (mount, Leaving::new(now))));
        close_all(shared, &mut leaving).await;
        let next = leaving.values().map(|leaving| leaving.due).min();
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
            () = tokio::time::sleep_until(next.unwrap_or(now).into()), if next.is_some() => {}
        }
    }
}

/// Closes each mount's source that is due, and keeps what is not done: a source that was let in a moment ago may take its
/// place only now, and Icecast may not answer.
async fn close_all(shared: &Shared, leaving: &mut BTreeMap<MountPath, Leaving>) {
    let now = clock::now();
    // Let in again: what is there now may stay.
    leaving.retain(|mount, _| !shared.settings.gate.has_let_in(mount));
    let (mut due, later): (Vec<_>, Vec<_>) =
        std::mem::take(leaving).into_iter().partition(|(_, leaving)| leaving.due <= now);
    leaving.extend(later);
    let mut telling = JoinSet::new();
    loop {
        while telling.len() < HTTP_EVICTIONS_MAX
            && let Some((mount, left)) = due.pop()
        {
            let address = shared.settings.icecast;
            let admin_password = shared.settings.secrets.admin_password.clone();
            telling.spawn(async move {
                let told = icecast::kill_source(address, &mount, &admin_password).await;
                (mount, left, told)
            });
        }
        let Some(told) = telling.join_next().await else { return };
        let Ok((mount, left, told)) = told else { continue };
        match &told {
            Ok(true) => info!(%mount, "a source that may not stay was closed"),
            Ok(false) => {}
            Err(error) if left.failures == 0 => {
                warn!(%mount, %error, "this node's Icecast did not close a source: it is told again");
            }
            Err(error) => debug!(%mount, %error, "this node's Icecast did not close a source"),
        }
        if let Some(left) = left.after(&told, clock::now()) {
            leaving.insert(mount, left);
        }
    }
}

/// Closes what holds a mount that a newer source was promised, until the front stops: a source, or a relay from the time
/// before this node was master.
pub(super) async fn make_room(shared: &Shared) {
    let Some(mut vacations) = shared.settings.gate.take_vacations() else { return };
    let insist = Duration::from_millis(HTTP_INSIST_MS_MAX);
    while let Some(Some(Vacation { mount, done })) =
        shared.cancel.run_until_cancelled(vacations.recv()).await
    {
        let admin_password = &shared.settings.secrets.admin_password;
        let telling = icecast::kill_source(shared.settings.icecast, &mount, admin_password);
        match tokio::time::timeout(insist, telling).await {
            Ok(Ok(closed)) => {
                if closed {
                    info!(%mount, "the source before this one was taken over");
                }
                let _ = done.send(());
            }
            Ok(Err(error)) => debug!(%mount, %error, "the source before was not closed"),
            Err(_) => debug!(%mount, "this node's Icecast does not answer"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_icecast_did_not_close_is_not_forgotten_for_minutes() {
        let start = clock::now();
        let failed = || Err(FrontError::NoRoom);
        let (mut left, mut told) = (Leaving::new(start), 0);
        let mut last = start;
        while let Some(next) = left.after(&failed(), left.due) {
            assert!(next.due > left.due && next.due - left.due <= PAUSE_MAX);
            (last, told, left) = (left.due, told + 1, next);
        }
        assert!(last > start + Duration::from_secs(250), "{told} times");
        assert!(told < 50, "{told} times");
    }

    #[test]
    fn a_source_that_is_not_there_yet_is_waited_for_a_moment() {
        let start = clock::now();
        let left = Leaving::new(start);
        assert_eq!(left.after(&Ok(true), start), None);
        assert_eq!(left.after(&Ok(false), start), Some(Leaving { due: start + PAUSE, ..left }));
        assert_eq!(left.after(&Ok(false), left.arrives_until), None);
    }
}
