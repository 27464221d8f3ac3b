//! Mount paths: what an operator, a source and a listener call a mount.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use autoradio_common::limits::MOUNT_PATH_BYTES_MAX;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Bytes that stay as they are in a key and in a URL path segment (RFC 3986 §2.3, unreserved).
const ESCAPED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// In a URL the slashes between segments stay too.
const ESCAPED_IN_URL: AsciiSet = ESCAPED.remove(b'/');
/// Longest DNS label (RFC 1035 §2.3.4).
const LABEL_BYTES_MAX: usize = 63;
/// Suffixes of playlists, which are made for a mount and cannot be one.
const PLAYLIST_SUFFIXES: [&str; 3] = [".m3u", ".pls", ".xspf"];

/// A mount's path, percent-decoded, with its leading slash: `/live.mp3`, `/evening/show.ogg`.
///
/// Cheap to clone. Holds: 2 to 255 bytes of UTF-8, starts with `/`, does not end with one, no empty, `.` or `..` segment, no control
/// character, not reserved (`/admin…`, `/_…`, playlists). `Display` gives the decoded form, [`Self::id`] the key form.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MountPath(Arc<str>);

/// Why a text is no mount path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MountPathError {
    /// No leading slash.
    #[error("mount {path:?}: a mount path starts with a slash, like /live.mp3")]
    NoSlash {
        /// What was given.
        path: String,
    },
    /// Empty, `.` or `..` segment, or a slash at the end.
    #[error("mount {path:?}: empty, \".\" and \"..\" segments are not allowed")]
    Segment {
        /// What was given.
        path: String,
    },
    /// A control character or bytes that are not UTF-8.
    #[error("mount {path:?}: control characters and bytes that are not UTF-8 are not allowed")]
    Character {
        /// What was given.
        path: String,
    },
    /// Longer than [`MOUNT_PATH_BYTES_MAX`].
    #[error("mount path of {bytes} bytes, limit {MOUNT_PATH_BYTES_MAX}")]
    TooLong {
        /// Length after decoding.
        bytes: usize,
    },
    /// A path that means something else on every node.
    #[error(
        "mount {path:?} is reserved: /admin, paths that begin with /_ and playlists (.m3u, .pls, .xspf) belong to the server"
    )]
    Reserved {
        /// What was given.
        path: String,
    },
}

impl MountPath {
    /// Reads a path as it stands in a request target: percent-encoded, without query.
    pub fn from_encoded(encoded: &str) -> Result<Self, MountPathError> {
        let decoded = percent_decode_str(encoded)
            .decode_utf8()
            .map_err(|_| MountPathError::Character { path: encoded.to_owned() })?;
        decoded.parse()
    }

    /// The decoded path with its leading slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The mount's `<id>` in etcd keys: the path without its leading slash, percent-encoded, slashes included.
    pub fn id(&self) -> String {
        utf8_percent_encode(&self.0[1..], &ESCAPED).to_string()
    }

    /// Reads an `<id>` as [`Self::id`] writes it.
    pub fn from_id(id: &str) -> Result<Self, MountPathError> {
        Self::from_encoded(&format!("/{id}"))
    }

    /// The path as it is written in a URL or a request line.
    pub fn to_url_path(&self) -> String {
        utf8_percent_encode(&self.0, &ESCAPED_IN_URL).to_string()
    }

    /// The mount's DNS label, `<label>.source.<zone>`: 1 to 63 bytes of `[a-z0-9-]`.
    ///
    /// A path of those bytes alone is its own label; any other gets its bytes replaced by `-` and eight hex digits of
    /// its SHA-256 appended, so that no two paths share a label.
    pub fn label(&self) -> String {
        let bare = &self.0[1..];
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let own_label = bare.len() <= LABEL_BYTES_MAX - 9 && bare.bytes().all(plain);
        if own_label {
            return bare.to_owned();
        }
        let hash = Sha256::digest(bare.as_bytes());
        let suffix = u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]);
        let mut label: String = bare
            .bytes()
            .take(LABEL_BYTES_MAX - 9)
            .map(|byte| byte.to_ascii_lowercase())
            .map(|byte| if plain(byte) { char::from(byte) } else { '-' })
            .collect();
        label = label.trim_start_matches('-').to_owned();
        if label.is_empty() {
            label.push('m');
        }
        format!("{label}-{suffix:08x}")
    }
}

