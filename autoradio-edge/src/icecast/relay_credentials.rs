//! What a node shows an Icecast of the cluster to get the stream of a mount that is not open to all. Pure.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::cluster::{IcecastSecrets, MountRecord};

/// Name under which the cluster's relays listen.
pub(crate) const RELAY_USER: &str = "relay";

/// The value of `Authorization`, where Icecast asks its daemon about the mount's listeners: who asks in the name of a front has been
/// judged there.
pub(crate) fn relay_credentials(secrets: &IcecastSecrets, record: &MountRecord) -> Option<String> {
    let given = || STANDARD.encode(format!("{RELAY_USER}:{}", secrets.relay_password));
    record.asks_listeners().then(|| format!("Basic {}", given()))
}
