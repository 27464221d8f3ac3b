//! What is measured, each on a wire of its own; none is measured before it has answered rightly.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use autoradio_lab::topology::INTERFACE;
use autoradio_lab::{Host, Lab, Running};
use serde_json::json;

use super::peer::Peer;
use super::{gdnsd, knot, nsd, zone};
use crate::workspace;

/// How long a server may take until it answers.
const SOON: Duration = Duration::from_secs(20);
/// What else autoradio is started with: one client that asks as fast as it can is what is measured, not what is limited.
const AUTORADIO_ARGS: [&str; 2] = ["--dns-rrl", "off"];

/// One subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    /// A kernel program that only sends queries back: the limit.
    Reflect,
    /// autoradio, its kernel program in native mode.
    AutoradioXdp,
    /// autoradio without a kernel program.
    AutoradioUserspace,
    Knot,
    Nsd,
    Gdnsd,
}

/// A subject that runs, and the load generator's host at the other end of its wire.
pub(super) struct Arena {
    /// A peer; ended before the lab it runs in.
    daemon: Option<Running>,
    lab: Lab,
    /// Bytes of DNS message in every right answer.
    pub(super) answer_bytes: usize,
}

impl Arena {
    pub(super) fn server(&self) -> &Host {
        self.lab.node(1).host()
    }

    pub(super) fn generator(&self) -> &Host {
        self.lab.client(1).host()
    }
}

impl Subject {
    pub(super) const ALL: [Self; 6] = [
        Self::Reflect,
        Self::AutoradioXdp,
        Self::AutoradioUserspace,
        Self::Knot,
        Self::Nsd,
        Self::Gdnsd,
    ];

    /// Its name in the result.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Reflect => "reflect",
            Self::AutoradioXdp => "autoradio-xdp",
            Self::AutoradioUserspace => "autoradio-userspace",
            Self::Knot => "knot",
            Self::Nsd => "nsd",
            Self::Gdnsd => "gdnsd",
        }
    }

    /// Whether it is somebody else's server.
    pub(super) const fn is_peer(self) -> bool {
        matches!(self, Self::Knot | Self::Nsd | Self::Gdnsd)
    }

    /// Starts it, and returns once it has answered rightly. autoradio has a worker for each core that it may use; the others
    /// are told.
    pub(super) fn start(self, programs: &Path, workers: usize) -> Result<Arena> {
        let xdp = if self == Self::AutoradioXdp { "native" } else { "off" };
        let builder = Lab::builder().direct().xdp(xdp).args(&AUTORADIO_ARGS).binaries(programs);
        let answer_bytes =
            if self == Self::Reflect { zone::QUERY_BYTES } else { zone::ANSWER_BYTES };
        let mut arena = Arena { daemon: None, lab: builder.build()?, answer_bytes };
        let peer = |peer: fn(&Path, Ipv4Addr, usize) -> Peer| {
            let host = arena.server();
            peer(host.folder(), host.v4(), workers).start(host).map(Some)
        };
        arena.daemon = match self {
            Self::Reflect => attach_reflect(arena.server()).map(|()| None),
            Self::AutoradioXdp | Self::AutoradioUserspace => {
                start_autoradio(&arena.lab).map(|()| None)
            }
            Self::Knot => peer(knot::peer),
            Self::Nsd => peer(nsd::peer),
            Self::Gdnsd => peer(gdnsd::peer),
        }?;
        self.prove(&arena)?;
        Ok(arena)
    }

    /// Waits for the right answer, and makes sure of who gave it.
    fn prove(self, arena: &Arena) -> Result<()> {
        let mut said = String::new();
        let right = arena.lab.wait_until("the answer is right", SOON, || {
            said = ask(arena).unwrap_or_else(|error| error.to_string());
            if self == Self::Reflect { zone::is_reflected(&said) } else { zone::is_right(&said) }
        });
        let log = arena.daemon.as_ref().map(Running::log_tail).unwrap_or_default();
        right.with_context(|| format!("kdig said:\n{said}\nthe server said:\n{log}"))?;
        if !matches!(self, Self::AutoradioXdp | Self::AutoradioUserspace) {
            return Ok(());
        }
        let dns = arena.lab.node(1).status()?.dns;
        if (dns.kernel_answers > 0) != (self == Self::AutoradioXdp) {
            bail!("the kernel gave {} of {} answers", dns.kernel_answers, dns.answers);
        }
        Ok(())
    }
}

fn ask(arena: &Arena) -> Result<String> {
    let at = format!("@{}", arena.server().v4());
    let words = [at.as_str(), zone::NAME, "A", "+edns", "+time=1", "+retry=0"];
    Ok(arena.generator().run("kdig", &words)?)
}

fn attach_reflect(host: &Host) -> Result<()> {
    let object = workspace::target().join("bpf/reflect").display().to_string();
    let words = ["link", "set", "dev", INTERFACE, "xdpdrv", "obj", &object, "sec", "xdp"];
    host.run("ip", &words).map(drop).context("attaching the program that reflects")
}

/// Starts the node, and makes it believe in two more, so that its answers have as many addresses as
/// everybody else's.
fn start_autoradio(lab: &Lab) -> Result<()> {
    lab.start_nodes()?;
    for (index, address) in zone::addresses().iter().enumerate().skip(1) {
        let name = format!("node{}", index + 1);
        let record = json!({
            "schema": 1, "name": name, "domain": zone::NAME, "addresses": [address],
            "peer_address": address, "http_port": 80, "icecast_port": 8000, "version": "0",
        });
        let key = format!("/autoradio/v1/nodes/{name}");
        lab.node(1).etcdctl(&["put", &key, &record.to_string()])?;
    }
    Ok(())
}
