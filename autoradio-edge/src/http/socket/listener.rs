//! Listeners: sent to the node that has room for them; here, given to the hub, with their place and seat.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use autoradio_common::limits::{HTTP_STALL_MS_MAX, STREAM_GUEST_BYTES_MAX};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::door::Place;
use super::icecast;
use super::redirect;
use super::server::{Connection, Shared, refuse};
use super::sniff::Sniffed;
use super::tcp;
use crate::cluster::{MountPath, MountRecord};
use crate::http::reply::Reply;
use crate::http::route::record_of;
use crate::http::stats::Seat;
use crate::http::{FrontError, HttpVersion, RequestHead};
use crate::icecast::relay_credentials;
use crate::placement::Placement;
use crate::stream::{self, Guest, StreamError, StreamRange, Tuned, Wish};

/// What a listener holds of this front, until it has gone.
struct Held {
    seat: Seat,
    _place: Place,
}

impl stream::Seat for Held {
    fn sent(&self, bytes: u64) {
        self.seat.sent(bytes);
    }

    fn move_to(&mut self, mount: &MountPath) {
        self.seat.move_to(mount);
    }
}

/// What becomes of a listener.
enum Verdict {
    /// It is served elsewhere.
    Elsewhere(String),
    /// It is served here; as a part of something longer, if its mount answers so.
    Here(Tuned, Seat, IpAddr, Option<StreamRange>),
}

/// Gives a listener to the hub, or says where it is served. One who has `landed`, sent by another node, is not sent on by this
/// one. Returns the connection of one who was sent elsewhere and may ask again on it.
pub(super) async fn serve(
    shared: &Shared,
    mut client: TcpStream,
    request: &Sniffed,
    (mount, landed): (&MountPath, bool),
    place: Place,
) -> Option<Connection> {
    let head = &request.head;
    let verdict = match judge(shared, request, mount, landed).await {
        Ok(verdict) => verdict,
        Err(error) => {
            Box::pin(refuse(client, head.version, &error)).await;
            return None;
        }
    };
    match verdict {
        Verdict::Elsewhere(location) => {
            let (reply, kept) = (Reply::redirect(location), may_ask_again(request));
            let reply = if kept { reply.to_kept_bytes() } else { reply.to_bytes(head.version) };
            // Who does not take it has gone.
            let written = client.write_all(&reply).await.is_ok();
            (written && kept).then_some((client, place))
        }
        Verdict::Here(tuned, seat, address, range) => {
            if tcp::tune(&client).is_err() {
                return None;
            }
            redirect::note_served(&shared.settings);
            if let Some(piece) = piece(shared, &tuned, range).await {
                // Who does not take it has gone.
                let stall_max = Duration::from_millis(HTTP_STALL_MS_MAX);
                let _ = tokio::time::timeout(stall_max, client.write_all(&piece)).await;
                return None;
            }
            let titles = head.field_text("Icy-MetaData") == Some("1");
            let wish = Wish { titles, range: range.map(StreamRange::to_the_end) };
            let holding = Box::new(Held { seat, _place: place });
            // It fails only if the client has gone.
            let _ = shared.hub.enter(tuned, client, guest(head, address), wish, holding);
            None
        }
    }
}

/// Whether the connection is one that HTTP keeps after the answer (RFC 9112 §9.3), with nothing on it that is not read. One of
/// a proxy is not kept: the next request on it may be another client's, and what the proxy says before it would be missing, or
/// be said by the client.
fn may_ask_again(request: &Sniffed) -> bool {
    let head = &request.head;
    let has_body = ["Content-Length", "Transfer-Encoding"].map(|name| head.field(name).is_some());
    head.version == HttpVersion::Http11
        && !head.lists("Connection", "close")
        && has_body == [false; 2]
        && !request.by_proxy
        && request.rest().is_empty()
}

async fn judge(
    shared: &Shared,
    request: &Sniffed,
    mount: &MountPath,
    landed: bool,
) -> Result<Verdict, FrontError> {
    let placement = shared.placement();
    let record = record_of(&placement, mount)?;
    let from = request.from;
    if let Some(location) = redirect::elsewhere(shared, &placement, request, from, mount, landed)? {
        return Ok(Verdict::Elsewhere(location));
    }
    let leave = shared.settings.listener_gate.admit(request, &record).await?;
    let seat = shared.stats.seat(mount, record.max_listeners);
    let seat = seat.ok_or_else(|| FrontError::MountFull { mount: mount.clone() })?.until(leave);
    let tuned = shared.hub.tune(mount).await.map_err(|error| no_stream(error, mount))?;
    let range = request.head.field_text("Range").filter(|_| record.range);
    let range = range.and_then(StreamRange::parse);
    Ok(Verdict::Here(tuned, seat, from.to_canonical(), range))
}

