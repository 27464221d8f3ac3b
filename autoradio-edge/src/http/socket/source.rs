//! Sources: who may stream, and what each kind of client is answered. `master` finds the master's Icecast, `tunnel`
//! carries the audio.

use std::future::pending;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use autoradio_common::limits::HTTP_NEW_MOUNT_MS_MAX;
use bytes::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tracing::{info, warn};

use super::evict::{self, Order};
use super::master::{self, Accepted};
use super::server::Shared;
use super::sniff::Sniffed;
use super::title;
use super::tunnel::{self, End};
use crate::clock;
use crate::cluster::{MountPath, MountRecord};
use crate::http::reply::Reply;
use crate::http::route::{find_mount, record_of};
use crate::http::source_meter::SourceMeter;
use crate::http::{Body, FrontError, HttpVersion, RequestHead};
use crate::placement::Placement;

/// Pause before a client that has sent something early is looked at again.
const GONE_PAUSE: Duration = Duration::from_millis(100);

/// What a source is answered, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `HTTP/1.1 100 Continue` now, 200 when the body ends: PUT with `Expect` (ffmpeg, butt, curl).
    Continue,
    /// 200 now, as Icecast says it: everything that streams until it closes.
    AtOnce,
    /// 200 now, in HTTP/1.1: clients that send chunks. Some make their chunks depend on the answer's version.
    AtOnceChunked,
    /// 200 when the body ends: PUT of a file, which is a body like any other, only played as it comes.
    AtEnd,
    /// `OK` now: Icecast 1's form.
    Audiocast,
    /// Nothing: it has its answer.
    Answered,
}

/// A source as it came.
pub(super) struct Incoming<'a> {
    /// Its head.
    pub(super) head: &'a RequestHead,
    /// What was read past the head.
    pub(super) first: Bytes,
    /// Whose it is.
    pub(super) from: IpAddr,
}

impl Form {
    fn of(head: &RequestHead, body: &Body) -> Self {
        // Whatever the version: liquidsoap's PUT is HTTP/1.0 and still takes nothing but 100.
        let expects = head.lists("Expect", "100-continue");
        match body {
            _ if head.bare_password().is_some() => Self::Audiocast,
            _ if expects => Self::Continue,
            Body::Counted(_) => Self::AtEnd,
            Body::Chunked(_) => Self::AtOnceChunked,
            Body::UntilClose => Self::AtOnce,
        }
    }

    /// Whether an answer is owed when the body has ended.
    fn owes_end(self) -> bool {
        matches!(self, Self::Continue | Self::AtEnd)
    }

    /// What goes out before the audio comes in.
    fn opening(self) -> &'static [u8] {
        match self {
            Self::Continue => b"HTTP/1.1 100 Continue\r\n\r\n",
            Self::AtOnce => b"HTTP/1.0 200 OK\r\n\r\n",
            Self::AtOnceChunked => b"HTTP/1.1 200 OK\r\n\r\n",
            Self::Audiocast => b"OK\r\n",
            Self::AtEnd | Self::Answered => b"",
        }
    }
}

/// Serves a source that came by HTTP.
pub(super) async fn serve(
    shared: &Shared,
    client: &mut TcpStream,
    request: &Sniffed,
    mount: &MountPath,
) -> Result<(), FrontError> {
    let record = record_of(&shared.placement(), mount)?;
    shared.authorize(&request.head, &record).await?;
    admit(&record)?;
    let body = Body::of(&request.head)?;
    let form = Form::of(&request.head, &body);
    if body == Body::Counted(0) {
        // A body of no bytes is a question about the password: it must not take a live source's place.
        return answer_end(client, request.head.version).await;
    }
    let incoming = Incoming { head: &request.head, first: request.rest(), from: request.from };
    play(shared, client, incoming, &record, (form, body)).await
}

/// Serves a source of a mount that is not known here: one created a moment ago may just not have come to this node yet, and most
/// sources that are sent away do not come again.
pub(super) async fn serve_unknown(
    shared: &Shared,
    client: &mut TcpStream,
    request: &Sniffed,
    path: &str,
) -> Result<(), FrontError> {
    let longest = Duration::from_millis(HTTP_NEW_MOUNT_MS_MAX);
    let announced = tokio::time::timeout(longest, announced(shared.placements.clone(), path));
    match announced.await {
        Ok(mount) => serve(shared, client, request, &mount).await,
        Err(_) => Err(FrontError::MountUnknown { path: path.to_owned() }),
    }
}

/// Returns once there is a mount at this path.
async fn announced(mut placements: watch::Receiver<Arc<Placement>>, path: &str) -> MountPath {
    loop {
        if let Some(mount) = find_mount(path, &placements.borrow_and_update()) {
            return mount;
        }
        if placements.changed().await.is_err() {
            // No placement will come any more.
            pending::<()>().await;
        }
    }
}

/// Whether the mount takes sources at all.
pub(super) fn admit(record: &MountRecord) -> Result<(), FrontError> {
    match record.relay_url {
        Some(_) => Err(FrontError::Pulled { mount: record.path.clone() }),
        None => Ok(()),
    }
}

