//! Connections to Icecasts, as a listener of theirs.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use autoradio_common::limits::{
    HTTP_DIAL_MS_MAX, HTTP_HEAD_BYTES_MAX, HTTP_HEADERS_MAX, HTTP_ICECAST_HEAD_BYTES_MAX,
    HTTP_REPLY_MS_MAX,
};
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::cluster::MountPath;
use crate::stream::error::StreamError;
use crate::stream::head::StreamHead;

/// How the hub calls itself to an Icecast.
const AGENT: &str = concat!("autoradio/", env!("CARGO_PKG_VERSION"), " hub");

/// A stream that has begun.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) mount: MountPath,
    pub(super) address: SocketAddr,
    pub(super) head: StreamHead,
    /// What came with the head.
    pub(super) begun: Bytes,
    pub(super) stream: TcpStream,
}

/// Begins to listen to a mount of the Icecast at `address`, titles included.
pub(super) async fn dial(
    address: SocketAddr,
    mount: &MountPath,
    authorization: Option<&str>,
) -> Result<Connection, StreamError> {
    let authorization = authorization.map(|it| format!("Authorization: {it}\r\n"));
    let request = format!(
        "GET {} HTTP/1.0\r\nHost: {address}\r\nUser-Agent: {AGENT}\r\nIcy-MetaData: 1\r\n{}\r\n",
        mount.to_url_path(),
        authorization.unwrap_or_default()
    );
    if request.len() > HTTP_ICECAST_HEAD_BYTES_MAX {
        return Err(StreamError::PathTooLong);
    }
    let unreachable =
        |error: io::Error| StreamError::Unreachable { address, sentence: error.to_string() };
    let connecting = TcpStream::connect(address);
    let dial_max = Duration::from_millis(HTTP_DIAL_MS_MAX);
    let connected = tokio::time::timeout(dial_max, connecting).await;
    let mut stream =
        connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(unreachable)?;
    let asking = async {
        stream.write_all(request.as_bytes()).await?;
        read_head(&mut stream).await
    };
    let reply_max = Duration::from_millis(HTTP_REPLY_MS_MAX);
    let answer = match tokio::time::timeout(reply_max, asking).await {
        Ok(Ok(Some(answer))) => answer,
        Ok(Err(error)) => return Err(unreachable(error)),
        Ok(Ok(None)) | Err(_) => return Err(StreamError::Silent { address }),
    };
    let (status, head_bytes, mut bytes) = answer;
    match status {
        200 => {
            let head = StreamHead::of(&bytes.split_to(head_bytes));
            Ok(Connection { mount: mount.clone(), address, head, begun: bytes.freeze(), stream })
        }
        404 => Err(StreamError::NoSource),
        status => Err(StreamError::Refused { address, status }),
    }
}

/// Status, length of the head, and everything read. `None`: closed or garbled before the head was whole.
async fn read_head(stream: &mut TcpStream) -> io::Result<Option<(u16, usize, BytesMut)>> {
    let mut bytes = BytesMut::with_capacity(4 * 1024);
    while bytes.len() < HTTP_HEAD_BYTES_MAX {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
        let mut fields = [httparse::EMPTY_HEADER; HTTP_HEADERS_MAX];
        let mut response = httparse::Response::new(&mut fields);
        match response.parse(&bytes) {
            Ok(httparse::Status::Partial) => {}
            Ok(httparse::Status::Complete(head_bytes)) => {
                let status = response.code.unwrap_or_default();
                return Ok(Some((status, head_bytes, bytes)));
            }
            Err(_) => return Ok(None),
        }
    }
    Ok(None)
}
