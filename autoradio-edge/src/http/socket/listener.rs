//! Listeners: sent to the node that has room for them; here, each gets its own connection to the master's Icecast, whose
//! answer passes through as it is.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use autoradio_common::limits::{HTTP_AGENT_BYTES_MAX, HTTP_STALL_MS_MAX, TUNNEL_BUFFER_BYTES};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::listener_auth::relay_credentials;
use super::redirect;
use super::server::Shared;
use super::sniff::Sniffed;
use crate::cluster::{MountPath, MountRecord};
use crate::http::reply::Reply;
use crate::http::route::record_of;
use crate::http::stats::Seat;
use crate::http::{FrontError, RequestHead};
use crate::placement::Placement;

/// Longest silence of Icecast, and longest time a write to the client may take.
const STALL_MAX: Duration = Duration::from_millis(HTTP_STALL_MS_MAX);

/// Serves a listener until it, its Icecast or the front ends, or says where it is served. One who has `landed`, sent by another
/// node, is not sent on by this one.
pub(super) async fn serve(
    shared: &Shared,
    client: &mut TcpStream,
    request: &Sniffed,
    mount: &MountPath,
    landed: bool,
) -> Result<(), FrontError> {
    let placement = shared.placement();
    let record = record_of(&placement, mount)?;
    let from = request.from;
    if let Some(location) = redirect::elsewhere(shared, &placement, request, from, mount, landed)? {
        return reply(client, request, &Reply::redirect(location)).await;
    }
    let leave = shared.settings.listener_gate.admit(request, &record).await?;
    let address = shared.master_of(&placement, mount)?;
    let seat = shared.stats.seat(mount, record.max_listeners);
    let seat = seat.ok_or_else(|| FrontError::MountFull { mount: mount.clone() })?.until(leave);
    let own = relay_credentials(&shared.settings.secrets, &record);
    let asked = icecast_head(&request.head, mount, address, own.as_deref());
    let answer = shared.turns.ask(address, &asked).await?;
    match answer.status {
        200 => redirect::note_served(&shared.settings),
        404 => {
            return Err(FrontError::NoSource { mount: mount.clone() });
        }
        _ => return Err(answer.refusal().await),
    }
    let (mut from_client, mut to_client) = client.split();
    let mut stream = answer.stream;
    tokio::select! {
        _ = carry(&answer.bytes, &mut stream, &mut to_client, &seat, STALL_MAX) => {}
        () = failure(&mut from_client) => {}
        () = shared.cancel.cancelled() => {}
    }
    Ok(())
}

