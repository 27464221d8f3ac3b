//! The upstream task of a channel: listens to the mount's master, and when it is lost sees to it that the stream goes on.

use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use autoradio_common::limits::{
    STREAM_ANNOUNCE_MS, STREAM_FALLBACKS_MAX, STREAM_LINGER_MS, STREAM_PROBE_MS,
    STREAM_REDIAL_MS_MIN, STREAM_SILENCE_MS_MAX, TUNNEL_BUFFER_BYTES,
};
use bytes::BytesMut;
use tokio::io::AsyncReadExt;
use tracing::{debug, info, warn};

use super::dial::{Connection, dial};
use crate::clock;
use crate::cluster::MountPath;
use crate::icecast::relay_credentials;
use crate::placement::Placement;
use crate::stream::channel::{Channel, Phase};
use crate::stream::continuity::Continuity;
use crate::stream::error::StreamError;
use crate::stream::feed::Feed;
use crate::stream::head::StreamHead;
use crate::stream::hub::Hub;
use crate::stream::terms::Terms;

/// How often a channel without listeners is looked at.
const UNUSED_LOOK: Duration = Duration::from_millis(500);

/// Where a mount's stream is, by a placement; another one is a reason to ask again at once.
#[derive(Clone, PartialEq, Eq)]
struct Standing {
    address: Result<SocketAddr, StreamError>,
    epoch: Option<i64>,
    has_source: bool,
}

/// Why a connection is carried no more.
enum Over {
    /// It has ended, or is silent.
    Lost,
    /// There is a better one.
    Better(Box<Connection>),
    /// What it brings cannot follow on what listeners have heard.
    Unfit(StreamError),
    /// Nobody listens, and the channel is gone.
    Unused,
}

/// A channel's task.
pub(super) struct Upstream {
    hub: Arc<Hub>,
    channel: Arc<Channel>,
    feed: Feed,
    continuity: Continuity,
    /// The fallback was tried, and is of another type than the own mount.
    fallback_unfit: bool,
    /// Why it ends, when it does.
    why: StreamError,
}

/// However the task ends, its listeners are not left with a stream that never goes on.
impl Drop for Upstream {
    fn drop(&mut self) {
        self.hub.end(&self.channel, Phase::Ended(self.why.clone()));
        metrics::gauge!("autoradio_stream_upstreams").decrement(1.0);
    }
}

impl Upstream {
    pub(super) fn new(hub: Arc<Hub>, channel: Arc<Channel>) -> Self {
        metrics::gauge!("autoradio_stream_upstreams").increment(1.0);
        Self {
            hub,
            channel,
            feed: Feed::default(),
            continuity: Continuity::default(),
            fallback_unfit: false,
            why: StreamError::Stopping,
        }
    }

    /// Runs until nobody listens any more, nothing can be played any more, or the hub stops.
    pub(super) async fn run(mut self) {
        let cancel = self.hub.cancel.clone();
        let Some(why) = cancel.run_until_cancelled(self.play()).await else { return };
        let listeners = self.channel.members().len();
        if listeners > 0 {
            warn!(mount = %self.channel.mount, listeners, %why, "the stream has ended for its listeners");
        }
        self.why = why;
    }

    async fn play(&mut self) -> StreamError {
        let mut next = None;
        loop {
            let connection = match next.take() {
                Some(connection) => connection,
                None => match self.attach().await {
                    Ok(connection) => connection,
                    Err(why) => return why,
                },
            };
            let own = connection.mount == self.channel.mount;
            let over = self.carry(connection).await;
            self.feed.interrupt(clock::boot_ms());
            self.channel.view.store(self.feed.view());
            match over {
                Over::Better(connection) => {
                    info!(mount = %self.channel.mount, "the stream goes on from its master");
                    next = Some(*connection);
                }
                Over::Lost => self.lost(StreamError::NoSource),
                Over::Unfit(why) if own => return why,
                Over::Unfit(why) => {
                    self.fallback_unfit = true;
                    self.lost(why);
                }
                Over::Unused => return StreamError::NoSource,
            }
        }
    }

    fn lost(&mut self, why: StreamError) {
        let now = clock::now();
        info!(mount = %self.channel.mount, listeners = self.channel.members().len(), "the stream is lost: looking for it");
        self.continuity.lost(now);
        self.channel.phase.send_replace(Phase::Off(why));
    }

