//! The kernel's side of DNS: what its maps should hold, and the program's life from load to detach.
//!
//! In: a [`Zone`](crate::dns::Zone). Out: map contents, a lease pushed ahead, verdict counters. Only `kernel.rs` and its
//! folder speak to the kernel. Never here: etcd, sockets.

mod desired;
mod half;
mod kernel;
mod lookers;
mod places;

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

pub use half::Fit;
pub use kernel::{
    Kernel, KernelPolicy, LatencyLook, Look, Pins, QueryLook, TraceEvents, Verified, XDP_LEASE_MS,
};
pub use lookers::{Lookers, TracedName, traced_name};

/// What the operator wants of XDP (`--xdp`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum XdpChoice {
    /// Native where the driver can, else generic, else userspace alone.
    Auto,
    /// Native or not at all.
    Native,
    /// Generic (in the network stack) or not at all.
    Generic,
    /// No kernel program.
    Off,
}

/// How the program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum XdpMode {
    /// In the driver.
    Native,
    /// In the network stack.
    Generic,
    /// Not attached: userspace answers everything.
    Off,
}

impl fmt::Display for XdpMode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Native => "native",
            Self::Generic => "generic",
            Self::Off => "off",
        })
    }
}

/// How the program is held where it is attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hold {
    /// It stays, answering, when this process is killed.
    pub pinned: bool,
    /// It was running when this process came, with the zone that it had.
    pub adopted: bool,
}

/// What an operator can mend about the kernel's side.
#[derive(Debug, thiserror::Error)]
pub enum DataplaneError {
    /// Built without the kernel program.
    #[error(
        "this autoradio-edge was built without the kernel program; build it with `cargo xtask build-ebpf` first, or run with --xdp off"
    )]
    NoObject,
    /// The kernel does not let us use BPF.
    #[error(
        "no permission for BPF; run as root or with CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON, or with --xdp off: {reason}"
    )]
    Permission {
        /// What the kernel said.
        reason: String,
    },
    /// The interface does not exist.
    #[error(
        "there is no network interface {interface}; `ip link` lists them, --interface chooses one"
    )]
    NoInterface {
        /// The name given.
        interface: String,
    },
    /// The interface has another XDP program.
    #[error(
        "interface {interface} already runs another XDP program; `ip link show {interface}` names it, `ip link set {interface} xdp off` \
         removes it; if an autoradio of another --name or --bpf-dir left it, `rm -r /sys/fs/bpf/autoradio/NAME` does; --xdp off does \
         without"
    )]
    Busy {
        /// The interface.
        interface: String,
    },
    /// The driver cannot run the program in this mode.
    #[error(
        "interface {interface} cannot run the program in {mode} mode; try --xdp auto: {reason}"
    )]
    Attach {
        /// The interface.
        interface: String,
        /// The mode tried.
        mode: XdpMode,
        /// What the kernel said.
        reason: String,
    },
    /// The kernel lacks what the program needs.
    #[error(
        "the kernel program needs Linux 5.18 or newer, and this is {release}; with --xdp off userspace answers all of DNS"
    )]
    OldKernel {
        /// The running kernel's release.
        release: String,
    },
    /// The kernel refused the program, or the object is damaged.
    #[error("the kernel program could not be loaded: {reason}")]
    Load {
        /// What was refused, and why.
        reason: String,
    },
    /// The program cannot outlive this process.
    #[error(
        "the kernel program is not pinned at {folder}, so DNS is not answered while the daemon restarts: {reason}; \
         `mount -t bpf bpf /sys/fs/bpf` makes the place, --bpf-dir chooses another", folder = folder.display()
    )]
    Unpinned {
        /// Where it should be pinned.
        folder: PathBuf,
        /// What is in the way.
        reason: String,
    },
    /// Another daemon holds this node's program.
    #[error(
        "another daemon of this node's name runs its kernel program ({folder} is locked); give each its own --name or --bpf-dir",
        folder = folder.display()
    )]
    Taken {
        /// What it holds.
        folder: PathBuf,
    },
    /// Not a name to trace.
    #[error("{name:?} is no name that the kernel looks at: those have 1 to 61 characters")]
    TracedName {
        /// What was given.
        name: String,
    },
    /// Too many look at queries.
    #[error("too many look at this node's queries already; end one `radioctl dns trace`")]
    TooManyLook,
    /// Nothing to look into.
    #[error(
        "no kernel program runs on this node, so there is nothing to look into; --xdp chooses one"
    )]
    NotRunning,
    /// A map could not be written or read.
    #[error("map {map}: {reason}")]
    Map {
        /// The map.
        map: &'static str,
        /// What the kernel said.
        reason: String,
    },
}
