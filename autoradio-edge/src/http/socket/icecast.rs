//! Requests of the front to an Icecast: dial, ask, read the head of the answer.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use autoradio_common::limits::{
    HTTP_DIAL_MS_MAX, HTTP_HEAD_BYTES_MAX, HTTP_HEADERS_MAX, HTTP_ICECAST_HEAD_BYTES_MAX,
    HTTP_REPLY_BYTES_MAX, HTTP_REPLY_MS_MAX,
};
use bytes::BytesMut;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::tcp;
use crate::cluster::MountPath;
use crate::http::FrontError;
use crate::http::auth::Credentials;

/// Longest part of Icecast's words that is passed on to a refused client, in bytes.
const SENTENCE_BYTES_MAX: usize = 200;

/// An Icecast's answer, its head read.
#[derive(Debug)]
pub(super) struct Answer {
    /// The connection, for what follows the head.
    pub(super) stream: TcpStream,
    /// The status.
    pub(super) status: u16,
    /// The head and what came with it, as sent: old players match its fields byte by byte.
    pub(super) bytes: BytesMut,
    head_bytes: usize,
    address: SocketAddr,
}

/// Sends `request`, a head, and waits for the head of the answer.
pub(super) async fn ask(address: SocketAddr, request: &[u8]) -> Result<Answer, FrontError> {
    if request.len() > HTTP_ICECAST_HEAD_BYTES_MAX {
        return Err(FrontError::HeadTooLargeForIcecast { bytes: request.len() });
    }
    let mut stream = dial(address).await?;
    let asking = async {
        stream.write_all(request).await?;
        read_head(&mut stream).await
    };
    let reply_max = Duration::from_millis(HTTP_REPLY_MS_MAX);
    match tokio::time::timeout(reply_max, asking).await {
        Ok(Ok(Some((status, head_bytes, bytes)))) => {
            Ok(Answer { stream, status, bytes, head_bytes, address })
        }
        Ok(Err(source)) => Err(FrontError::IcecastUnreachable { address, source }),
        Ok(Ok(None)) | Err(_) => Err(FrontError::IcecastSilent { address }),
    }
}

/// Has Icecast close a mount's source, a relay too. False if there was none.
pub(super) async fn kill_source(
    address: SocketAddr,
    mount: &MountPath,
    admin_password: &str,
) -> Result<bool, FrontError> {
    let authorization = Credentials::basic("admin", admin_password);
    let request = format!(
        "GET /admin/killsource?mount={} HTTP/1.0\r\nHost: {address}\r\n\
         Authorization: {authorization}\r\n\r\n",
        utf8_percent_encode(mount.as_str(), NON_ALPHANUMERIC)
    );
    let answer = ask(address, request.as_bytes()).await?;
    match answer.status {
        200 => Ok(true),
        400 | 404 => Ok(false),
        _ => Err(answer.refusal().await),
    }
}

async fn dial(address: SocketAddr) -> Result<TcpStream, FrontError> {
    let dial_max = Duration::from_millis(HTTP_DIAL_MS_MAX);
    let stream = tokio::time::timeout(dial_max, TcpStream::connect(address))
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        .and_then(|stream| tcp::tune(&stream).map(|()| stream));
    stream.map_err(|source| FrontError::IcecastUnreachable { address, source })
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

impl Answer {
    /// A field of the head as text, whatever its name's case.
    pub(super) fn field(&self, name: &str) -> Option<String> {
        let head = std::str::from_utf8(&self.bytes[..self.head_bytes]).ok()?;
        let mut fields = head.lines().filter_map(|line| line.split_once(':'));
        let (_, value) = fields.find(|(field, _)| field.eq_ignore_ascii_case(name))?;
        Some(value.trim().to_owned())
    }

    /// Reads the answer to its end: head and body as sent.
    pub(super) async fn whole(mut self) -> Result<BytesMut, FrontError> {
        let address = self.address;
        let reading = async {
            while self.bytes.len() < HTTP_REPLY_BYTES_MAX {
                if self.stream.read_buf(&mut self.bytes).await? == 0 {
                    break;
                }
            }
            io::Result::Ok(self.bytes)
        };
        tokio::time::timeout(Duration::from_millis(HTTP_REPLY_MS_MAX), reading)
            .await
            .map_err(|_| FrontError::IcecastSilent { address })?
            .map_err(|source| FrontError::IcecastUnreachable { address, source })
    }

    /// Turns an answer that is no success into an error with Icecast's status and words.
    pub(super) async fn refusal(self) -> FrontError {
        let (status, head_bytes) = (self.status, self.head_bytes);
        match self.whole().await {
            Ok(bytes) => {
                FrontError::IcecastRefused { status, sentence: plain_words(&bytes[head_bytes..]) }
            }
            Err(error) => error,
        }
    }
}

/// The words of a small HTML page: Icecast writes its refusals as pages.
fn plain_words(body: &[u8]) -> String {
    let mut words = String::new();
    let mut in_markup = false;
    for letter in String::from_utf8_lossy(body).chars() {
        match letter {
            '<' => in_markup = true,
            '>' => {
                in_markup = false;
                words.push(' ');
            }
            letter if !in_markup && words.len() < SENTENCE_BYTES_MAX => words.push(letter),
            _ => {}
        }
    }
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_lose_their_markup_and_their_length() {
        assert_eq!(plain_words(b"<html><b>Mountpoint\nin use</b></html>\r\n"), "Mountpoint in use");
        assert_eq!(plain_words(&[b'x'; 5_000]).len(), SENTENCE_BYTES_MAX);
    }
}
