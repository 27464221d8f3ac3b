//! Who runs on which core.

use anyhow::{Context, Result};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

/// The core of the load generator: its alone, unless servers run on every core.
pub(super) const GENERATOR_CORE: usize = 0;
/// The core of a server that is apart from it, and of this program while such servers run.
pub(super) const SERVER_CORE: usize = 1;

/// From here on, this program and all it starts run on these cores only.
pub(super) fn keep_to(cores: impl IntoIterator<Item = usize>) -> Result<()> {
    let mut allowed = CpuSet::new();
    cores.into_iter().try_for_each(|core| allowed.set(core))?;
    sched_setaffinity(Pid::from_raw(0), &allowed)
        .context("this needs two cores, one for the servers and one for the load generator")
}
