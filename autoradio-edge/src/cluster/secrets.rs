//! Secrets of the cluster: made by whichever node comes first, read by all others.

use super::cookies::{COOKIES, CookieRecord, CookieSecret};
use super::fold::json;
use super::mounts::to_json;
use super::{
    ClusterError, IcecastSecrets, Key, Store, Stored, random_password, system_random_bytes,
};
use crate::clock;

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

    /// Makes the secrets of DNS cookies, if there are none. False if there are.
    pub async fn make_cookies(&self) -> Result<bool, ClusterError> {
        let secrets = [random_secret()?, random_secret()?, random_secret()?];
        let record = CookieRecord::first(secrets, clock::unix_s());
        let key = cookies_key();
        self.create(&key, &to_json(&key, &record)?).await
    }

    /// Rolls the secrets of DNS cookies, if they are still as they were read. False if they are not.
    pub async fn roll_cookies(&self, read: &Stored<CookieRecord>) -> Result<bool, ClusterError> {
        let record = read.record.rolled(random_secret()?, clock::unix_s());
        let key = cookies_key();
        self.replace(&key, &to_json(&key, &record)?, read.mod_revision).await
    }
}

fn cookies_key() -> String {
    Key::Secret(COOKIES.to_owned()).to_string()
}

fn random_secret() -> Result<CookieSecret, ClusterError> {
    let mut secret = CookieSecret([0; 16]);
    system_random_bytes(&mut secret.0)?;
    Ok(secret)
}
