//! The password of the cluster's admin pages, as the operator sets it.

use super::mounts::to_json;
use super::{AdminRecord, ClusterError, Key, Store};

impl Store {
    /// Sets the hash that the admin pages check their password against; all nodes know it within a moment.
    pub async fn set_admin(&self, record: &AdminRecord) -> Result<(), ClusterError> {
        let key = Key::Admin.to_string();
        self.put(&key, &to_json(&key, record)?).await
    }
}
