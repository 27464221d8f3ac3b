//! What peers ask each other: a path for each question, and the answers. Pure.

use std::borrow::Cow;
use std::net::IpAddr;

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use crate::cluster::{MountPath, NodeName};

/// Where a node's front answers how it stands.
pub const STATE_PATH: &str = "/_peer/state";
const LISTENERS_PATH: &str = "/_peer/listeners";
const COUNTS_PATH: &str = "/_peer/counts";
const CLOSE_PATH: &str = "/_peer/close";
const MOVE_PATH: &str = "/_peer/move";
const KILL_SOURCE_PATH: &str = "/_peer/killsource";

/// A question, or an order, of one node to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerAsk {
    /// How it stands with its lease and etcd.
    State,
    /// Who listens to the mount there: [`PeerListener`]s.
    Listeners(MountPath),
    /// What its front has counted.
    Counts,
    /// Close a listener of the mount, by its number there: how many were.
    Close(MountPath, u64),
    /// Have the listeners of one mount hear another: how many do, or nothing if they cannot.
    Move(MountPath, MountPath),
    /// Close the mount's source, at its front and its Icecast: how many there were.
    KillSource(MountPath),
}

/// A listener of a peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerListener {
    /// Its number on that node.
    pub id: u64,
    /// Where it comes from.
    pub address: IpAddr,
    /// Its `User-Agent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// How long it has listened, in seconds.
    pub connected_s: u64,
}

/// An answer, and whose: behind a stale address somebody else may answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told<Answer> {
    /// The node that answers.
    pub node: NodeName,
    /// What it says.
    pub answer: Answer,
}

impl PeerAsk {
    /// Path and query that ask this.
    pub fn target(&self) -> String {
        let mount = |path: &str, mount: &MountPath| format!("{path}?mount={}", encoded(mount));
        match self {
            Self::State => STATE_PATH.to_owned(),
            Self::Counts => COUNTS_PATH.to_owned(),
            Self::Listeners(path) => mount(LISTENERS_PATH, path),
            Self::KillSource(path) => mount(KILL_SOURCE_PATH, path),
            Self::Close(path, id) => format!("{}&id={id}", mount(CLOSE_PATH, path)),
            Self::Move(from, to) => {
                format!("{}&destination={}", mount(MOVE_PATH, from), encoded(to))
            }
        }
    }

    /// What path and query ask; `None` if that is nothing of peers, or lacks something.
    pub fn parse(path: &str, query: &str) -> Option<Self> {
        let mount = |name| parameter(query, name)?.parse().ok();
        Some(match path {
            STATE_PATH => Self::State,
            COUNTS_PATH => Self::Counts,
            LISTENERS_PATH => Self::Listeners(mount("mount")?),
            KILL_SOURCE_PATH => Self::KillSource(mount("mount")?),
            CLOSE_PATH => Self::Close(mount("mount")?, parameter(query, "id")?.parse().ok()?),
            MOVE_PATH => Self::Move(mount("mount")?, mount("destination")?),
            _ => return None,
        })
    }
}

fn encoded(mount: &MountPath) -> String {
    utf8_percent_encode(mount.as_str(), NON_ALPHANUMERIC).to_string()
}

/// The value of a query's first parameter of that name, decoded. `None`: there is none, or it is not UTF-8.
pub(crate) fn parameter(query: &str, name: &str) -> Option<String> {
    let mut pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let (_, value) = pairs.find(|(found, _)| *found == name)?;
    let spaced = value.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8().ok().map(Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_question_is_understood_as_it_was_meant() {
        let mount = |path: &str| path.parse::<MountPath>().unwrap();
        for ask in [
            PeerAsk::State,
            PeerAsk::Counts,
            PeerAsk::Listeners(mount("/caf\u{e9} & +1.mp3")),
            PeerAsk::KillSource(mount("/a")),
            PeerAsk::Close(mount("/a=b"), u64::MAX),
            PeerAsk::Move(mount("/a"), mount("/b?c")),
        ] {
            let target = ask.target();
            let (path, query) = target.split_once('?').unwrap_or((&target, ""));
            assert_eq!(PeerAsk::parse(path, query), Some(ask), "{target}");
        }
    }

    #[test]
    fn a_question_that_lacks_something_is_none() {
        for (path, query) in [
            ("/_peer/nothing", ""),
            ("/_peer/listeners", ""),
            ("/_peer/listeners", "mount=relative"),
            ("/_peer/listeners", "mount=%ff"),
            ("/_peer/close", "mount=/a"),
            ("/_peer/close", "mount=/a&id=-1"),
            ("/_peer/close", "mount=/a&id=18446744073709551616"),
            ("/_peer/move", "mount=/a"),
        ] {
            assert_eq!(PeerAsk::parse(path, query), None, "{path}?{query}");
        }
    }
}
