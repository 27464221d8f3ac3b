//! A channel: one mount's stream on this node, and who listens to it.
//!
//! Its upstream task writes what is there to hear and how it stands; fan-out threads and joining listeners read.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use arc_swap::ArcSwap;
use tokio::sync::{Notify, mpsc, watch};

use super::error::StreamError;
use super::head::StreamHead;
use super::ring::View;
use crate::cluster::MountPath;

/// How a channel stands.
#[derive(Clone, Debug)]
pub(super) enum Phase {
    /// Nothing has been heard of the mount yet.
    Tuning,
    /// It plays.
    Playing(Arc<StreamHead>),
    /// It does not play, for that reason.
    Off(StreamError),
    /// It never will again: who wants to listen needs another channel.
    Ended(StreamError),
}

/// One mount's stream on this node.
#[derive(Debug)]
pub(super) struct Channel {
    pub(super) mount: MountPath,
    /// What there is to hear.
    pub(super) view: ArcSwap<View>,
    /// What a listener gets at once, in bytes.
    pub(super) burst_bytes: AtomicU64,
    pub(super) phase: watch::Sender<Phase>,
    /// Told when somebody waits for it to play.
    pub(super) wanted: Notify,
    /// What its first listeners were told: all that follows must be of that type.
    pub(super) told: OnceLock<Arc<StreamHead>>,
    members: Mutex<HashMap<u64, Arc<Visit>>>,
    users: AtomicUsize,
}

impl Channel {
    pub(super) fn new(mount: MountPath) -> Self {
        Self {
            mount,
            view: ArcSwap::default(),
            burst_bytes: AtomicU64::new(0),
            phase: watch::channel(Phase::Tuning).0,
            wanted: Notify::new(),
            told: OnceLock::new(),
            members: Mutex::default(),
            users: AtomicUsize::new(0),
        }
    }

    /// Whether its listeners are to go.
    pub(super) fn has_ended(&self) -> bool {
        matches!(*self.phase.borrow(), Phase::Ended(_))
    }

    /// Whether somebody listens, or is about to.
    pub(super) fn is_used(&self) -> bool {
        self.users.load(Ordering::Relaxed) > 0
    }

    /// Those who listen, by their number.
    pub(super) fn members(&self) -> MutexGuard<'_, HashMap<u64, Arc<Visit>>> {
        // No panic can leave the map half-written.
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps a channel's upstream while it lives.
#[derive(Debug)]
pub(super) struct Use(pub(super) Arc<Channel>);

impl Use {
    pub(super) fn of(channel: Arc<Channel>) -> Self {
        channel.users.fetch_add(1, Ordering::Relaxed);
        Self(channel)
    }

    /// One more use of the same channel.
    pub(super) fn again(&self) -> Self {
        Self::of(self.0.clone())
    }
}

impl Drop for Use {
    fn drop(&mut self) {
        self.0.users.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What is known of a listener when it comes.
#[derive(Clone, Debug)]
pub struct Guest {
    /// Where it comes from.
    pub address: IpAddr,
    /// First line of its request.
    pub request: Box<str>,
    /// Its `Referer`.
    pub referer: Option<Box<str>>,
    /// Its `User-Agent`.
    pub agent: Option<Box<str>>,
}

/// A listener as others see it.
#[derive(Debug)]
pub(super) struct Visit {
    pub(super) id: u64,
    pub(super) guest: Guest,
    pub(super) since: Instant,
    /// Bytes that it got, its head included.
    pub(super) bytes: AtomicU64,
    /// Bytes of the stream that it has not got, at the last tick.
    pub(super) lag_bytes: AtomicU64,
    /// Somebody wants it to go.
    pub(super) close: AtomicBool,
}

/// A listener of this node, for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerView {
    /// Its number, unique on this node.
    pub id: u64,
    /// What it listens to.
    pub mount: MountPath,
    /// Where it comes from.
    pub address: IpAddr,
    /// Its `User-Agent`.
    pub agent: Option<String>,
    /// How long it has listened, in seconds.
    pub connected_s: u64,
    /// What it got, in bytes, its head included.
    pub bytes: u64,
    /// What of the stream it has not got, in bytes.
    pub lag_bytes: u64,
}

/// A listener that has gone, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// As it was at its end.
    pub view: ListenerView,
    /// First line of its request.
    pub request: String,
    /// Its `Referer`.
    pub referer: Option<String>,
    /// When it went, in seconds of Unix time.
    pub unix_s: u64,
}

impl Visit {
    pub(super) fn new(id: u64, guest: Guest, now: Instant) -> Self {
        Self {
            id,
            guest,
            since: now,
            bytes: AtomicU64::new(0),
            lag_bytes: AtomicU64::new(0),
            close: AtomicBool::new(false),
        }
    }

    pub(super) fn view(&self, mount: &MountPath, now: Instant) -> ListenerView {
        ListenerView {
            id: self.id,
            mount: mount.clone(),
            address: self.guest.address,
            agent: self.guest.agent.as_deref().map(str::to_owned),
            connected_s: now.saturating_duration_since(self.since).as_secs(),
            bytes: self.bytes.load(Ordering::Relaxed),
            lag_bytes: self.lag_bytes.load(Ordering::Relaxed),
        }
    }

    fn ended(&self, mount: &MountPath, now: Instant, unix_s: u64) -> Ended {
        Ended {
            view: self.view(mount, now),
            request: self.guest.request.to_string(),
            referer: self.guest.referer.as_deref().map(str::to_owned),
            unix_s,
        }
    }
}

/// A listener's place in its channel: it is listed while this lives.
#[derive(Debug)]
pub(super) struct Membership {
    channel: Use,
    pub(super) visit: Arc<Visit>,
}

impl Membership {
    pub(super) fn new(channel: Use, visit: Arc<Visit>) -> Self {
        channel.0.members().insert(visit.id, visit.clone());
        metrics::gauge!("autoradio_stream_listeners").increment(1.0);
        Self { channel, visit }
    }

    pub(super) fn channel(&self) -> &Arc<Channel> {
        &self.channel.0
    }

    /// Lists the listener in another channel.
    pub(super) fn move_to(&mut self, channel: Use) {
        self.channel().members().remove(&self.visit.id);
        channel.0.members().insert(self.visit.id, self.visit.clone());
        self.channel = channel;
    }

    /// Tells the log that the listener has gone, at this moment.
    pub(super) fn log(&self, ended: Option<&mpsc::Sender<Ended>>, now: Instant, unix_s: u64) {
        let Some(ended) = ended else { return };
        if ended.try_send(self.visit.ended(&self.channel().mount, now, unix_s)).is_err() {
            metrics::counter!("autoradio_stream_unlogged_total").increment(1);
        }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.channel().members().remove(&self.visit.id);
        metrics::gauge!("autoradio_stream_listeners").decrement(1.0);
    }
}