/// Plays a source that may stream until it, its Icecast, its placement, this node's standing or the front ends.
pub(super) async fn play(
    shared: &Shared,
    client: &mut TcpStream,
    incoming: Incoming<'_>,
    record: &MountRecord,
    (form, body): (Form, Body),
) -> Result<(), FrontError> {
    let (mount, version) = (&record.path, incoming.head.version);
    let turn = shared.desk.take(mount).await;
    let end = tokio::select! {
        end = async {
            let accepted = tokio::select! {
                accepted = master::accept(shared, incoming.head, record) => accepted,
                // A client that is gone must not take the mount from one that has come again meanwhile.
                () = gone(client) => return Ok(End::Client),
            };
            let accepted = accepted
                .inspect_err(|error| warn!(%mount, %error, "source refused: no master takes it"))?;
            stream(shared, client, &incoming, record, (accepted, form, body)).await
        } => end?,
        () = turn.stop.cancelled() => End::Takeover,
        () = turn.killed.cancelled() => End::Killed,
        () = shared.cancel.cancelled() => End::Stopped,
    };
    drop(turn);
    metrics::counter!("autoradio_http_tunnels_ended_total", "reason" => end.label()).increment(1);
    if let End::Limit(limit) = end {
        warn!(%mount, from = %incoming.from, %limit, "source closed: it is over a limit of its mount");
    }
    info!(%mount, reason = end.label(), "source left");
    match end {
        End::Body if form.owes_end() => answer_end(client, version).await,
        End::Malformed if form.owes_end() => Err(FrontError::ChunkMalformed),
        _ => Ok(()),
    }
}

/// Streams for as long as what the master accepted the source under stands.
async fn stream(
    shared: &Shared,
    client: &mut TcpStream,
    incoming: &Incoming<'_>,
    record: &MountRecord,
    (accepted, form, body): (Accepted, Form, Body),
) -> Result<End, FrontError> {
    let Accepted { binding, address, icecast } = accepted;
    let (mount, epoch) = (&binding.mount, binding.master.epoch);
    let content_type = incoming.head.field_text("Content-Type");
    let on_air = shared.stats.on_air(mount, content_type.unwrap_or("audio/mpeg"));
    let opening = client.write_all(form.opening()).await;
    opening.map_err(|source| FrontError::Client { source })?;
    let user_agent = incoming.head.field_text("User-Agent");
    info!(%mount, %address, epoch, from = %incoming.from, user_agent, "source connected");
    let mut meter = SourceMeter::new(&record.source_limits, clock::now());
    let sending = (client, &incoming.first[..], body);
    let carrying = tunnel::pump(sending, icecast, &on_air, &mut meter);
    Ok(tokio::select! {
        end = carrying => end,
        never = title::replay(shared, &binding, address) => match never {},
        () = binding.broken(shared.placements.clone()) => End::Placement,
        order = evict::ordered(shared.settings.standing.clone()),
            if binding.master.node == shared.settings.node => match order {
                Order::SteppedDown => End::SteppedDown,
                Order::Alone => End::Alone,
            },
    })
}

/// Returns when the client has closed; not while it has sent something that nobody has read.
async fn gone(client: &TcpStream) {
    while matches!(client.peek(&mut [0]).await, Ok(1..)) {
        tokio::time::sleep(GONE_PAUSE).await;
    }
}

async fn answer_end(client: &mut TcpStream, version: HttpVersion) -> Result<(), FrontError> {
    let bytes = Reply::empty().to_bytes(version);
    let written = client.write_all(&bytes).await;
    written.map_err(|source| FrontError::Client { source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::head_of;

    #[test]
    fn each_client_is_answered_in_the_form_it_waits_for() {
        for (who, text, want) in [
            ("libshout", "SOURCE /m HTTP/1.0\r\nContent-Length: 0\r\n\r\n", Form::AtOnce),
            ("ffmpeg", "PUT /m HTTP/1.1\r\nExpect: 100-continue\r\n\r\n", Form::Continue),
            ("ffmpeg legacy", "SOURCE /m HTTP/1.1\r\n\r\n", Form::AtOnce),
            (
                "liquidsoap, SOURCE in chunks",
                "SOURCE /m HTTP/1.1\r\nTransfer-Encoding: chunked\r\nHost: \r\n\r\n",
                Form::AtOnceChunked,
            ),
            (
                "curl -T -",
                "PUT /m HTTP/1.1\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n",
                Form::Continue,
            ),
            (
                "butt",
                "PUT /m HTTP/1.1\r\nExpect: 100-continue\r\nice-audio-info: ice-bitrate=128\r\n\r\n",
                Form::Continue,
            ),
            ("butt, when that failed", "SOURCE /m HTTP/1.0\r\n\r\n", Form::AtOnce),
            ("Icecast 1", "SOURCE hackme /m\nx-audiocast-name: x\n\n", Form::Audiocast),
            ("curl -T file", "PUT /m HTTP/1.1\r\nContent-Length: 9\r\n\r\n", Form::AtEnd),
            (
                "liquidsoap, PUT",
                "PUT /m HTTP/1.0\r\nice-name: x\r\nExpect: 100-continue\r\n\r\n",
                Form::Continue,
            ),
        ] {
            let head = head_of(text);
            let body = Body::of(&head).expect(who);
            assert_eq!(Form::of(&head, &body), want, "{who}");
        }
    }
}
