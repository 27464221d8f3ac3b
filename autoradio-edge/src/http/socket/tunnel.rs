//! Tunnels: one source's audio on its way to the master's Icecast.

use std::net::SocketAddr;
use std::time::Duration;

use autoradio_common::limits::{HTTP_STALL_MS_MAX, TUNNEL_BUFFER_BYTES};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::cluster::MountRecord;
use crate::http::stats::OnAir;
use crate::http::{Body, RequestHead};

/// Longest silence of a source, and longest time a write to Icecast may take.
const STALL_MAX: Duration = Duration::from_millis(HTTP_STALL_MS_MAX);

/// Why a tunnel ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The body was over.
    Body,
    /// The client closed, failed or fell silent.
    Client,
    /// The client broke the form of its body.
    Malformed,
    /// Icecast closed, failed or stopped reading.
    Icecast,
    /// A newer source with the right password came.
    Takeover,
    /// The operator wants the source to go.
    Killed,
    /// The mount got another master or password, or was deleted.
    Placement,
    /// This node holds the mount and may not go on as its master.
    SteppedDown,
    /// This node is alone, and its sources may find the others.
    Alone,
    /// The front stops.
    Stopped,
}

impl End {
    /// The value of the metric label `reason`.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Body => "body",
            Self::Client => "client",
            Self::Malformed => "malformed",
            Self::Icecast => "icecast",
            Self::Takeover => "takeover",
            Self::Killed => "killed",
            Self::Placement => "placement",
            Self::SteppedDown => "stepped_down",
            Self::Alone => "alone",
            Self::Stopped => "stopped",
        }
    }
}

/// The head that Icecast gets: the one form it always understands, with the cluster's credentials in place of the
/// mount's, and the mount's own name and description, where it has them, in place of the client's.
///
/// Of the client's fields only those that describe the stream are passed on. `Icy-MetaData`, which ffmpeg sends,
/// is a listener's field: Icecast would hand it to every listener.
pub(super) fn head(
    client: &RequestHead,
    record: &MountRecord,
    address: SocketAddr,
    authorization: &str,
) -> Vec<u8> {
    let mut bytes = format!(
        "SOURCE {} HTTP/1.0\r\nHost: {address}\r\nAuthorization: {authorization}\r\n",
        record.path.to_url_path()
    )
    .into_bytes();
    for (name, value) in client.fields() {
        let lower = name.to_ascii_lowercase();
        let told = match lower.trim_start_matches("ice-").trim_start_matches("icy-") {
            "name" => record.name.is_some(),
            "description" => record.description.is_some(),
            _ => false,
        };
        let describes = matches!(lower.as_str(), "content-type" | "user-agent")
            || lower.starts_with("ice-")
            || lower.starts_with("icy-") && lower != "icy-metadata";
        if describes && !told {
            push_field(&mut bytes, name, value);
        }
    }
    for (name, value) in [("ice-name", &record.name), ("ice-description", &record.description)] {
        if let Some(value) = value {
            // A line break would end the field, or the head.
            push_field(&mut bytes, name, value.replace(char::is_control, " ").as_bytes());
        }
    }
    bytes.extend_from_slice(b"\r\n");
    bytes
}

fn push_field(head: &mut Vec<u8>, name: &str, value: &[u8]) {
    for part in [name.as_bytes(), b": ", value, b"\r\n"] {
        head.extend_from_slice(part);
    }
}

/// Carries audio from the client to Icecast until either ends. Reads no faster than Icecast takes.
pub(super) async fn pump(
    client: &mut TcpStream,
    first: &[u8],
    body: Body,
    mut icecast: TcpStream,
    on_air: &OnAir,
) -> End {
    let (mut from_client, _) = client.split();
    let (mut from_icecast, mut to_icecast) = icecast.split();
    let end = tokio::select! {
        () = silence(&mut from_icecast) => End::Icecast,
        end = carry(first, &mut from_client, body, &mut to_icecast, on_air) => end,
    };
    // Lets Icecast play what is on its way. If that fails, Icecast is gone already.
    let _ = to_icecast.shutdown().await;
    end
}

/// Returns when Icecast closes. It has nothing more to say to a source, so whatever it says is dropped.
async fn silence(icecast: &mut (impl AsyncRead + Unpin)) {
    let mut dropped = [0; 256];
    while matches!(icecast.read(&mut dropped).await, Ok(1..)) {}
}

async fn carry(
    first: &[u8],
    client: &mut (impl AsyncRead + Unpin),
    mut body: Body,
    icecast: &mut (impl AsyncWrite + Unpin),
    on_air: &OnAir,
) -> End {
    let mut input = vec![0; TUNNEL_BUFFER_BYTES];
    let mut audio = Vec::with_capacity(TUNNEL_BUFFER_BYTES);
    if body.push(first, &mut audio).is_err() {
        return End::Malformed;
    }
    loop {
        let write = tokio::time::timeout(STALL_MAX, icecast.write_all(&audio));
        if !matches!(write.await, Ok(Ok(()))) {
            return End::Icecast;
        }
        on_air.received(audio.len());
        if body.ended() {
            return End::Body;
        }
        audio.clear();
        let read = tokio::time::timeout(STALL_MAX, client.read(&mut input));
        let Ok(Ok(bytes @ 1..)) = read.await else {
            return End::Client;
        };
        if body.push(&input[..bytes], &mut audio).is_err() {
            return End::Malformed;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::stats::FrontStats;
    use crate::http::testing::head_of;

    #[test]
    fn icecast_gets_what_describes_the_stream_and_nothing_of_the_clients_connection() {
        let client = head_of(
            "PUT /x HTTP/1.1\r\nAuthorization: Basic YTpi\r\nHost: radio\r\nExpect: 100-continue\r\n\
             Transfer-Encoding: chunked\r\nConnection: close\r\nUser-Agent: Lavf\r\n\
             Content-Type: audio/mpeg\r\nIcy-MetaData: 1\r\nIce-Name: caf\u{e9}\r\nIce-Description: mine\r\nicy-br:128\r\n\r\n",
        );
        let mount = "/a b.mp3".parse().expect("a mount path");
        let mut record = MountRecord::new(mount, "source", String::new());
        record.description = Some("two\r\nlines".to_owned());
        let bytes = head(&client, &record, ([127, 0, 0, 1], 8000).into(), "Basic x");
        assert_eq!(
            String::from_utf8(bytes).expect("text"),
            "SOURCE /a%20b.mp3 HTTP/1.0\r\nHost: 127.0.0.1:8000\r\n\
             Authorization: Basic x\r\nUser-Agent: Lavf\r\nContent-Type: audio/mpeg\r\n\
             Ice-Name: caf\u{e9}\r\nicy-br: 128\r\nice-description: two  lines\r\n\r\n"
        );
    }

    #[tokio::test]
    async fn audio_before_and_after_the_answer_goes_through_without_its_chunks() {
        let stats = FrontStats::default();
        let on_air = stats.on_air(&"/m".parse().expect("a mount path"), "audio/mpeg");
        let body = Body::Chunked(crate::http::Dechunker::default());
        let mut icecast = Vec::new();
        let mut client = &b"lo\r\n0\r\n\r\n"[..];
        let end = carry(b"5\r\nhel", &mut client, body, &mut icecast, &on_air).await;
        assert_eq!((end, icecast.as_slice()), (End::Body, &b"hello"[..]));
        assert_eq!(stats.view().bytes_in, 5);
    }
}
