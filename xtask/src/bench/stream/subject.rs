//! What is measured.

use std::path::Path;

use anyhow::Result;
use nix::sys::resource::{Resource, getrlimit};

use crate::bench::cores::SERVER_CORE;
use crate::bench::server::Server;

/// Descriptors that are not of listeners.
const OWN_DESCRIPTORS: u64 = 400;

/// One subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    /// One block to each socket per tick: the limit.
    BareLoop,
    Icecast,
    /// nginx in front of Icecast.
    Nginx,
    /// `HAProxy` in front of Icecast.
    Haproxy,
    Autoradio,
}

impl Subject {
    pub(super) const ALL: [Self; 5] =
        [Self::BareLoop, Self::Icecast, Self::Nginx, Self::Haproxy, Self::Autoradio];

    /// Its name in the result.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::BareLoop => "bare-loop",
            Self::Icecast => "icecast",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Autoradio => "autoradio",
        }
    }

    /// Starts it, with a source.
    pub(super) fn start(self, programs: &Path) -> Result<Server> {
        match self {
            Self::BareLoop => Server::bare_loop(programs, SERVER_CORE),
            Self::Icecast => Server::icecast(),
            Self::Nginx => Server::nginx(),
            Self::Haproxy => Server::haproxy(),
            Self::Autoradio => Server::autoradio(programs),
        }
    }

    /// As many listeners as descriptors allow: of the crowd's process and the server's, which for a proxy has two of each.
    /// autoradio keeps a quarter for other clients and for its etcd and Icecast.
    pub(super) fn listeners_max(self) -> Result<u32> {
        let (_, descriptors) = getrlimit(Resource::RLIMIT_NOFILE)?;
        let spared = descriptors.saturating_sub(OWN_DESCRIPTORS);
        let listeners = match self {
            Self::Nginx | Self::Haproxy => spared / 2,
            Self::BareLoop | Self::Icecast | Self::Autoradio => spared / 4 * 3,
        };
        Ok(u32::try_from(listeners)?)
    }
}
