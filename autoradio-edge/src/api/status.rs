//! What a node tells about itself: the shape of `GET /v1/status`.

use std::collections::BTreeMap;

use serde::Serialize;

#[cfg(doc)]
use crate::cluster::Standing;
use crate::cluster::{MountPath, NodeName};
use crate::dataplane::XdpMode;

/// One node, now.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// The node.
    pub node: NodeName,
    /// The zone.
    pub domain: String,
    /// Version of the daemon.
    pub version: &'static str,
    /// Whether clients should come: every part of `parts` works, and the node is not about to stop.
    pub ready: bool,
    /// The parts that make a node ready.
    pub parts: Parts,
    /// How the node stands towards its masterships, one of [`Standing::LABELS`].
    pub standing: &'static str,
    /// Whether the node takes nothing new, by the operator's wish or because it is about to stop.
    pub draining: bool,
    /// The kernel program.
    pub xdp: XdpStatus,
    /// Replies since the start.
    pub dns: DnsStatus,
    /// Listeners on this node.
    pub listeners: u64,
    /// All mounts of the cluster, with this node's share of their traffic.
    pub mounts: Vec<MountStatus>,
}

/// What has to work for a node to serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Parts {
    /// DNS answers from a zone of the cluster's state.
    pub dns: bool,
    /// etcd sends changes, and holds this node's lease.
    pub etcd: bool,
    /// Icecast runs.
    pub icecast: bool,
}

impl Parts {
    /// Whether all of them work.
    pub fn ready(self) -> bool {
        let Self { dns, etcd, icecast } = self;
        dns && etcd && icecast
    }
}

/// Where the kernel program runs.
#[derive(Clone, Debug, Serialize)]
pub struct XdpStatus {
    /// How it is attached.
    pub mode: XdpMode,
    /// The interface, while it is attached.
    pub interface: Option<String>,
    /// Whether it stays, answering until its lease ends, when the daemon is killed.
    pub pinned: bool,
    /// Whether it was running when the daemon came, with the zone that it had.
    pub adopted: bool,
}

/// DNS replies since the daemon started.
#[derive(Clone, Debug, Default, Serialize)]
pub struct DnsStatus {
    /// All of them.
    pub answers: u64,
    /// Those that the kernel program sent.
    pub kernel_answers: u64,
    /// Those that the daemon sent.
    pub userspace_answers: u64,
    /// Packets per verdict of the kernel program.
    pub verdicts: BTreeMap<&'static str, u64>,
}

/// One mount.
#[derive(Clone, Debug, Serialize)]
pub struct MountStatus {
    /// Its path.
    pub path: MountPath,
    /// Who accepts its source.
    pub master: Option<NodeName>,
    /// Since which revision.
    pub epoch: Option<i64>,
    /// Whether its source is connected to this node.
    pub source_connected: bool,
    /// How long it has been, in seconds.
    pub source_seconds: u64,
    /// Listeners on this node.
    pub listeners: u64,
    /// Bytes of audio that its source sent to this node.
    pub bytes_in: u64,
    /// Bytes sent to its listeners by this node.
    pub bytes_out: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_ready_when_every_part_works() {
        let all = Parts { dns: true, etcd: true, icecast: true };
        assert!(all.ready());
        for missing in [
            Parts { dns: false, ..all },
            Parts { etcd: false, ..all },
            Parts { icecast: false, ..all },
        ] {
            assert!(!missing.ready(), "{missing:?}");
        }
    }
}
