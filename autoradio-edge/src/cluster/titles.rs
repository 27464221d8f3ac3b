//! Titles: keeps the last one of each mount in etcd, so that a mount's next master can play on under it.
//!
//! The front hands titles to a [`TitleWriter`] and never waits: of several titles of one mount within a second only the
//! last is written, and an etcd that does not answer costs nothing but its title.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use autoradio_common::limits::{RECORD_BYTES_MAX, TITLES_WAITING_MAX};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::mounts::to_json;
use super::{ClusterError, Key, MountPath, SCHEMA_VERSION, Store, TitleRecord};

/// Least time between two writes of one mount's title.
const PACE: Duration = Duration::from_secs(1);

/// Takes titles that are to be kept. Cheap to clone; all clones share one queue.
#[derive(Clone, Debug, Default)]
pub struct TitleWriter {
    queue: Arc<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<BTreeMap<MountPath, TitleRecord>>,
    filled: Notify,
}

impl TitleWriter {
    /// Has the title kept, soon. `query` is the update as Icecast took it, `epoch` the mount's when it did.
    pub fn keep(&self, mount: &MountPath, epoch: i64, query: String) {
        let unknown = serde_json::Map::new();
        let record = TitleRecord { schema: SCHEMA_VERSION, epoch, query, unknown };
        let mut waiting = self.waiting();
        if waiting.len() >= TITLES_WAITING_MAX && !waiting.contains_key(mount) {
            metrics::counter!("autoradio_cluster_titles_dropped_total").increment(1);
            return;
        }
        waiting.insert(mount.clone(), record);
        self.queue.filled.notify_one();
    }

    /// The title that waits to be written, for what wants to see that one was handed over.
    pub fn waiting_for(&self, mount: &MountPath) -> Option<TitleRecord> {
        self.waiting().get(mount).cloned()
    }

    /// Writes until cancelled.
    pub(super) async fn run(self, store: Store, cancel: CancellationToken) {
        let writing = async {
            let mut trusted = true;
            loop {
                self.queue.filled.notified().await;
                let written = self.write_all(&store).await;
                match &written {
                    Ok(()) if !trusted => info!("titles are kept again"),
                    Err(error) if trusted => warn!(%error, "titles are not kept: trying on"),
                    _ => {}
                }
                trusted = written.is_ok();
                tokio::time::sleep(PACE).await;
            }
        };
        cancel.run_until_cancelled(writing).await;
    }

    /// Writes what waits; what etcd does not take now waits on, unless a newer title has come.
    async fn write_all(&self, store: &Store) -> Result<(), ClusterError> {
        let mut batch = std::mem::take(&mut *self.waiting());
        while let Some((mount, record)) = batch.pop_first() {
            let Err(error) = write(store, &mount, &record).await else { continue };
            let mut waiting = self.waiting();
            // A title that can never be written must not keep the others waiting.
            let again = matches!(error, ClusterError::Unreachable { .. });
            let left = again.then_some((mount, record)).into_iter().chain(batch);
            for (mount, record) in left {
                waiting.entry(mount).or_insert(record);
            }
            self.queue.filled.notify_one();
            return Err(error);
        }
        Ok(())
    }

    /// A panic elsewhere cannot leave the map half-written, so a poisoned lock is as good as any.
    fn waiting(&self) -> MutexGuard<'_, BTreeMap<MountPath, TitleRecord>> {
        self.queue.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn write(store: &Store, mount: &MountPath, title: &TitleRecord) -> Result<(), ClusterError> {
    let key = Key::Title(mount.clone()).to_string();
    let value = to_json(&key, title)?;
    if value.len() > RECORD_BYTES_MAX {
        let bytes = value.len();
        return Err(ClusterError::TooLong { key, bytes });
    }
    store.put_title(mount, title.epoch, &value).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_one_mounts_titles_the_last_waits_and_of_too_many_mounts_the_first() {
        let titles = TitleWriter::default();
        let mount = |number: usize| format!("/{number}").parse().expect("a mount path");
        for number in 0..=TITLES_WAITING_MAX {
            titles.keep(&mount(number), 1, "song=first".to_owned());
        }
        titles.keep(&mount(0), 2, "song=last".to_owned());
        let last = titles.waiting_for(&mount(0)).expect("waits");
        assert_eq!((last.epoch, last.query.as_str()), (2, "song=last"));
        assert_eq!(titles.waiting_for(&mount(TITLES_WAITING_MAX)), None);
        assert_eq!(titles.waiting().len(), TITLES_WAITING_MAX);
    }
}
