//! Who has which core: the load generator's one thread has core 0 in every set-up.
//!
//! *Apart*, a server has core 1 to itself, and one worker. That is the most that a server in userspace can do here, and
//! nothing disturbs the generator. But what a query's arrival costs falls on the core that sent it, and there the whole work
//! of a kernel program: its rate, and the limit that it is held against, are those of the generator's core alone, while the
//! other core stands idle.
//!
//! *Together*, nobody is kept to a core, and every server has a worker for each, as they are run: the flood and its
//! answers are then paid by the whole machine, whoever does them. Servers in userspace may do worse than apart, because
//! some of their queries wait on the core where the generator runs; which is what a flood on every core is.

use std::thread;

use anyhow::{Context, Result};

use crate::bench::cores::{self, SERVER_CORE};

/// One way to share the cores out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Setup {
    Apart,
    Together,
}

impl Setup {
    pub(super) const ALL: [Self; 2] = [Self::Apart, Self::Together];

    /// Its name in the result.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Apart => "apart",
            Self::Together => "together",
        }
    }
}

/// The machine's cores, counted before this program keeps itself to some of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cores(usize);

impl Cores {
    pub(super) fn count() -> Result<Self> {
        thread::available_parallelism().map(|cores| Self(cores.get())).context("counting the cores")
    }

    /// Workers of a server.
    pub(super) const fn workers(self, setup: Setup) -> usize {
        match setup {
            Setup::Apart => 1,
            Setup::Together => self.0,
        }
    }

    /// From here on, this program and all it starts run where servers do.
    pub(super) fn keep_to(self, setup: Setup) -> Result<()> {
        match setup {
            Setup::Apart => cores::keep_to([SERVER_CORE]),
            Setup::Together => cores::keep_to(0..self.0),
        }
    }
}
