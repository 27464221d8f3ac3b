//! The daemon's `/v1/status` and radioctl's JSON, as far as the lab reads them.

use serde::Deserialize;

/// A node's own view.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Status {
    /// The node's name.
    pub node: String,
    /// Whether it serves.
    pub ready: bool,
    /// How it stands towards its masterships: `sure`, `stepped-down`, `alone`, …
    #[serde(default)]
    pub standing: String,
    /// Whether it takes nothing new.
    #[serde(default)]
    pub draining: bool,
    /// The kernel program.
    #[serde(default)]
    pub xdp: Xdp,
    /// What DNS did.
    #[serde(default)]
    pub dns: Dns,
    /// Every mount.
    #[serde(default)]
    pub mounts: Vec<Mount>,
}

/// The kernel program.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Xdp {
    /// `native`, `generic` or `off`.
    pub mode: String,
    /// Whether it stays when the daemon is killed.
    #[serde(default)]
    pub pinned: bool,
    /// Whether it was running when the daemon came.
    #[serde(default)]
    pub adopted: bool,
}

/// What DNS did since the daemon's start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Dns {
    /// Queries answered.
    pub answers: u64,
    /// Of these, by the kernel program.
    pub kernel_answers: u64,
    /// Of these, by the daemon.
    pub userspace_answers: u64,
}

/// One mount, as the node sees it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Mount {
    /// Its path, with the leading slash.
    pub path: String,
    /// The node that is its master.
    pub master: Option<String>,
    /// Since which revision it is.
    pub epoch: Option<i64>,
    /// Whether a source is connected.
    pub source_connected: bool,
    /// Listeners on this node.
    pub listeners: u64,
}

/// What `radioctl create-mount` prints, once.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct CreatedMount {
    /// Its path, with the leading slash.
    pub path: String,
    /// The source's user name.
    pub source_username: String,
    /// The source's password.
    pub source_password: String,
    /// Where to listen.
    pub listen_url: String,
}

impl CreatedMount {
    /// Where ffmpeg sends a source's stream.
    pub fn source_url(&self, domain: &str) -> String {
        let Self { path, source_username, source_password, .. } = self;
        format!("icecast://{source_username}:{source_password}@{domain}:80{path}")
    }
}

impl Status {
    /// The mount's epoch.
    pub fn epoch(&self, path: &str) -> Option<i64> {
        self.mounts.iter().find(|mount| mount.path == path)?.epoch
    }

    /// The mount's master, by name.
    pub fn master(&self, path: &str) -> Option<&str> {
        self.mounts.iter().find(|mount| mount.path == path)?.master.as_deref()
    }

    /// Whether a source is connected to the mount.
    pub fn source_connected(&self, path: &str) -> bool {
        self.mounts.iter().any(|mount| mount.path == path && mount.source_connected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_daemons_status_is_read_and_new_fields_do_no_harm() {
        let text = r#"{"node":"node1","version":"0.1.0","ready":true,
            "xdp":{"mode":"native","interface":"eth0"},
            "dns":{"answers":5,"kernel_answers":4,"userspace_answers":1,"verdicts":{"answered":4}},
            "mounts":[{"path":"/live.mp3","master":"node1","source_connected":true,
                       "listeners":1,"bitrate":128}]}"#;
        let status: Status = serde_json::from_str(text).unwrap();
        assert_eq!(status.xdp.mode, "native");
        assert_eq!(status.dns.kernel_answers, 4);
        assert!(status.source_connected("/live.mp3"));
        assert!(!status.source_connected("/other.mp3"));
    }
}
