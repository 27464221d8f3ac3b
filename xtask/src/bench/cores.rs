//! Who runs on which core.

use anyhow::{Context, Result};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

/// The core that only the load generator uses.
pub(super) const GENERATOR_CORE: usize = 0;
/// The core of the server, and of this program while servers run.
pub(super) const SERVER_CORE: usize = 1;

/// From here on, this program and all it starts run on one core.
pub(super) fn keep_to(core: usize) -> Result<()> {
    let mut cores = CpuSet::new();
    cores.set(core)?;
    sched_setaffinity(Pid::from_raw(0), &cores)
        .context("this needs two cores, one for the servers and one for the load generator")
}
