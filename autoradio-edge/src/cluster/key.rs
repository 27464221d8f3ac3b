//! Keys in etcd: what stands where. Pure.

use super::{MountPath, MountPathError, NodeName, NodeNameError};

/// Every key of ours begins with this. The number is the layout's, not the records' schema.
pub const PREFIX: &str = "/autoradio/v1/";

/// What one key stands for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// `mounts/<id>`
    Mount(MountPath),
    /// `nodes/<name>`
    Node(NodeName),
    /// `masters/<id>`
    Master(MountPath),
    /// `load/<name>`
    Load(NodeName),
    /// `streams/<name>`
    Streams(NodeName),
    /// `admin`
    Admin,
    /// `titles/<id>`
    Title(MountPath),
    /// `drain/<name>`
    Drain(NodeName),
    /// `secrets/<name>`
    Secret(String),
    /// A key of another part or a newer version: not ours to judge. Holds what follows [`PREFIX`].
    Other(String),
}

/// Why a key is damaged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Outside of [`PREFIX`], or not UTF-8.
    #[error("the key does not begin with {PREFIX} or is not UTF-8")]
    Foreign,
    /// The `<id>` is no mount path.
    #[error(transparent)]
    Mount(#[from] MountPathError),
    /// The `<name>` is no node name.
    #[error(transparent)]
    Node(#[from] NodeNameError),
    /// Another spelling of a mount's `<id>`: two keys would stand for one mount.
    #[error("the key's mount should be spelt {id}")]
    Spelling {
        /// The one spelling that counts.
        id: String,
    },
}

impl Key {
    /// Reads a key as [`Key`]'s `Display` writes it.
    pub fn parse(key: &[u8]) -> Result<Self, KeyError> {
        let rest = std::str::from_utf8(key)
            .ok()
            .and_then(|key| key.strip_prefix(PREFIX))
            .ok_or(KeyError::Foreign)?;
        let (room, id) = rest.split_once('/').unwrap_or((rest, ""));
        Ok(match room {
            "mounts" => Self::Mount(mount(id)?),
            "masters" => Self::Master(mount(id)?),
            "nodes" => Self::Node(id.parse()?),
            "load" => Self::Load(id.parse()?),
            "streams" => Self::Streams(id.parse()?),
            "admin" if rest == "admin" => Self::Admin,
            "titles" => Self::Title(mount(id)?),
            "drain" => Self::Drain(id.parse()?),
            "secrets" => Self::Secret(id.to_owned()),
            _ => Self::Other(rest.to_owned()),
        })
    }
}

/// The key as it stands in etcd, prefix included.
impl std::fmt::Display for Key {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Mount(path) => write!(out, "{PREFIX}mounts/{}", path.id()),
            Self::Master(path) => write!(out, "{PREFIX}masters/{}", path.id()),
            Self::Node(name) => write!(out, "{PREFIX}nodes/{name}"),
            Self::Load(name) => write!(out, "{PREFIX}load/{name}"),
            Self::Streams(name) => write!(out, "{PREFIX}streams/{name}"),
            Self::Admin => write!(out, "{PREFIX}admin"),
            Self::Title(path) => write!(out, "{PREFIX}titles/{}", path.id()),
            Self::Drain(name) => write!(out, "{PREFIX}drain/{name}"),
            Self::Secret(name) => write!(out, "{PREFIX}secrets/{name}"),
            Self::Other(rest) => write!(out, "{PREFIX}{rest}"),
        }
    }
}

fn mount(id: &str) -> Result<MountPath, KeyError> {
    let path = MountPath::from_id(id)?;
    if path.id() == id { Ok(path) } else { Err(KeyError::Spelling { id: path.id() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(path: &str) -> MountPath {
        path.parse().unwrap()
    }

    #[test]
    fn every_key_reads_back_as_it_is_written() {
        let node: NodeName = "fra1".parse().unwrap();
        for (key, want) in [
            (Key::Mount(path("/live.mp3")), "mounts/live.mp3"),
            (Key::Mount(path("/a/ü b")), "mounts/a%2F%C3%BC%20b"),
            (Key::Master(path("/live.mp3")), "masters/live.mp3"),
            (Key::Node(node.clone()), "nodes/fra1"),
            (Key::Drain(node.clone()), "drain/fra1"),
            (Key::Streams(node.clone()), "streams/fra1"),
            (Key::Load(node), "load/fra1"),
            (Key::Admin, "admin"),
            (Key::Other("admin/later".to_owned()), "admin/later"),
            (Key::Title(path("/live.mp3")), "titles/live.mp3"),
            (Key::Secret("icecast".to_owned()), "secrets/icecast"),
            (Key::Other("later/fra1".to_owned()), "later/fra1"),
            (Key::Other("schema".to_owned()), "schema"),
        ] {
            let text = key.to_string();
            assert_eq!(text, format!("{PREFIX}{want}"));
            assert_eq!(Key::parse(text.as_bytes()), Ok(key));
        }
    }

    #[test]
    fn damaged_keys_are_told_from_keys_of_others() {
        for (why, key, want) in [
            ("another program's", "/other/v1/mounts/x", "does not begin"),
            ("no mount path", "/autoradio/v1/mounts/%2e%2e", "segments"),
            ("an unescaped slash", "/autoradio/v1/mounts/a/b", "a%2Fb"),
            ("a second spelling", "/autoradio/v1/masters/%6Cive", "live"),
            ("no node name", "/autoradio/v1/nodes/FRA_1", "one DNS label"),
            ("empty name", "/autoradio/v1/drain/", "one DNS label"),
        ] {
            let error = Key::parse(key.as_bytes()).expect_err(why).to_string();
            assert!(error.contains(want), "{why}: {error}");
        }
        assert_eq!(Key::parse(b"\xff\xfe"), Err(KeyError::Foreign));
    }
}
