//! Sources that speak SHOUTcast version 1, on a port of their own, and the titles they set.
//!
//! The answer `OK2` comes before the source has said what it streams, so a master that takes it is found only after it: a source that
//! none takes is closed, and comes again.

use std::net::IpAddr;
use std::time::Duration;

use autoradio_common::limits::HTTP_HEAD_MS_MAX;
use bytes::BytesMut;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tracing::{debug, warn};

use super::metadata;
use super::server::{Shared, linger};
use super::sniff::read_more;
use super::source::{self, Form, Incoming};
use crate::cluster::MountPath;
use crate::http::route::shoutcast_title;
use crate::http::shoutcast::meaning;
use crate::http::{Body, FrontError, RequestHead, login_head};

/// What a source with the right password is answered; it may send titles in its stream or beside it.
const WELCOME: &[u8] = b"OK2\r\nicy-caps:11\r\n\r\n";
/// What all others are answered: the only refusal that such sources know.
const REFUSAL: &[u8] = b"invalid password\r\n";

/// Serves a source that has logged in with `login`.
pub(super) async fn serve(
    shared: &Shared,
    mut client: TcpStream,
    login: &str,
    rest: BytesMut,
    from: IpAddr,
) {
    if let Err(error) = stream(shared, &mut client, login, rest, from).await {
        debug!(%error, "SHOUTcast source refused");
    }
}

async fn stream(
    shared: &Shared,
    client: &mut TcpStream,
    login: &str,
    rest: BytesMut,
    from: IpAddr,
) -> Result<(), FrontError> {
    let Some((record, given)) = meaning(login, &shared.placement()) else {
        warn!(
            %from,
            "a SHOUTcast source names no mount, and none is meant by it: have it log in with /mount:password, or give a mount its number \
             with radioctl edit-mount --shoutcast-sid"
        );
        return refuse(client, FrontError::Unauthorized).await;
    };
    if let Err(error) = shared.knows(given, &record).await.and_then(|()| source::admit(&record)) {
        return refuse(client, error).await;
    }
    write(client, WELCOME).await?;
    let (head, rest) = read_head(client, &record.path, rest).await?;
    let first = rest.freeze().slice(head.bytes..);
    let incoming = Incoming { head: &head, first, from };
    source::play(shared, client, incoming, &record, (Form::Answered, Body::UntilClose)).await
}

/// Reads what the source says of its stream.
async fn read_head(
    client: &mut TcpStream,
    mount: &MountPath,
    mut bytes: BytesMut,
) -> Result<(RequestHead, BytesMut), FrontError> {
    let reading = async {
        loop {
            if let Some(head) = login_head(mount, &bytes)? {
                return Ok((head, bytes));
            }
            read_more(client, &mut bytes).await?;
        }
    };
    let longest = Duration::from_millis(HTTP_HEAD_MS_MAX);
    tokio::time::timeout(longest, reading).await.unwrap_or(Err(FrontError::HeadTooSlow))
}

async fn refuse(client: &mut TcpStream, error: FrontError) -> Result<(), FrontError> {
    write(client, REFUSAL).await?;
    linger(client).await;
    Err(error)
}

async fn write(client: &mut TcpStream, bytes: &[u8]) -> Result<(), FrontError> {
    client.write_all(bytes).await.map_err(|source| FrontError::Client { source })
}

/// Sets the title that a SHOUTcast source sends in the query of `/admin.cgi`.
pub(super) async fn set_title(
    shared: &Shared,
    client: &mut TcpStream,
    query: &str,
) -> Result<(), FrontError> {
    let Some((login, update)) = shoutcast_title(query) else {
        return Err(FrontError::MountMissing);
    };
    let Some((record, given)) = meaning(&login, &shared.placement()) else {
        return Err(FrontError::MountMissing);
    };
    shared.knows(given, &record).await?;
    metadata::pass_on(shared, client, &record, &update(&record.path)).await
}
