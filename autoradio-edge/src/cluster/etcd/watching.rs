//! Following changes.

use std::sync::Arc;

use etcd_client::{EventType, WatchOptions, WatchResponse, WatchStream};

use super::connection::Connection;
use super::failure::Failure;
use super::{ANSWER_BYTES_MAX, Store, put_event};
use crate::cluster::{ClusterError, Event, PREFIX};

/// Changes of all our keys from a revision on.
pub(in crate::cluster) struct Watch {
    connection: Arc<Connection>,
    url: String,
    stream: WatchStream,
}

impl Store {
    /// Follows every change of our keys from `revision` on.
    ///
    /// [`ClusterError::Restored`] if this is not the cluster that it was, whose revisions mean something else here, or if
    /// etcd has not come that far: waiting for it would miss what happens until then.
    pub(in crate::cluster) async fn watch(&self, revision: i64) -> Result<Watch, ClusterError> {
        let newest = self.newest().await?;
        if !self.connection.is_cluster(newest.cluster_id) || newest.revision < revision - 1 {
            return Err(ClusterError::Restored);
        }
        let options = WatchOptions::new().with_prefix().with_start_revision(revision);
        let opened = self
            .ask(|client| {
                let options = options.clone();
                async move {
                    let watch = client.watch_client();
                    watch
                        .max_decoding_message_size(ANSWER_BYTES_MAX)
                        .watch(PREFIX, Some(options))
                        .await
                }
            })
            .await?;
        Ok(Watch { connection: self.connection.clone(), url: opened.url, stream: opened.answer })
    }
}

impl Watch {
    /// The next changes, in order; all changes of one revision come together. May be empty.
    ///
    /// Ends when its endpoint fails at other questions while another one answers: a host that is gone closes nothing.
    pub(in crate::cluster) async fn next(&mut self) -> Result<Vec<Event>, ClusterError> {
        let lost = |reason: &str| ClusterError::Unreachable {
            endpoints: self.url.clone(),
            reason: reason.to_owned(),
        };
        let message = tokio::select! {
            message = self.stream.message() => message,
            () = self.connection.outdone(&self.url) => {
                return Err(lost("it does not answer; another endpoint does"));
            }
        };
        let answer = message
            .map_err(|error| Failure::of(&error).explain(&self.url))?
            .ok_or_else(|| lost("the watch ended"))?;
        if answer.compact_revision() > 0 {
            return Err(ClusterError::Compacted);
        }
        if answer.canceled() {
            return Err(lost(answer.cancel_reason()));
        }
        Ok(events(&answer))
    }
}

fn events(answer: &WatchResponse) -> Vec<Event> {
    let event = |event: &etcd_client::Event| {
        let kv = event.kv()?;
        Some(match event.event_type() {
            EventType::Put => put_event(kv),
            EventType::Delete => {
                Event::Delete { key: kv.key().to_owned(), mod_revision: kv.mod_revision() }
            }
        })
    };
    answer.events().iter().filter_map(event).collect()
}