    /// Finds somebody who plays the mount, or its fallback. The error is the end of the channel.
    async fn attach(&mut self) -> Result<Connection, StreamError> {
        loop {
            let mount = self.channel.mount.clone();
            let before = standing(&self.hub, &mount);
            let terms = self.terms()?;
            let failed = match ask(&self.hub, &mount).await {
                Ok(connection) => match fits(&self.channel, &connection.head) {
                    Ok(()) => return Ok(connection),
                    Err(why) => return Err(why),
                },
                Err(error) => error,
            };
            let now = clock::now();
            debug!(%mount, error = %failed, "the stream cannot be had");
            self.continuity.failed(&failed, now);
            if self.continuity.wants_fallback(&terms, now)
                && let Some(connection) = self.fallback(&terms).await
            {
                info!(%mount, fallback = %connection.mount, "the fallback plays");
                return Ok(connection);
            }
            self.channel.phase.send_replace(Phase::Off(failed.clone()));
            let unused = Phase::Ended(failed.clone());
            if self.continuity.is_over(&terms, clock::now())
                || self.hub.end_unused(&self.channel, unused)
            {
                return Err(failed);
            }
            let pause = self.continuity.pause(&terms, clock::now());
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = changes(&self.hub, &mount, &before) => {}
                () = wanted(&self.channel) => {}
            }
        }
    }

    /// What the mount's record says now.
    fn terms(&self) -> Result<Terms, StreamError> {
        let placement = self.hub.placements.borrow();
        let placed = placement.mounts.get(&self.channel.mount).ok_or(StreamError::MountUnknown)?;
        let terms = Terms::of(&placed.record);
        self.channel.burst_bytes.store(terms.burst_bytes, Ordering::Relaxed);
        Ok(terms)
    }

    /// The first fallback that plays something of the same type: the mount's, its fallback's, and so on.
    async fn fallback(&self, terms: &Terms) -> Option<Connection> {
        if self.fallback_unfit {
            return None;
        }
        let mut next = terms.fallback.clone();
        for _ in 0..STREAM_FALLBACKS_MAX {
            let mount = next.filter(|mount| *mount != self.channel.mount)?;
            if let Ok(connection) = ask(&self.hub, &mount).await
                && fits(&self.channel, &connection.head).is_ok()
            {
                return Some(connection);
            }
            let placement = self.hub.placements.borrow();
            let record = placement.mounts.get(&mount).map(|placed| placed.record.clone())?;
            drop(placement);
            next = Terms::of(&record).fallback;
        }
        None
    }

    /// Gives the channel what the connection brings.
    async fn carry(&mut self, connection: Connection) -> Over {
        let Connection { mount, address, head, begun, mut stream } = connection;
        let own = mount == self.channel.mount;
        let (hub, channel) = (self.hub.clone(), self.channel.clone());
        let better = better(&hub, &channel, (&mount, address));
        let unused = unused(&hub, &channel);
        let announce = tokio::time::sleep(Duration::from_millis(STREAM_ANNOUNCE_MS));
        tokio::pin!(better, unused, announce);
        self.feed.begin(&head);
        let head = Arc::new(head);
        let mut announced = false;
        let mut bytes = BytesMut::from(begun);
        loop {
            if !bytes.is_empty() {
                match self.feed.push(&bytes, clock::boot_ms()) {
                    Ok(0) => {}
                    Ok(_) => {
                        channel.view.store(self.feed.view());
                        if !announced {
                            self.announce(&head, own);
                            announced = true;
                        }
                    }
                    Err(why) => return Over::Unfit(why),
                }
                bytes.clear();
            }
            bytes.reserve(TUNNEL_BUFFER_BYTES);
            let silence_max = Duration::from_millis(STREAM_SILENCE_MS_MAX);
            tokio::select! {
                read = tokio::time::timeout(silence_max, stream.read_buf(&mut bytes)) => {
                    if !matches!(read, Ok(Ok(1..))) {
                        return Over::Lost;
                    }
                }
                connection = &mut better => return Over::Better(Box::new(connection)),
                () = &mut unused => return Over::Unused,
                // A source that is connected and says nothing yet has listeners all the same.
                () = &mut announce, if !announced => {
                    self.announce(&head, own);
                    announced = true;
                }
            }
        }
    }

    /// Tells those who wait that there is something to hear.
    fn announce(&mut self, head: &Arc<StreamHead>, own: bool) {
        let mount = &self.channel.mount;
        if self.channel.told.set(head.clone()).is_err() {
            metrics::counter!("autoradio_stream_redials_total").increment(1);
            info!(%mount, own, listeners = self.channel.members().len(), "the stream goes on");
        }
        self.continuity.plays(own);
        self.fallback_unfit &= !own;
        // Its record may have changed.
        let _ = self.terms();
        self.channel.phase.send_replace(Phase::Playing(head.clone()));
    }
}

