//! Tunnels: one source's audio on its way to the master's Icecast.

use std::net::SocketAddr;
use std::time::Duration;

use autoradio_common::limits::{HTTP_STALL_MS_MAX, TUNNEL_BUFFER_BYTES};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::clock;
use crate::cluster::MountRecord;
use crate::http::source_meter::{Over, SourceMeter};
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
    /// The mount got another master or password, or was deleted.
    Placement,
    /// This node holds the mount and may not go on as its master.
    SteppedDown,
    /// This node is alone, and its sources may find the others.
    Alone,
    /// The client is over a limit of the mount.
    Limit(Over),
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
            Self::Placement => "placement",
            Self::SteppedDown => "stepped_down",
            Self::Alone => "alone",
            Self::Limit(Over::Rate) => "limit_rate",
            Self::Limit(Over::Bytes) => "limit_bytes",
            Self::Limit(Over::Seconds) => "limit_seconds",
            Self::Stopped => "stopped",
        }
    }
}

/// The head that Icecast gets: the one form it always understands, with the cluster's credentials in place of the
/// mount's, and what the mount itself says of its stream in place of what the client says.
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
            "genre" => record.genre.is_some(),
            "url" => record.url.is_some(),
            "public" | "pub" => record.public.is_some(),
            _ => false,
        };
        let describes = matches!(lower.as_str(), "content-type" | "user-agent")
            || lower.starts_with("ice-")
            || lower.starts_with("icy-") && lower != "icy-metadata";
        if describes && !told {
            push_field(&mut bytes, name, value);
        }
    }
    let public = record.public.map(|public| u8::from(public).to_string());
    for (name, value) in [
        ("ice-name", &record.name),
        ("ice-description", &record.description),
        ("ice-genre", &record.genre),
        ("ice-url", &record.url),
        ("ice-public", &public),
    ] {
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

/// Carries audio from the client, whose `first` bytes are read, to Icecast until either ends or `meter` says so. Reads no faster than
/// Icecast takes.
pub(super) async fn pump(
    (client, first, body): (&mut TcpStream, &[u8], Body),
    mut icecast: TcpStream,
    on_air: &OnAir,
    meter: &mut SourceMeter,
) -> End {
    let (mut from_client, _) = client.split();
    let (mut from_icecast, mut to_icecast) = icecast.split();
    let end = tokio::select! {
        () = silence(&mut from_icecast) => End::Icecast,
        end = carry((&mut from_client, first, body), &mut to_icecast, on_air, meter) => end,
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
    (client, first, mut body): (&mut (impl AsyncRead + Unpin), &[u8], Body),
    icecast: &mut (impl AsyncWrite + Unpin),
    on_air: &OnAir,
    meter: &mut SourceMeter,
) -> End {
    let mut input = vec![0; TUNNEL_BUFFER_BYTES];
    let mut audio = Vec::with_capacity(TUNNEL_BUFFER_BYTES);
    if body.push(first, &mut audio).is_err() {
        return End::Malformed;
    }
    loop {
        if let Err(over) = meter.take(audio.len(), clock::now()) {
            return End::Limit(over);
        }
        let write = tokio::time::timeout(STALL_MAX, icecast.write_all(&audio));
        if !matches!(write.await, Ok(Ok(()))) {
            return End::Icecast;
        }
        on_air.received(audio.len());
        if body.ended() {
            return End::Body;
        }
        audio.clear();
        let left = meter.time_left(clock::now());
        let bytes = match tokio::time::timeout(STALL_MAX.min(left), client.read(&mut input)).await {
            Ok(Ok(bytes @ 1..)) => bytes,
            Err(_) if left < STALL_MAX => return End::Limit(Over::Seconds),
            _ => return End::Client,
        };
        if body.push(&input[..bytes], &mut audio).is_err() {
            return End::Malformed;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::SourceLimits;
    use crate::http::stats::FrontStats;
    use crate::http::testing::head_of;

    #[test]
    fn icecast_gets_what_describes_the_stream_and_nothing_of_the_clients_connection() {
        let client = head_of(
            "PUT /x HTTP/1.1\r\nAuthorization: Basic YTpi\r\nHost: radio\r\nExpect: 100-continue\r\n\
             Transfer-Encoding: chunked\r\nConnection: close\r\nUser-Agent: Lavf\r\n\
             Content-Type: audio/mpeg\r\nIcy-MetaData: 1\r\nIce-Name: caf\u{e9}\r\nIce-Description: mine\r\nIce-Genre: x\r\nicy-pub:1\r\nicy-br:128\r\n\r\n",
        );
        let mount = "/a b.mp3".parse().expect("a mount path");
        let mut record = MountRecord::new(mount, "source", String::new());
        record.description = Some("two\r\nlines".to_owned());
        (record.genre, record.public) = (Some("Jazz".to_owned()), Some(false));
        let bytes = head(&client, &record, ([127, 0, 0, 1], 8000).into(), "Basic x");
        assert_eq!(
            String::from_utf8(bytes).expect("text"),
            "SOURCE /a%20b.mp3 HTTP/1.0\r\nHost: 127.0.0.1:8000\r\n\
             Authorization: Basic x\r\nUser-Agent: Lavf\r\nContent-Type: audio/mpeg\r\n\
             Ice-Name: caf\u{e9}\r\nicy-br: 128\r\nice-description: two  lines\r\nice-genre: Jazz\r\nice-public: 0\r\n\r\n"
        );
    }

    #[tokio::test]
    async fn audio_before_and_after_the_answer_goes_through_without_its_chunks() {
        let stats = FrontStats::default();
        let on_air = stats.on_air(&"/m".parse().expect("a mount path"), "audio/mpeg");
        let body = Body::Chunked(crate::http::Dechunker::default());
        let mut icecast = Vec::new();
        let mut client = &b"lo\r\n0\r\n\r\n"[..];
        let mut meter = SourceMeter::new(&SourceLimits::default(), clock::now());
        let sending = (&mut client, &b"5\r\nhel"[..], body);
        let end = carry(sending, &mut icecast, &on_air, &mut meter).await;
        assert_eq!((end, icecast.as_slice()), (End::Body, &b"hello"[..]));
        assert_eq!(stats.view().bytes_in, 5);
    }

    #[tokio::test]
    async fn a_source_over_its_limits_ends_even_if_it_is_silent() {
        let stats = FrontStats::default();
        let on_air = stats.on_air(&"/m".parse().expect("a mount path"), "audio/mpeg");
        for (limits, want) in [
            (SourceLimits { bytes: Some(4), ..SourceLimits::default() }, Over::Bytes),
            (SourceLimits { seconds: Some(0), ..SourceLimits::default() }, Over::Seconds),
            (SourceLimits { seconds: Some(1), ..SourceLimits::default() }, Over::Seconds),
            (SourceLimits { bits_per_second: Some(1), ..SourceLimits::default() }, Over::Rate),
        ] {
            let mut meter = SourceMeter::new(&limits, clock::now());
            let (mut client, _silent) = tokio::io::duplex(64);
            let first: &[u8] = if limits.seconds.is_some() { b"" } else { b"hello" };
            let (mut icecast, sending) = (Vec::new(), (&mut client, first, Body::UntilClose));
            let end = carry(sending, &mut icecast, &on_air, &mut meter).await;
            assert_eq!((end, icecast.len()), (End::Limit(want), 0), "{limits:?}");
        }
    }
}
