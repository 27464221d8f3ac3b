//! Why a mount's stream cannot be had.

use std::net::SocketAddr;

use autoradio_common::limits::HTTP_ICECAST_HEAD_BYTES_MAX;

/// Why there is no stream at this moment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// No such mount in the cluster.
    #[error("there is no such mount")]
    MountUnknown,
    /// Nobody holds the mount.
    #[error("the mount has no master at this moment")]
    NoMaster,
    /// The mount's Icecast plays nothing on it.
    #[error("the mount has no source at this moment")]
    NoSource,
    /// The Icecast does not accept connections.
    #[error("Icecast at {address} cannot be reached: {sentence}")]
    Unreachable {
        /// Where it should be.
        address: SocketAddr,
        /// What the kernel said.
        sentence: String,
    },
    /// The Icecast gave no answer that can be understood.
    #[error("Icecast at {address} gave no answer")]
    Silent {
        /// Where it is.
        address: SocketAddr,
    },
    /// The Icecast said no.
    #[error("Icecast at {address} answered {status}")]
    Refused {
        /// Where it is.
        address: SocketAddr,
        /// Its status; 403 when it has too many listeners waiting.
        status: u16,
    },
    /// The path is longer than Icecast takes.
    #[error("Icecast takes request heads of {HTTP_ICECAST_HEAD_BYTES_MAX} bytes")]
    PathTooLong,
    /// The stream is of another type than what its listeners hear.
    #[error("the stream is {type_now}, and its listeners hear {type_before}")]
    OtherType {
        /// Media type of the stream.
        type_now: String,
        /// Media type that listeners were told.
        type_before: String,
    },
    /// The node stops.
    #[error("this node is stopping")]
    Stopping,
}

impl StreamError {
    /// Whether the mount's master itself says that nothing plays.
    pub(super) fn is_absence(&self) -> bool {
        matches!(self, Self::NoSource)
    }
}
