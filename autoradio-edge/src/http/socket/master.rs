//! Finding a master for a source: waits until somebody holds the mount, and insists until that node's Icecast takes it.

use std::net::SocketAddr;
use std::time::Duration;

use autoradio_common::limits::HTTP_MASTER_MS_MAX;
use tokio::net::TcpStream;

use super::binding::Binding;
use super::icecast::{self, Answer};
use super::server::Shared;
use super::tunnel;
use crate::clock;
use crate::cluster::MountRecord;
use crate::http::gate::Purpose;
use crate::http::route::record_of;
use crate::http::{FrontError, RequestHead};

/// Pause before a master that did not take the source is asked again.
const RETRY_PAUSE: Duration = Duration::from_millis(50);
/// Least time between two orders of one source to close what holds its mount.
const TAKEOVER_PACE: Duration = Duration::from_secs(1);

/// A source that a master's Icecast has let in.
pub(super) struct Accepted {
    /// What it stands on.
    pub(super) binding: Binding,
    /// The Icecast.
    pub(super) address: SocketAddr,
    /// The connection to it, its answer read.
    pub(super) icecast: TcpStream,
}

/// Has the mount's master accept the source whose `head` was checked against `record`.
///
/// A source that comes while its master has just died, or hands over, is not sent away at once: for
/// [`HTTP_MASTER_MS_MAX`] this waits for a master, and asks again one that does not answer, that knows another epoch
/// than this node, or that still holds a source. The error is the last one's.
pub(super) async fn accept(
    shared: &Shared,
    head: &RequestHead,
    record: &MountRecord,
) -> Result<Accepted, FrontError> {
    let deadline = clock::now() + Duration::from_millis(HTTP_MASTER_MS_MAX);
    let mut placements = shared.placements.clone();
    let mut last = FrontError::NoMaster { mount: record.path.clone() };
    let mut next_takeover = clock::now();
    loop {
        placements.mark_unchanged();
        // Whatever holds the mount, a source or a relay, is closed only by the master itself. What was closed takes a moment
        // to go; and two sources that come at one time must not close each other at every try.
        let mut purpose = Purpose::Source;
        if in_use(&last) && clock::now() >= next_takeover {
            purpose = Purpose::Takeover;
            next_takeover = clock::now() + TAKEOVER_PACE;
        }
        let asking = ask_master(shared, head, record, purpose);
        let asked = tokio::time::timeout_at(deadline.into(), asking).await.unwrap_or(None);
        match asked {
            Some(Ok(accepted)) => return Ok(accepted),
            Some(Err(error)) if !passes(&error) => return Err(error),
            Some(Err(error)) => last = error,
            // The master changed while it was asked, or time is up.
            None => {}
        }
        if clock::now() >= deadline {
            return Err(last);
        }
        let pause = if matches!(last, FrontError::NoMaster { .. }) {
            deadline
        } else {
            deadline.min(clock::now() + RETRY_PAUSE)
        };
        // Either of the two is a reason to ask again.
        let _ = tokio::time::timeout_at(pause.into(), placements.changed()).await;
    }
}

/// Asks whoever is master now; `None` when that changed before there was an answer.
async fn ask_master(
    shared: &Shared,
    head: &RequestHead,
    record: &MountRecord,
    purpose: Purpose,
) -> Option<Result<Accepted, FrontError>> {
    let placement = shared.placement();
    let found = record_of(&placement, &record.path)
        .and_then(|_| Binding::of(&placement, &record.path, record))
        .and_then(|binding| Ok((binding, shared.master_of(&placement, &record.path)?)));
    let (binding, address) = match found {
        Ok(found) => found,
        Err(error) => return Some(Err(error)),
    };
    if !binding.holds(&placement) {
        // The mount's name or password was changed since they were checked.
        return Some(Err(FrontError::Unauthorized));
    }
    let opened = tokio::select! {
        opened = open(shared, head, &binding, record, (address, purpose)) => opened,
        () = binding.broken(shared.placements.clone()) => return None,
    };
    Some(opened.map(|icecast| Accepted { binding, address, icecast }))
}

/// Connects to Icecast as the mount's source.
async fn open(
    shared: &Shared,
    head: &RequestHead,
    binding: &Binding,
    record: &MountRecord,
    (address, purpose): (SocketAddr, Purpose),
) -> Result<TcpStream, FrontError> {
    let credentials = binding.credentials(purpose, &shared.settings.secrets);
    let bytes = tunnel::head(head, record, address, &credentials);
    let answer = icecast::ask(address, &bytes).await?;
    match answer {
        Answer { status: 200, stream, .. } => Ok(stream),
        refused => Err(refused.refusal().await),
    }
}

/// Whether the reason may be another one in a moment.
fn passes(error: &FrontError) -> bool {
    matches!(
        error,
        FrontError::NoMaster { .. }
            | FrontError::IcecastUnreachable { .. }
            | FrontError::IcecastSilent { .. }
            // 401: this node or the master is behind, and they mean different epochs.
            | FrontError::IcecastRefused { status: 401, .. }
    ) || in_use(error)
}

fn in_use(error: &FrontError) -> bool {
    matches!(error, FrontError::IcecastRefused { status: 403, sentence } if sentence.contains("in use"))
}
