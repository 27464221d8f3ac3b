//! The hub: all channels of a node, and all who listen.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use autoradio_common::limits::STREAM_DIALS_MAX;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::channel::{Channel, Ended, Phase, Use};
use super::socket::Command;
use crate::cluster::{IcecastSecrets, MountPath, NodeName};
use crate::placement::Placement;

/// What the hub has to know of its node.
#[derive(Clone, Debug)]
pub struct HubSettings {
    /// This node.
    pub node: NodeName,
    /// This node's own Icecast.
    pub icecast: SocketAddr,
    /// What Icecasts are shown, where a mount is not open to all.
    pub secrets: IcecastSecrets,
    /// Where listeners that have gone are told; who reads it too slowly misses some.
    pub ended: Option<mpsc::Sender<Ended>>,
}

/// Carries one stream per mount to all who listen to it here. Dropped, it closes them.
#[derive(Debug)]
pub struct Hub {
    pub(super) settings: HubSettings,
    pub(super) placements: watch::Receiver<Arc<Placement>>,
    pub(super) cancel: CancellationToken,
    /// Turns at asking Icecasts.
    pub(super) dials: Semaphore,
    pub(super) upstreams: TaskTracker,
    channels: Mutex<HashMap<MountPath, Arc<Channel>>>,
    threads: Vec<Sender<Command>>,
    next_id: AtomicU64,
}

impl Hub {
    pub(super) fn new(
        settings: HubSettings,
        placements: watch::Receiver<Arc<Placement>>,
        threads: Vec<Sender<Command>>,
    ) -> Self {
        Self {
            settings,
            placements,
            cancel: CancellationToken::new(),
            dials: Semaphore::new(STREAM_DIALS_MAX),
            upstreams: TaskTracker::new(),
            channels: Mutex::default(),
            threads,
            next_id: AtomicU64::new(1),
        }
    }

    /// A number for one more listener.
    pub(super) fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Gives a command to the thread that has the listener of this number.
    pub(super) fn command(&self, id: u64, command: Command) {
        let thread = id % self.threads.len() as u64;
        // A thread that has ended has closed its listeners: the command goes the same way.
        let _ = self.threads[thread as usize].send(command);
    }

    /// Gives a command to every thread.
    pub(super) fn command_all(&self, command: impl Fn() -> Command) {
        for id in 0..self.threads.len() as u64 {
            self.command(id, command());
        }
    }

    /// The mount's channel, and whether it is new and needs an upstream.
    pub(super) fn channel(&self, mount: &MountPath) -> (Use, bool) {
        let mut channels = self.channels();
        if let Some(channel) = channels.get(mount).filter(|channel| !channel.has_ended()) {
            return (Use::of(channel.clone()), false);
        }
        let channel = Arc::new(Channel::new(mount.clone()));
        channels.insert(mount.clone(), channel.clone());
        (Use::of(channel), true)
    }

    /// Ends a channel that nobody uses. False if somebody does.
    pub(super) fn end_unused(&self, channel: &Arc<Channel>, phase: Phase) -> bool {
        let mut channels = self.channels();
        if channel.is_used() {
            return false;
        }
        channel.phase.send_replace(phase);
        forget(&mut channels, channel);
        true
    }

    /// Ends a channel, whoever listens.
    pub(super) fn end(&self, channel: &Arc<Channel>, phase: Phase) {
        channel.phase.send_replace(phase);
        forget(&mut self.channels(), channel);
    }

    pub(super) fn all_channels(&self) -> Vec<Arc<Channel>> {
        self.channels().values().cloned().collect()
    }

    pub(super) fn channels(&self) -> MutexGuard<'_, HashMap<MountPath, Arc<Channel>>> {
        // No panic can leave the map half-written.
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn forget(channels: &mut HashMap<MountPath, Arc<Channel>>, channel: &Arc<Channel>) {
    if channels.get(&channel.mount).is_some_and(|known| Arc::ptr_eq(known, channel)) {
        channels.remove(&channel.mount);
    }
}
