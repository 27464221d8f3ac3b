//! What the operator is shown of a mount. The JSON form is stable: fields are added, never renamed or removed.

use autoradio_edge::cluster::{HttpUrl, MountPath, MountRecord, Snapshot};
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
    /// Genre shown to listeners, or null.
    pub(crate) genre: Option<String>,
    /// Home page shown to listeners, or null.
    pub(crate) url: Option<String>,
    /// Whether directories may list it, or null: as its source says.
    pub(crate) public: Option<bool>,
    /// Most listeners on one node, or null.
    pub(crate) max_listeners: Option<u32>,
    /// Mount that is heard while this one has nothing to play, or null.
    pub(crate) fallback: Option<String>,
    /// How long listeners are kept without anything to play, in seconds.
    pub(crate) grace_s: u32,
    /// What a listener gets at once, in bytes.
    pub(crate) burst_bytes: u32,
    /// Whether ranges are answered 206.
    pub(crate) range: bool,
    /// Stream that the master pulls, its password left out, or null.
    pub(crate) relay_url: Option<String>,
    /// Names of those who may listen, or null: everybody, or whom the program at the next URL lets in.
    pub(crate) listener_users: Option<Vec<String>>,
    /// Program that is asked about listeners, its password left out, or null.
    pub(crate) listener_add_url: Option<String>,
    /// Program that is told of listeners who have left, its password left out, or null.
    pub(crate) listener_remove_url: Option<String>,
    /// SHOUTcast number, or null.
    pub(crate) shoutcast_sid: Option<u32>,
    /// What a source may not exceed.
    pub(crate) source_limits: LimitsView,
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

/// What one connection of a source may not exceed; null where there is no limit.
#[derive(Debug, Serialize)]
pub(crate) struct LimitsView {
    /// Bits per second.
    pub(crate) bits_per_second: Option<u64>,
    /// Bytes in all.
    pub(crate) bytes: Option<u64>,
    /// Seconds in all.
    pub(crate) seconds: Option<u64>,
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
    // A mount that is pulled takes no source.
    let source_front = front.filter(|_| record.relay_url.is_none());
    MountView {
        path: path.to_string(),
        source_username: username.clone(),
        name: record.name.clone(),
        description: record.description.clone(),
        genre: record.genre.clone(),
        url: record.url.clone(),
        public: record.public,
        max_listeners: record.max_listeners,
        fallback: record.fallback.as_ref().map(ToString::to_string),
        grace_s: record.grace_s,
        burst_bytes: record.burst_bytes,
        range: record.range,
        relay_url: shown_url(record.relay_url.as_ref()),
        listener_users: record.listener_users.as_ref().map(|it| it.keys().cloned().collect()),
        listener_add_url: shown_url(record.listener_add_url.as_ref()),
        listener_remove_url: shown_url(record.listener_remove_url.as_ref()),
        shoutcast_sid: record.shoutcast_sid,
        source_limits: LimitsView {
            bits_per_second: record.source_limits.bits_per_second,
            bytes: record.source_limits.bytes,
            seconds: record.source_limits.seconds,
        },
        master: master.map(|master| master.node.to_string()),
        epoch: master.map(|master| master.epoch),
        label: path.label(),
        source_host: source_front.map(|front| format!("{}.source.{}", path.label(), front.domain)),
        source_url: source_front
            .map(|front| source_url(front, path, username, password.as_deref())),
        listen_url: url(""),
        playlist_url: url(".m3u"),
        source_password: password,
    }
}

/// A URL as it may be shown. One that cannot be read is of no use to anybody, and is shown as it is.
fn shown_url(url: Option<&String>) -> Option<String> {
    url.map(|url| url.parse::<HttpUrl>().map_or_else(|_| url.clone(), |url| url.without_password()))
}

/// Where somebody listens who has to give a name; with the password when it is shown.
pub(crate) fn listener_url(
    front: &Front,
    path: &MountPath,
    user: &str,
    password: Option<&str>,
) -> String {
    let escape = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let password = password.map(|password| format!(":{}", escape(password))).unwrap_or_default();
    format!("http://{}{password}@{}{}", escape(user), front.authority(), path.to_url_path())
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

    #[test]
    fn neither_hashes_of_listeners_nor_passwords_in_urls_are_shown() {
        let mut record = record();
        record.relay_url = Some("http://jo:secret@h:81/x?a=1".into());
        record.listener_users = Some([("anna".to_owned(), "$argon2id$y".to_owned())].into());
        let front = Front { domain: "radio.test".into(), port: 80 };
        let shown = view(&record, None, &Snapshot::default(), Some(&front));
        assert_eq!(shown.source_url, None, "it takes no source");
        let json = serde_json::to_string(&shown).unwrap();
        assert!(json.contains(r#""listener_users":["anna"]"#), "{json}");
        assert!(json.contains(r#""relay_url":"http://jo@h:81/x?a=1""#), "{json}");
        assert!(!json.contains("argon2") && !json.contains("secret"), "{json}");
        let url = listener_url(&front, &record.path, "a b", Some("p@ss"));
        assert_eq!(url, "http://a%20b:p%40ss@radio.test/caf%C3%A9.ogg");
    }
}
