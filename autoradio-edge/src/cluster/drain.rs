//! The operator's wish that a node take nothing new.

use super::mounts::to_json;
use super::{ClusterError, DrainRecord, Key, NodeName, Store};

impl Store {
    /// Asks that a node take nothing new. False if that was asked before.
    pub async fn drain(&self, node: &NodeName) -> Result<bool, ClusterError> {
        let key = Key::Drain(node.clone()).to_string();
        self.create(&key, &to_json(&key, &DrainRecord::default())?).await
    }

    /// Takes the wish back. False if there was none.
    pub async fn undrain(&self, node: &NodeName) -> Result<bool, ClusterError> {
        self.delete(&Key::Drain(node.clone()).to_string()).await
    }
}