/// The whole answer to who wants but a few bytes, to see whether they would be given.
async fn piece(shared: &Shared, tuned: &Tuned, range: Option<StreamRange>) -> Option<Vec<u8>> {
    let range = range?;
    shared.hub.piece(tuned, range, range.bytes()?).await
}

/// What is kept of a listener, for the operator.
fn guest(head: &RequestHead, address: IpAddr) -> Guest {
    let field = |name| head.field_text(name).map(cut);
    Guest {
        address,
        request: cut(&format!("{} {} {}", head.method, head.target, head.version)),
        referer: field("Referer"),
        agent: field("User-Agent"),
    }
}

/// At most [`STREAM_GUEST_BYTES_MAX`] of it.
fn cut(text: &str) -> Box<str> {
    let mut end = text.len().min(STREAM_GUEST_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].into()
}

fn no_stream(error: StreamError, mount: &MountPath) -> FrontError {
    let mount = mount.clone();
    match error {
        StreamError::MountUnknown => FrontError::MountUnknown { path: mount.to_string() },
        StreamError::NoMaster => FrontError::NoMaster { mount },
        StreamError::NoSource | StreamError::OtherType { .. } => FrontError::NoSource { mount },
        StreamError::Stopping => FrontError::NoRoom,
        unreachable => FrontError::StreamUnreachable { mount, source: unreachable },
    }
}

/// The answer to HEAD, without a stream: what the front that has the source reports of it.
///
/// A source that came to an Icecast directly is known to the master's Icecast alone.
pub(super) async fn head(shared: &Shared, mount: &MountPath) -> Result<Reply, FrontError> {
    let placement = shared.placement();
    let content_type = if let Some(content_type) = reported_type(shared, &placement, mount) {
        content_type
    } else {
        let record = record_of(&placement, mount)?;
        asked_type(shared, shared.master_of(&placement, mount)?, &record).await?
    };
    Ok(Reply::bare(
        200,
        vec![
            ("Content-Type", content_type),
            ("Cache-Control", "no-cache, no-store".to_owned()),
            ("Access-Control-Allow-Origin", "*".to_owned()),
        ],
    ))
}

fn reported_type(shared: &Shared, placement: &Placement, mount: &MountPath) -> Option<String> {
    let reported = || {
        let source = placement.mounts.get(mount)?.source.as_ref()?;
        Some(source.record.content_type.clone())
    };
    shared.stats.live_content_type(mount).or_else(reported)
}

/// The type that an Icecast gives the stream now. It knows no HEAD, so the stream is begun and left.
async fn asked_type(
    shared: &Shared,
    address: SocketAddr,
    record: &MountRecord,
) -> Result<String, FrontError> {
    let mount = &record.path;
    let own = relay_credentials(&shared.settings.secrets, record);
    let own = own.map(|own| format!("Authorization: {own}\r\n")).unwrap_or_default();
    let path = mount.to_url_path();
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n{own}\r\n");
    let answer = icecast::ask(address, request.as_bytes()).await?;
    match answer.status {
        200 => Ok(answer.field("Content-Type").unwrap_or_else(|| "audio/mpeg".to_owned())),
        404 => Err(FrontError::NoSource { mount: mount.clone() }),
        _ => Err(answer.refusal().await),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::head_of;

    #[test]
    fn a_connection_is_kept_only_where_http_keeps_it_and_nothing_is_left_on_it() {
        let plain = "GET /m HTTP/1.1\r\n\r\n";
        for (why, text, by_proxy, want) in [
            ("HTTP/1.1", plain, false, true),
            ("HTTP/1.0", "GET /m HTTP/1.0\r\n\r\n", false, false),
            ("the client closes", "GET /m HTTP/1.1\r\nConnection: Close\r\n\r\n", false, false),
            ("a body", "GET /m HTTP/1.1\r\nContent-Length: 3\r\n\r\n", false, false),
            ("more than the head", "GET /m HTTP/1.1\r\n\r\nGET", false, false),
            ("a proxy's", plain, true, false),
        ] {
            let from = [192, 0, 2, 1].into();
            let request = Sniffed { head: head_of(text), bytes: text.into(), from, by_proxy };
            assert_eq!(may_ask_again(&request), want, "{why}");
        }
    }

    #[test]
    fn what_is_kept_of_a_listener_is_cut() {
        let agent = "\u{e9}".repeat(STREAM_GUEST_BYTES_MAX);
        let text = format!("GET /m HTTP/1.1\r\nUser-Agent: {agent}\r\nReferer: http://r/\r\n\r\n");
        let guest = guest(&head_of(&text), [192, 0, 2, 1].into());
        assert_eq!(&*guest.request, "GET /m HTTP/1.1");
        assert_eq!(guest.referer.as_deref(), Some("http://r/"));
        let kept = guest.agent.expect("an agent");
        assert!(kept.len() <= STREAM_GUEST_BYTES_MAX && agent.starts_with(&*kept));
    }
}
