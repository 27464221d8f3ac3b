//! Collects the node's status from the rooms.

use std::collections::BTreeMap;
use std::sync::Arc;

use autoradio_common::verdict::Fate;
use tokio::sync::watch;

use super::kernel::{SharedKernel, lock};
use crate::api::{DnsStatus, MountStatus, Parts, Status, XdpStatus};
use crate::cluster::{EtcdHealth, MountPath, NodeName, Snapshot, StandingReader};
use crate::dataplane::{Hold, XdpMode};
use crate::dns::Responder;
use crate::http::{FrontStats, MountView};
use crate::placement::{PlacedMount, Placement};

/// Everything a status is made of.
pub(super) struct StatusSource {
    pub(super) name: NodeName,
    pub(super) domain: String,
    pub(super) interface: Option<String>,
    pub(super) kernel: SharedKernel,
    pub(super) responder: Arc<Responder>,
    pub(super) stats: Arc<FrontStats>,
    pub(super) placements: watch::Receiver<Arc<Placement>>,
    pub(super) snapshots: watch::Receiver<Arc<Snapshot>>,
    pub(super) etcd: watch::Receiver<EtcdHealth>,
    pub(super) standing: StandingReader,
    pub(super) leaving: watch::Receiver<bool>,
    pub(super) icecast: watch::Receiver<bool>,
}

impl StatusSource {
    /// The status as a function, for the admin port.
    pub(super) fn function(self) -> impl Fn() -> Status + Send + Sync {
        move || self.now()
    }

    fn now(&self) -> Status {
        let placement = self.placements.borrow().clone();
        let parts = self.parts();
        let front = self.stats.view();
        let views: BTreeMap<_, _> = front.mounts.iter().map(|view| (&view.path, view)).collect();
        let mounts = placement.mounts.iter();
        Status {
            node: self.name.clone(),
            domain: self.domain.clone(),
            version: env!("CARGO_PKG_VERSION"),
            // Who balances load by readiness should go elsewhere while this node leaves.
            ready: parts.ready() && !*self.leaving.borrow(),
            parts,
            standing: self.standing.now().label(),
            draining: self.snapshots.borrow().draining.contains(&self.name),
            xdp: self.xdp(),
            dns: self.dns(),
            listeners: front.listeners,
            mounts: mounts
                .map(|(path, mount)| mount_status(path, mount, views.get(path)))
                .collect(),
        }
    }

    fn xdp(&self) -> XdpStatus {
        let kernel = self.kernel.as_ref().map(|kernel| lock(kernel));
        let mode = kernel.as_ref().map_or(XdpMode::Off, |kernel| kernel.mode());
        let Hold { pinned, adopted } = kernel.map(|kernel| kernel.hold()).unwrap_or_default();
        XdpStatus { mode, interface: self.interface.clone(), pinned, adopted }
    }

    fn parts(&self) -> Parts {
        let etcd = *self.etcd.borrow();
        Parts {
            dns: self.snapshots.borrow().nodes.contains_key(&self.name),
            etcd: etcd.watching && etcd.leased,
            icecast: *self.icecast.borrow(),
        }
    }

    fn dns(&self) -> DnsStatus {
        // Counters that cannot be read show as none: the error is in the log of whoever writes the maps.
        let verdicts = self.kernel.as_ref().and_then(|kernel| lock(kernel).verdicts().ok());
        let verdicts = verdicts.unwrap_or_default();
        let answered = verdicts.iter().filter(|(verdict, _)| verdict.fate() == Fate::Answered);
        let kernel_answers = answered.map(|(_, count)| *count).sum();
        let userspace_answers = self.responder.replies();
        DnsStatus {
            answers: kernel_answers + userspace_answers,
            kernel_answers,
            userspace_answers,
            verdicts: verdicts.iter().map(|(verdict, count)| (verdict.label(), *count)).collect(),
        }
    }
}

fn mount_status(path: &MountPath, mount: &PlacedMount, view: Option<&&MountView>) -> MountStatus {
    MountStatus {
        path: path.clone(),
        master: mount.master.as_ref().map(|master| master.node.clone()),
        epoch: mount.master.as_ref().map(|master| master.epoch),
        source_connected: view.is_some_and(|view| view.source_connected),
        source_seconds: view.map_or(0, |view| view.source_seconds),
        listeners: view.map_or(0, |view| view.listeners),
        bytes_in: view.map_or(0, |view| view.bytes_in),
        bytes_out: view.map_or(0, |view| view.bytes_out),
    }
}
