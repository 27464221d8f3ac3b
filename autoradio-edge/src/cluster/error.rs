//! What can go wrong with the cluster's state, by what the operator does about it.

use std::io;
use std::net::IpAddr;

use autoradio_common::limits::{MOUNTS_MAX, RECORD_BYTES_MAX};

use super::{MountPath, NodeName};
use crate::supervise::SuperviseError;

/// Why something about the cluster could not be done.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// No endpoint, or one that is no URL of ours.
    #[error("etcd endpoint {endpoint:?}: {reason}; give URLs like http://127.0.0.1:2379")]
    Endpoint {
        /// What was given.
        endpoint: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A certificate or key that cannot be read.
    #[error("certificate file {path}: {reason}; --etcd-ca, --etcd-cert, --etcd-key name the files")]
    Certificate {
        /// The file.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// No answer.
    #[error(
        "etcd at {endpoints} cannot be reached: {reason}; check that it runs, or name another one with --etcd"
    )]
    Unreachable {
        /// All endpoints that were tried.
        endpoints: String,
        /// What the last try ended with.
        reason: String,
    },
    /// etcd answered, and said no.
    #[error("etcd at {endpoints} refuses: {reason}")]
    Refused {
        /// The endpoints.
        endpoints: String,
        /// etcd's words.
        reason: String,
    },
    /// The revision asked for is gone; only a new listing helps.
    #[error("etcd has compacted the history this node wanted")]
    Compacted,
    /// etcd's newest revision is older than what was read from it, or its cluster is another one.
    #[error(
        "etcd is not the one that this node knows, or older: it was restored from a backup or founded anew"
    )]
    Restored,
    /// This node's lease ended; its record and claims are gone.
    #[error("etcd has ended this node's lease")]
    LeaseLost,
    /// Another node has this node's name.
    #[error(
        "the name {name} is taken: a node at {address} holds it; stop that one, or give this one another name with --name; \
        if it is gone for good: radioctl cluster remove {name}"
    )]
    NameTaken {
        /// The name.
        name: NodeName,
        /// Where the other node is: its address, or the URL of its etcd.
        address: String,
    },
    /// Another node's etcd is where this node's is to be.
    #[error(
        "the address {address} is taken: the cluster has the member {name} there; give one of the two another address or \
        --etcd-peer-port; if {name} is gone for good: radioctl cluster remove {name}"
    )]
    AddressTaken {
        /// The other member.
        name: String,
        /// The peer URL.
        address: String,
    },
    /// A mount to be created is there.
    #[error("mount {path} exists already; change it with edit-mount")]
    MountExists {
        /// The mount.
        path: MountPath,
    },
    /// A mount to be changed is not there.
    #[error("mount {path} does not exist; list-mounts shows all mounts")]
    MountUnknown {
        /// The mount.
        path: MountPath,
    },
    /// Somebody else changed the mount between reading and writing.
    #[error("mount {path} was changed by somebody else meanwhile; try again")]
    MountChanged {
        /// The mount.
        path: MountPath,
    },
    /// There is no room for another mount.
    #[error("the cluster has {MOUNTS_MAX} mounts, which is the limit; delete one first")]
    MountsFull,
    /// A record cannot be read, and so not be changed safely.
    #[error("record {key} cannot be read: {reason}")]
    Damaged {
        /// Its key.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A record to be written is too long.
    #[error("record {key} would take {bytes} bytes, limit {RECORD_BYTES_MAX}; shorten its texts")]
    TooLong {
        /// Its key.
        key: String,
        /// Its length as JSON.
        bytes: usize,
    },
    /// The system gives no random numbers.
    #[error("the system gives no random numbers for a password: {reason}")]
    NoRandomness {
        /// What the system said.
        reason: String,
    },
    /// A password that cannot be hashed.
    #[error("the password cannot be hashed: {reason}")]
    Password {
        /// What the hash function said.
        reason: String,
    },
    /// Another process has a port that the managed etcd needs.
    #[error(
        "etcd cannot start: port {port} on {address} is taken ({reason}); stop what holds it (a packaged etcd service?) or choose another port"
    )]
    PortTaken {
        /// The address.
        address: IpAddr,
        /// The port.
        port: u16,
        /// What the system said.
        reason: String,
    },
    /// The managed etcd was started and does not answer.
    #[error(
        "etcd was started but does not answer within {deadline_ms} ms; its last words: {last_line:?}"
    )]
    NotHealthy {
        /// How long it had.
        deadline_ms: u128,
        /// Newest line of its log.
        last_line: String,
    },
    /// No host of `--join` leads to a cluster.
    #[error(
        "no etcd cluster to join at {hosts}: {reason}; check that one of these nodes runs and can be reached"
    )]
    NoCluster {
        /// The hosts that were asked.
        hosts: String,
        /// What the last try ended with.
        reason: String,
    },
    /// The cluster does not take this node's etcd.
    #[error(
        "etcd cannot join the cluster within {deadline_s} s: {reason}; a join needs a quorum of the cluster's members"
    )]
    NotJoined {
        /// How long it had, in seconds.
        deadline_s: u64,
        /// What the last try ended with.
        reason: String,
    },
    /// Others have removed this node's etcd from the cluster.
    #[error(
        "this node's etcd was removed from its cluster: give --join HOST to join again; its old data, in {data_dir}, is kept aside then"
    )]
    Removed {
        /// Where its data is.
        data_dir: String,
    },
    /// Files for etcd cannot be prepared.
    #[error("{path}: {source}; etcd needs it")]
    Files {
        /// The path.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// A node that is to be removed is not there.
    #[error(
        "there is no node {name}: neither as a member of etcd nor in any record; see radioctl cluster members"
    )]
    NodeUnknown {
        /// The name, or what else was given for it.
        name: String,
    },
    /// A member that must not be removed.
    #[error("member {name} stays: {reason}")]
    MemberNeeded {
        /// The name, or what else was given for it.
        name: String,
        /// Why, and what to do.
        reason: String,
    },
    /// The etcd process cannot be run.
    #[error(transparent)]
    Child(#[from] SuperviseError),
}