/// Whether listeners of the channel can go on with this stream.
fn fits(channel: &Channel, head: &StreamHead) -> Result<(), StreamError> {
    let Some(told) = channel.told.get().filter(|told| !told.is_like(head)) else { return Ok(()) };
    Err(StreamError::OtherType {
        type_now: head.content_type.clone(),
        type_before: told.content_type.clone(),
    })
}

/// Asks the mount's master, whoever that is now.
async fn ask(hub: &Hub, mount: &MountPath) -> Result<Connection, StreamError> {
    let before = standing(hub, mount);
    let address = before.address.clone()?;
    let placement = hub.placements.borrow().clone();
    let record = placement.mounts.get(mount).map(|placed| &*placed.record);
    let own = record.and_then(|record| relay_credentials(&hub.settings.secrets, record));
    // The hub never closes its turns.
    let _turn = hub.dials.acquire().await;
    tokio::select! {
        asked = dial(address, mount, own.as_deref()) => asked,
        () = moves(hub, mount, &before) => Err(StreamError::NoMaster),
    }
}

/// Returns once the mount's own master plays it, if somebody else is `playing`.
async fn better(hub: &Hub, channel: &Channel, playing: (&MountPath, SocketAddr)) -> Connection {
    let own = &channel.mount;
    loop {
        let before = standing(hub, own);
        let elsewhere =
            playing.0 != own || before.address.as_ref().is_ok_and(|it| *it != playing.1);
        if !elsewhere {
            changes(hub, own, &before).await;
            continue;
        }
        if let Ok(connection) = ask(hub, own).await
            && fits(channel, &connection.head).is_ok()
        {
            return connection;
        }
        let pause = Duration::from_millis(STREAM_PROBE_MS);
        let _ = tokio::time::timeout(pause, changes(hub, own, &before)).await;
    }
}

/// Returns once nobody has listened for a while and the channel is gone.
async fn unused(hub: &Hub, channel: &Arc<Channel>) {
    let mut used_at = clock::now();
    loop {
        tokio::time::sleep(UNUSED_LOOK).await;
        if channel.is_used() {
            used_at = clock::now();
        } else if clock::now() - used_at >= Duration::from_millis(STREAM_LINGER_MS)
            && hub.end_unused(channel, Phase::Ended(StreamError::NoSource))
        {
            return;
        }
    }
}

/// Returns once somebody waits for the channel to play, and not at once after the last time.
async fn wanted(channel: &Channel) {
    tokio::time::sleep(Duration::from_millis(STREAM_REDIAL_MS_MIN)).await;
    channel.wanted.notified().await;
}

/// Returns once the mount stands otherwise than `before`.
async fn changes(hub: &Hub, mount: &MountPath, before: &Standing) {
    wait_for(hub, |placement| standing_in(hub, placement, mount) != *before).await;
}

/// Returns once the mount's stream is elsewhere than `before`.
async fn moves(hub: &Hub, mount: &MountPath, before: &Standing) {
    wait_for(hub, |placement| standing_in(hub, placement, mount).address != before.address).await;
}

async fn wait_for(hub: &Hub, wanted: impl Fn(&Placement) -> bool) {
    let mut placements = hub.placements.clone();
    let found = placements.wait_for(|placement| wanted(placement)).await.is_ok();
    if !found {
        // No placement will come any more.
        pending::<()>().await;
    }
}

fn standing(hub: &Hub, mount: &MountPath) -> Standing {
    standing_in(hub, &hub.placements.borrow(), mount)
}

fn standing_in(hub: &Hub, placement: &Placement, mount: &MountPath) -> Standing {
    let placed = placement.mounts.get(mount);
    let master = placed.and_then(|placed| placed.master.as_ref());
    let address = match (placed, master) {
        (None, _) => Err(StreamError::MountUnknown),
        (_, Some(master)) if master.node == hub.settings.node => Ok(hub.settings.icecast),
        _ => placement.master_icecast(mount).map(SocketAddr::from).ok_or(StreamError::NoMaster),
    };
    Standing {
        address,
        epoch: master.map(|master| master.epoch),
        has_source: placed.is_some_and(|placed| placed.source.is_some()),
    }
}
