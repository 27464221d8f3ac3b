//! What the operator is shown of a mount. The JSON form is stable: fields are added, never renamed or removed.

use autoradio_edge::cluster::{MountPath, MountRecord, Snapshot};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;

/// A mount. The fields that hold the cluster's name are `null` while no node lives to tell it.
///
/// `create-mount`, `show-mount` and `edit-mount` print one of these as JSON, `list-mounts` an array of them.
#[derive(Debug, Serialize)]
pub(crate) struct MountView {
    /// The mount's path, decoded.
    pub(crate) path: String,
    /// User name of its source.
    pub(crate) source_username: String,
    /// The source's password: only at the moment it is made, otherwise the field is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) source_password: Option<String>,
    /// Name shown to listeners, or null.
    pub(crate) name: Option<String>,
    /// Description shown to listeners, or null.
    pub(crate) description: Option<String>,
    /// Most listeners on one node, or null.
    pub(crate) max_listeners: Option<u32>,
    /// Node that takes the source, or null while nobody does.
    pub(crate) master: Option<String>,
    /// Grows with every change of master; null without one.
    pub(crate) epoch: Option<i64>,
    /// DNS label of the mount.
    pub(crate) label: String,
    /// Name that leads straight to the master, or null.
    pub(crate) source_host: Option<String>,
    /// Where the source connects, or null. Carries the password when it is shown.
    pub(crate) source_url: Option<String>,
    /// Where listeners connect, or null.
    pub(crate) listen_url: Option<String>,
    /// A playlist for players that want one, or null.
    pub(crate) playlist_url: Option<String>,
}

/// Where the cluster is found: told by the node records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Front {
    domain: String,
    port: u16,
}

/// Stands for the cluster's name where people read it and no node lives to tell it.
pub(crate) const DOMAIN_UNKNOWN: &str = "<domain>";

impl Front {
    /// What the first living node says, in name order.
    pub(crate) fn of(snapshot: &Snapshot) -> Option<Self> {
        let node = snapshot.nodes.values().next()?;
        Some(Self { domain: node.domain.clone(), port: node.http_port })
    }

    /// What stands in tables while no node lives.
    pub(crate) fn unknown() -> Self {
        Self { domain: DOMAIN_UNKNOWN.to_owned(), port: 80 }
    }

    /// `host` for the default port of HTTP, else `host:port`.
    fn authority(&self) -> String {
        if self.port == 80 { self.domain.clone() } else { format!("{}:{}", self.domain, self.port) }
    }
}

/// A mount as it stands in the snapshot, with the addresses that `front` gives it.
pub(crate) fn view(
    record: &MountRecord,
    password: Option<String>,
    snapshot: &Snapshot,
    front: Option<&Front>,
) -> MountView {
    let path = &record.path;
    let master = snapshot.masters.get(path);
    let username = &record.source_username;
    let url = |suffix: &str| {
        front.map(|front| format!("http://{}{}{suffix}", front.authority(), path.to_url_path()))
    };
    MountView {
        path: path.to_string(),
        source_username: username.clone(),
        name: record.name.clone(),
        description: record.description.clone(),
        max_listeners: record.max_listeners,
        master: master.map(|master| master.node.to_string()),
        epoch: master.map(|master| master.epoch),
        label: path.label(),
        source_host: front.map(|front| format!("{}.source.{}", path.label(), front.domain)),
        source_url: front.map(|front| source_url(front, path, username, password.as_deref())),
        listen_url: url(""),
        playlist_url: url(".m3u"),
        source_password: password,
    }
}

/// The form ffmpeg and most others take, with the port always written: clients differ in what they assume.
fn source_url(front: &Front, path: &MountPath, username: &str, password: Option<&str>) -> String {
    let escape = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let password = password.map(|password| format!(":{}", escape(password)));
    let Front { domain, port } = front;
    format!(
        "icecast://{}{}@{domain}:{port}{}",
        escape(username),
        password.unwrap_or_default(),
        path.to_url_path()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> MountRecord {
        let json = serde_json::json!({
            "schema": 1, "path": "/café.ogg", "source_username": "anna b", "source_password_hash": "$argon2id$x",
        });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn addresses_are_written_so_that_they_can_be_pasted() {
        let front = Front { domain: "radio.test".into(), port: 8080 };
        let snapshot = Snapshot::default();
        let shown = view(&record(), Some("p@ss".into()), &snapshot, Some(&front));
        let url = "icecast://anna%20b:p%40ss@radio.test:8080/caf%C3%A9.ogg";
        assert_eq!(shown.source_url.as_deref(), Some(url));
        let url = "http://radio.test:8080/caf%C3%A9.ogg.m3u";
        assert_eq!(shown.playlist_url.as_deref(), Some(url));
        assert!(shown.source_host.unwrap().ends_with(".source.radio.test"));
    }

    #[test]
    fn without_a_living_node_json_has_no_addresses_and_never_a_hash() {
        let shown = view(&record(), None, &Snapshot::default(), None);
        let json = serde_json::to_string(&shown).unwrap();
        assert!(
            json.contains("\"listen_url\":null") && !json.contains("source_password"),
            "{json}"
        );
        assert!(!json.contains("argon2"), "{json}");
    }
}