/// The answer to HEAD, without a stream: what the front that has the source reports of it.
///
/// A source that came to an Icecast directly is known to the master's Icecast alone.
pub(super) async fn head(shared: &Shared, mount: &MountPath) -> Result<Reply, FrontError> {
    let placement = shared.placement();
    let content_type = match reported_type(shared, &placement, mount) {
        Some(content_type) => content_type,
        None => {
            let record = record_of(&placement, mount)?;
            asked_type(shared, shared.master_of(&placement, mount)?, &record).await?
        }
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
    let answer = shared.turns.ask(address, request.as_bytes()).await?;
    match answer.status {
        200 => Ok(answer.field("Content-Type").unwrap_or_else(|| "audio/mpeg".to_owned())),
        404 => Err(FrontError::NoSource { mount: mount.clone() }),
        _ => Err(answer.refusal().await),
    }
}

async fn reply(client: &mut TcpStream, request: &Sniffed, reply: &Reply) -> Result<(), FrontError> {
    let written = client.write_all(&reply.to_bytes(request.head.version)).await;
    written.map_err(|source| FrontError::Client { source })
}

/// The least that Icecast needs. No `Range`: a stream has no ranges, and players that ask for one take a 200.
fn icecast_head(
    client: &RequestHead,
    mount: &MountPath,
    address: SocketAddr,
    authorization: Option<&str>,
) -> Vec<u8> {
    let mut head = format!("GET {} HTTP/1.0\r\nHost: {address}\r\n", mount.to_url_path());
    if let Some(authorization) = authorization {
        head.extend(["Authorization: ", authorization, "\r\n"]);
    }
    if client.field_text("Icy-MetaData") == Some("1") {
        head.push_str("Icy-MetaData: 1\r\n");
    }
    let agent = client.field_text("User-Agent");
    if let Some(agent) = agent.filter(|agent| agent.len() <= HTTP_AGENT_BYTES_MAX) {
        head.extend(["User-Agent: ", agent, "\r\n"]);
    }
    head.push_str("\r\n");
    head.into_bytes()
}

/// Carries until either side ends, or does nothing for `stall_max`.
async fn carry(
    first: &[u8],
    icecast: &mut (impl AsyncRead + Unpin),
    client: &mut (impl AsyncWrite + Unpin),
    seat: &Seat,
    stall_max: Duration,
) -> io::Result<()> {
    write(first, client, seat, stall_max).await?;
    let mut audio = vec![0; TUNNEL_BUFFER_BYTES];
    loop {
        let bytes = tokio::time::timeout(stall_max, icecast.read(&mut audio)).await??;
        if bytes == 0 {
            return client.shutdown().await;
        }
        write(&audio[..bytes], client, seat, stall_max).await?;
    }
}

async fn write(
    audio: &[u8],
    client: &mut (impl AsyncWrite + Unpin),
    seat: &Seat,
    stall_max: Duration,
) -> io::Result<()> {
    tokio::time::timeout(stall_max, client.write_all(audio)).await??;
    seat.sent(audio.len());
    Ok(())
}

/// Returns when the connection fails. A client that only closes its sending side still listens.
async fn failure(client: &mut (impl AsyncRead + Unpin)) {
    let mut dropped = [0; 256];
    loop {
        match client.read(&mut dropped).await {
            Ok(0) => std::future::pending::<()>().await,
            Ok(_) => {}
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use autoradio_common::limits::HTTP_ICECAST_HEAD_BYTES_MAX;

    use super::*;
    use crate::http::stats::FrontStats;
    use crate::http::testing::head_of;

    const ADDRESS: SocketAddr =
        SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8000);

    #[test]
    fn icecast_is_asked_for_metadata_only_if_the_listener_asked_and_never_for_a_range() {
        let mount: MountPath = "/a b.mp3".parse().expect("a mount path");
        for (who, text, want) in [
            (
                "mpv",
                "GET /a%20b.mp3 HTTP/1.1\r\nUser-Agent: mpv\r\nRange: bytes=0-\r\nIcy-MetaData: 1\r\n\r\n",
                "Icy-MetaData: 1\r\nUser-Agent: mpv\r\n",
            ),
            ("souphttpsrc", "GET / HTTP/1.1\r\nicy-metadata: 1\r\n\r\n", "Icy-MetaData: 1\r\n"),
            ("VLC, first", "GET / HTTP/1.1\r\nRange: bytes=0-\r\n\r\n", ""),
            ("no metadata wanted", "GET / HTTP/1.0\r\nIcy-MetaData: 0\r\n\r\n", ""),
        ] {
            let head = icecast_head(&head_of(text), &mount, ADDRESS, None);
            let want = format!("GET /a%20b.mp3 HTTP/1.0\r\nHost: 127.0.0.1:8000\r\n{want}\r\n");
            assert_eq!(String::from_utf8(head).expect("text"), want, "{who}");
        }
    }

    #[test]
    fn a_name_too_long_for_icecast_does_not_cost_the_listener_its_stream() {
        let mount: MountPath = "/m".parse().expect("a mount path");
        let agent = "x".repeat(HTTP_AGENT_BYTES_MAX + 1);
        for (sent, passed) in [(&agent[1..], true), (&agent[..], false)] {
            let request = head_of(&format!("GET /m HTTP/1.1\r\nUser-Agent: {sent}\r\n\r\n"));
            let head = String::from_utf8(icecast_head(&request, &mount, ADDRESS, Some("Basic x")))
                .expect("text");
            assert_eq!(head.contains("User-Agent"), passed, "{head}");
            assert!(head.len() < HTTP_ICECAST_HEAD_BYTES_MAX);
        }
    }

    #[tokio::test]
    async fn a_silent_icecast_ends_the_stream_of_a_listener_that_only_listens() {
        let stats = FrontStats::default();
        let mount = "/m".parse().expect("a mount path");
        let seat = stats.seat(&mount, None).expect("a seat");
        let (mut icecast, _silent) = tokio::io::duplex(64);
        let mut client = Vec::new();
        let stall_max = Duration::from_millis(10);
        let end = carry(b"first", &mut icecast, &mut client, &seat, stall_max).await;
        assert_eq!(end.expect_err("an end").kind(), io::ErrorKind::TimedOut);
        assert_eq!(client, b"first");
    }
}
