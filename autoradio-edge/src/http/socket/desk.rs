//! Who streams to what on this node: at most one source per mount, the newest.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::cluster::MountPath;

/// The mounts that have a source on this node.
#[derive(Debug, Default)]
pub(super) struct SourceDesk {
    turns: Mutex<HashMap<MountPath, Seated>>,
}

#[derive(Clone, Debug, Default)]
struct Seated {
    stop: CancellationToken,
    killed: CancellationToken,
    ended: CancellationToken,
}

/// A source's right to a mount, until dropped. Whoever holds it ends when `stop` is cancelled.
#[derive(Debug)]
pub(super) struct Turn {
    desk: Arc<SourceDesk>,
    mount: MountPath,
    /// Cancelled when a newer source wants the mount.
    pub(super) stop: CancellationToken,
    /// Cancelled when the operator wants the source to go.
    pub(super) killed: CancellationToken,
    ended: CancellationToken,
}

impl SourceDesk {
    /// Ends the mount's source, if it has one, waits until its tunnel is gone, and gives the mount to the caller.
    pub(super) async fn take(self: &Arc<Self>, mount: &MountPath) -> Turn {
        loop {
            let before = match self.turns().entry(mount.clone()) {
                Entry::Occupied(before) => before.get().clone(),
                Entry::Vacant(free) => {
                    let seated = Seated::default();
                    free.insert(seated.clone());
                    return Turn {
                        desk: self.clone(),
                        mount: mount.clone(),
                        stop: seated.stop,
                        killed: seated.killed,
                        ended: seated.ended,
                    };
                }
            };
            before.stop.cancel();
            before.ended.cancelled().await;
        }
    }

    /// Tells the mount's source to go. False if there is none.
    pub(super) fn close(&self, mount: &MountPath) -> bool {
        let turns = self.turns();
        turns.get(mount).inspect(|seated| seated.killed.cancel()).is_some()
    }

    fn turns(&self) -> MutexGuard<'_, HashMap<MountPath, Seated>> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.desk.turns().remove(&self.mount);
        self.ended.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_newest_source_gets_the_mount_after_the_older_one_has_gone() {
        let desk = Arc::new(SourceDesk::default());
        let mount: MountPath = "/m".parse().expect("a mount path");
        let first = desk.take(&mount).await;
        let second = tokio::spawn({
            let (desk, mount) = (desk.clone(), mount.clone());
            async move { desk.take(&mount).await }
        });
        first.stop.cancelled().await;
        assert!(!second.is_finished(), "the first one still holds the mount");
        drop(first);
        let second = second.await.expect("no panic");
        assert!(!second.stop.is_cancelled());
        drop(second);
        assert!(desk.turns().is_empty());
    }
}
