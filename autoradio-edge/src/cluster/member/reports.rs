//! What this node tells its peers while it lives: its load, its streams, and that it wants to drain.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{debug, info};

use super::{Member, RETRY};
use crate::clock;
use crate::cluster::load::{pace, paces_to_wait};
use crate::cluster::mounts::to_json;
use crate::cluster::{ClusterError, DrainRecord, Key, LoadRecord, StreamsRecord};

impl Member {
    /// Publishes the load: at once under a new lease, then when it has changed enough, at most once per heartbeat, and
    /// less often in a large cluster.
    pub(super) async fn report_load(&self, lease: i64) -> Result<Infallible, ClusterError> {
        let key = Key::Load(self.record.name.clone()).to_string();
        let mut load = self.load.clone();
        let mut told: Option<(Arc<LoadRecord>, Instant)> = None;
        let mut sequence = 0;
        loop {
            let now = load.borrow_and_update().clone();
            let wait = told.as_ref().map_or(Some(Duration::ZERO), |(told, at)| {
                let paces = paces_to_wait(told, &now, self.record.capacity)?;
                Some((self.pace() * paces).saturating_sub(clock::now().duration_since(*at)))
            });
            if wait == Some(Duration::ZERO) {
                let record = LoadRecord { sequence, ..(*now).clone() };
                match self.store.put_leased(&key, &to_json(&key, &record)?, lease).await {
                    Ok(()) => {
                        told = Some((now, clock::now()));
                        sequence += 1;
                        continue;
                    }
                    Err(ClusterError::LeaseLost) => return Err(ClusterError::LeaseLost),
                    Err(error) => debug!(%error, "load not told: trying on"),
                }
                tokio::time::sleep(self.heartbeat).await;
                continue;
            }
            tokio::select! {
                Ok(()) = load.changed() => {}
                () = tokio::time::sleep(wait.unwrap_or_default()), if wait.is_some() => {}
                // The load will not change any more.
                else => std::future::pending::<()>().await,
            }
        }
    }

    /// Publishes the streams of this node's Icecast, each time they change, at the pace of the load. A node that never had any
    /// writes nothing.
    pub(super) async fn report_streams(&self, lease: i64) -> Result<Infallible, ClusterError> {
        let key = Key::Streams(self.record.name.clone()).to_string();
        let mut streams = self.streams.clone();
        let mut told = Arc::new(StreamsRecord::default());
        loop {
            let now = streams.borrow_and_update().clone();
            if now != told {
                match self.store.put_leased(&key, &to_json(&key, &*now)?, lease).await {
                    Ok(()) => told = now,
                    Err(ClusterError::LeaseLost) => return Err(ClusterError::LeaseLost),
                    Err(error) => debug!(%error, "streams not told: trying on"),
                }
                tokio::time::sleep(self.pace()).await;
            } else if streams.changed().await.is_err() {
                // They will not change any more.
                std::future::pending::<()>().await;
            }
        }
    }

    fn pace(&self) -> Duration {
        pace(self.heartbeat, self.snapshots.borrow().nodes.len())
    }

    /// Tells everybody, once this node itself wants it, that the node takes nothing new. The wish goes with the lease;
    /// an operator's stays.
    pub(super) async fn report_wish(&self, lease: i64) -> Result<Infallible, ClusterError> {
        let key = Key::Drain(self.record.name.clone()).to_string();
        let value = to_json(&key, &DrainRecord::default())?;
        let mut wish = self.drain_wish.clone();
        let wished = wish.wait_for(|wish| *wish).await.is_ok();
        if !wished {
            std::future::pending::<()>().await;
        }
        loop {
            match self.store.put_leased_if(&key, &value, lease, 0).await {
                Ok(_) => {
                    info!("this node drains: it takes nothing new");
                    return std::future::pending().await;
                }
                Err(ClusterError::LeaseLost) => return Err(ClusterError::LeaseLost),
                Err(error) => debug!(%error, "wish to drain not told: trying on"),
            }
            tokio::time::sleep(RETRY).await;
        }
    }
}
