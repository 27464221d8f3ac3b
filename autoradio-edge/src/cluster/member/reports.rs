//! What this node tells its peers while it lives: its load, and that it wants to drain.

use std::convert::Infallible;
use std::sync::Arc;

use tracing::{debug, info};

use super::{Member, RETRY};
use crate::cluster::load::is_news;
use crate::cluster::mounts::to_json;
use crate::cluster::{ClusterError, DrainRecord, Key, LoadRecord};

impl Member {
    /// Publishes the load: at once under a new lease, then when it has changed enough, at most once per heartbeat.
    pub(super) async fn report_load(&self, lease: i64) -> Result<Infallible, ClusterError> {
        let key = Key::Load(self.record.name.clone()).to_string();
        let mut load = self.load.clone();
        let mut told: Option<Arc<LoadRecord>> = None;
        let mut sequence = 0;
        loop {
            let now = load.borrow_and_update().clone();
            if told.as_ref().is_none_or(|told| is_news(told, &now)) {
                let record = LoadRecord { sequence, ..(*now).clone() };
                match self.store.put_leased(&key, &to_json(&key, &record)?, lease).await {
                    Ok(()) => {
                        told = Some(now);
                        sequence += 1;
                    }
                    Err(ClusterError::LeaseLost) => return Err(ClusterError::LeaseLost),
                    Err(error) => debug!(%error, "load not told: trying on"),
                }
                // Then it is looked at again, whether it changed meanwhile or was not told.
                tokio::time::sleep(self.heartbeat).await;
            } else if load.changed().await.is_err() {
                // The load will not change any more.
                std::future::pending::<()>().await;
            }
        }
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
