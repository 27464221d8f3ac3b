//! What a mount's record says about its stream. Pure.

use std::time::Duration;

use crate::cluster::{MountPath, MountRecord};

/// The settings of a mount that concern its listeners' stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    /// How long listeners are kept without anything to play.
    pub(super) grace: Duration,
    /// The mount whose stream they get meanwhile.
    pub(super) fallback: Option<MountPath>,
    /// What a listener gets at once, in bytes.
    pub(super) burst_bytes: u64,
}

impl Terms {
    /// Those of this record.
    pub(super) fn of(record: &MountRecord) -> Self {
        Self {
            grace: Duration::from_secs(record.grace_s.into()),
            fallback: record.fallback.clone(),
            burst_bytes: record.burst_bytes.into(),
        }
    }
}
