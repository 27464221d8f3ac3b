//! How a failure ends: its exit code, in one place. The codes are part of `--help`.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use autoradio_edge::cluster::{ClusterError, MountError};

/// Something about the words that were typed, found before anything was tried.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) String);

/// This host's daemon does not answer.
#[derive(Debug, thiserror::Error)]
#[error(
    "no daemon answers at {socket}: {source}; start it, name its folder by --state-dir, or be root: the socket is its owner's"
)]
pub(crate) struct NoDaemon {
    /// Where it was asked.
    pub(crate) socket: PathBuf,
    /// What the system said.
    pub(crate) source: io::Error,
}

/// The exit code of an error.
pub(crate) fn exit_code(error: &anyhow::Error) -> ExitCode {
    if error.is::<Usage>() || error.is::<MountError>() {
        return ExitCode::from(2);
    }
    if error.is::<NoDaemon>() {
        return ExitCode::from(5);
    }
    ExitCode::from(match error.downcast_ref::<ClusterError>() {
        Some(ClusterError::Endpoint { .. }) => 2,
        Some(ClusterError::MountUnknown { .. } | ClusterError::NodeUnknown { .. }) => 3,
        Some(ClusterError::MountExists { .. }) => 4,
        Some(ClusterError::Unreachable { .. }) => 5,
        _ => 1,
    })
}
