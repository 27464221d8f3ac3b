//! Secrets of the cluster: made by whichever node comes first, read by all others.

use super::fold::json;
use super::mounts::to_json;
use super::{ClusterError, IcecastSecrets, Key, Store, random_password};

/// Length of the passwords between daemons and Icecasts: 32 characters of six bits.
const PASSWORD_CHARACTERS: usize = 32;

impl Store {
    /// The passwords of the cluster's Icecasts, made now if this is the first node.
    pub async fn icecast_secrets(&self) -> Result<IcecastSecrets, ClusterError> {
        let key = Key::Secret("icecast".to_owned()).to_string();
        if self.get(&key).await?.is_none() {
            let fresh = IcecastSecrets {
                source_password: random_password(PASSWORD_CHARACTERS)?,
                relay_password: random_password(PASSWORD_CHARACTERS)?,
                admin_password: random_password(PASSWORD_CHARACTERS)?,
            };
            // Whether this node or another was first does not matter: what stands in etcd now counts.
            self.create(&key, &to_json(&key, &fresh)?).await?;
        }
        let stored = self.get(&key).await?.map(|value| value.bytes);
        json(&stored.unwrap_or_default()).map_err(|reason| ClusterError::Damaged { key, reason })
    }
}
