//! The operator's wish that a node take nothing new.

use super::mounts::to_json;
use super::{ClusterError, DrainRecord, Key, NodeName, Store};

impl Store {
    /// Drains a node until [`undrain`](Self::undrain), over its restarts. False if that was wished before.
    ///
    /// The node need not live: it drains when it comes.
    pub async fn drain(&self, node: &NodeName) -> Result<bool, ClusterError> {
        let key = Key::Drain(node.clone()).to_string();
        let value = to_json(&key, &DrainRecord::default())?;
        // The node's own wish goes with its lease; the operator's stays. So it is written over, not only made.
        let before = self.leased(&key).await?;
        self.put(&key, &value).await?;
        Ok(before.is_none_or(|(_, lease)| lease != 0))
    }

    /// Lets a node take new listeners and mounts again. False if it did not drain.
    pub async fn undrain(&self, node: &NodeName) -> Result<bool, ClusterError> {
        self.delete(&Key::Drain(node.clone()).to_string()).await
    }
}