impl FromStr for MountPath {
    type Err = MountPathError;

    fn from_str(path: &str) -> Result<Self, MountPathError> {
        let shown = || path.to_owned();
        let Some(bare) = path.strip_prefix('/') else {
            return Err(MountPathError::NoSlash { path: shown() });
        };
        if path.len() > MOUNT_PATH_BYTES_MAX {
            return Err(MountPathError::TooLong { bytes: path.len() });
        }
        if path.chars().any(char::is_control) {
            return Err(MountPathError::Character { path: shown() });
        }
        if bare.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
            return Err(MountPathError::Segment { path: shown() });
        }
        let admin = bare == "admin" || bare.starts_with("admin/");
        let playlist = PLAYLIST_SUFFIXES.iter().any(|suffix| path.ends_with(suffix));
        if admin || bare.starts_with('_') || playlist {
            return Err(MountPathError::Reserved { path: shown() });
        }
        Ok(Self(path.into()))
    }
}

impl TryFrom<String> for MountPath {
    type Error = MountPathError;

    fn try_from(path: String) -> Result<Self, MountPathError> {
        path.parse()
    }
}

impl From<MountPath> for String {
    fn from(path: MountPath) -> Self {
        path.0.as_ref().to_owned()
    }
}

impl fmt::Display for MountPath {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paths_that_no_mount_may_have_are_refused_with_the_reason() {
        for (path, want) in [
            ("live.mp3", "starts with a slash"),
            ("", "starts with a slash"),
            ("/", "segments"),
            ("/a//b", "segments"),
            ("/a/", "segments"),
            ("/a/../b", "segments"),
            ("/./b", "segments"),
            ("/a\nb", "control"),
            ("/admin/metadata", "reserved"),
            ("/_stream/x", "reserved"),
            ("/live.mp3.m3u", "reserved"),
        ] {
            let error = path.parse::<MountPath>().expect_err(path).to_string();
            assert!(error.contains(want), "{path:?}: {error}");
        }
        let long = format!("/{}", "x".repeat(255));
        assert_eq!(long.parse::<MountPath>(), Err(MountPathError::TooLong { bytes: 256 }));
    }

    #[test]
    fn encoded_paths_are_decoded_before_they_are_judged() {
        let path = MountPath::from_encoded("/caf%C3%A9%20noir.ogg").expect("valid");
        assert_eq!(path.as_str(), "/café noir.ogg");
        assert_eq!(path.id(), "caf%C3%A9%20noir.ogg");
        assert!(MountPath::from_encoded("/%2e%2e/etc").is_err());
        assert!(MountPath::from_encoded("/%ff").is_err());
    }

    #[test]
    fn labels_are_readable_and_never_shared() {
        let label = |path: &str| path.parse::<MountPath>().expect("valid").label();
        assert_eq!(label("/live"), "live");
        assert!(label("/live.mp3").starts_with("live-mp3-"));
        assert_ne!(label("/live.mp3"), label("/live-mp3"));
        assert_ne!(label("/live.mp3"), label("/Live.mp3"));
    }

    proptest! {
        #[test]
        fn an_id_reads_back_as_its_path(path in "/[a-zA-Z0-9 %?#&=~é☂-]{1,60}(/[a-z0-9%.]{1,20}x)?") {
            if let Ok(path) = path.parse::<MountPath>() {
                prop_assert!(!path.id().contains('/'));
                prop_assert_eq!(MountPath::from_id(&path.id()), Ok(path.clone()));
                prop_assert_eq!(MountPath::from_encoded(&path.to_url_path()), Ok(path.clone()));
                let label = path.label();
                prop_assert!((1..=63).contains(&label.len()), "{}", label);
                prop_assert!(label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'));
            }
        }
    }
}
