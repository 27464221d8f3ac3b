//! Reads the head of a request from a socket, within its limits, and keeps what came after it.

use std::time::Duration;

use autoradio_common::limits::HTTP_HEAD_BYTES_MAX;
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::http::{FrontError, RequestHead};

/// Room for one read: most heads have room in it, and who connects and says nothing holds no more.
const READ_BYTES: usize = 1024;

/// A request as far as it has come.
#[derive(Debug)]
pub(super) struct Sniffed {
    /// The head.
    pub(super) head: RequestHead,
    /// All bytes read: the head, then the beginning of the body.
    pub(super) bytes: Bytes,
}

impl Sniffed {
    /// What was read past the head: ffmpeg in its old form sends audio in the same segment.
    pub(super) fn rest(&self) -> Bytes {
        self.bytes.slice(self.head.bytes..)
    }
}

/// Reads a head: at most its byte limit, at most for `longest`.
pub(super) async fn sniff(
    client: &mut (impl AsyncRead + Unpin),
    longest: Duration,
) -> Result<Sniffed, FrontError> {
    tokio::time::timeout(longest, read_head(client)).await.unwrap_or(Err(FrontError::HeadTooSlow))
}

async fn read_head(client: &mut (impl AsyncRead + Unpin)) -> Result<Sniffed, FrontError> {
    let mut bytes = BytesMut::new();
    loop {
        let before = bytes.len();
        bytes.reserve(READ_BYTES);
        let read = client.read_buf(&mut bytes).await;
        if read.map_err(|source| FrontError::Client { source })? == 0 {
            return Err(FrontError::ClientGone);
        }
        // A head ends with a line, so bytes that end none need no look: a client that sends one byte at a time
        // would otherwise cost a parse of everything for each. The first bytes tell whether this is HTTP at all.
        let ends_a_line = bytes[before..].contains(&b'\n');
        if before > 0 && !ends_a_line && bytes.len() < HTTP_HEAD_BYTES_MAX {
            continue;
        }
        if let Some(head) = RequestHead::parse(&bytes)? {
            let bytes = bytes.freeze();
            return Ok(Sniffed { head, bytes });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_head_that_comes_byte_by_byte_is_read_and_the_rest_is_kept() {
        let (mut client, mut server) = tokio::io::duplex(1);
        let sent = b"SOURCE /m ICE/1.0\r\nContent-Type: audio/mpeg\r\n\r\n\xff\xfb";
        let writing = tokio::spawn(async move { client.write_all(sent).await });
        let sniffed = sniff(&mut server, LONG).await.expect("a head");
        assert_eq!(sniffed.head.method, "SOURCE");
        assert!(sniffed.rest().is_empty(), "the pipe holds one byte");
        drop(server);
        let _ = writing.await;

        let sniffed = sniff(&mut &sent[..], LONG).await.expect("a head");
        assert_eq!(&sniffed.rest()[..], b"\xff\xfb");
    }

    #[tokio::test]
    async fn a_client_that_stops_in_its_head_is_too_slow_and_one_that_leaves_is_gone() {
        let (mut client, mut server) = tokio::io::duplex(64);
        client.write_all(b"GET / HT").await.expect("room");
        let sniffed = sniff(&mut server, Duration::from_millis(20)).await;
        assert!(matches!(sniffed, Err(FrontError::HeadTooSlow)));
        drop(client);
        let sniffed = sniff(&mut server, LONG).await;
        assert!(matches!(sniffed, Err(FrontError::ClientGone)));
    }
}
