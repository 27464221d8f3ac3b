//! Asks an Icecast for its listeners, at its admin pages.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use autoradio_common::limits::{
    HTTP_HEAD_BYTES_MAX, HTTP_HEADERS_MAX, ICECAST_STATS_BYTES_MAX, ICECAST_STATS_MS_MAX,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::IcecastError;
use super::stats::{RelayCounts, SourceStats, listener_addresses, listeners_by_mount, sources};
use crate::cluster::{IcecastSecrets, MountPath};

/// Mounts that are looked into at one time, one question each: Icecast answers them one after the other.
const LOOKS_MAX: usize = 16;

/// The way to one Icecast's admin pages.
#[derive(Clone)]
pub struct IcecastDoor {
    address: SocketAddr,
    authorization: String,
}

impl std::fmt::Debug for IcecastDoor {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "IcecastDoor({})", self.address)
    }
}

impl IcecastDoor {
    /// To the Icecast at `address`, with the cluster's passwords.
    pub fn new(address: SocketAddr, secrets: &IcecastSecrets) -> Self {
        let user = format!("admin:{}", secrets.admin_password);
        Self { address, authorization: format!("Basic {}", STANDARD.encode(user)) }
    }

    /// Listeners by mount, without those whose address `is_node` knows: the relays of other nodes, and fronts.
    ///
    /// A few mounts are looked into each time; of the others, as many are taken for relays as `relays` has from earlier.
    pub async fn listeners(
        &self,
        is_node: impl Fn(&IpAddr) -> bool,
        relays: &mut RelayCounts,
    ) -> Result<Vec<(MountPath, u64)>, IcecastError> {
        let asking = tokio::time::timeout(
            Duration::from_millis(ICECAST_STATS_MS_MAX),
            self.ask_listeners(is_node, relays),
        );
        let asked = asking.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        asked.map_err(|source| IcecastError::Stats { address: self.address, source })
    }

    /// All sources that it has, relays included, with what it says of each.
    pub async fn sources(&self) -> Result<Vec<SourceStats>, IcecastError> {
        let asking = async { sources(&self.get("/admin/stats").await?).map_err(garbled) };
        let asking = tokio::time::timeout(Duration::from_millis(ICECAST_STATS_MS_MAX), asking);
        let asked = asking.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        asked.map_err(|source| IcecastError::Stats { address: self.address, source })
    }

    async fn ask_listeners(
        &self,
        is_node: impl Fn(&IpAddr) -> bool,
        relays: &mut RelayCounts,
    ) -> io::Result<Vec<(MountPath, u64)>> {
        let stats = self.get("/admin/stats").await?;
        let mut mounts = listeners_by_mount(&stats).map_err(garbled)?;
        mounts.sort_by_key(|(_, listeners)| std::cmp::Reverse(*listeners));
        for mount in relays.due(&mounts, LOOKS_MAX) {
            let target = format!("/admin/listclients?mount={}", mount.to_url_path());
            match self.get(&target).await {
                Ok(clients) => {
                    let clients = listener_addresses(&clients).map_err(garbled)?;
                    let nodes = clients.iter().filter(|address| is_node(address)).count();
                    relays.note(mount, nodes as u64);
                }
                // It has lost its source between the two questions, and its listeners with it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    mounts.retain(|(path, _)| *path != mount);
                }
                Err(error) => return Err(error),
            }
        }
        for (mount, listeners) in &mut mounts {
            *listeners = relays.without_relays(mount, *listeners);
        }
        mounts.retain(|(_, listeners)| *listeners > 0);
        Ok(mounts)
    }

    async fn get(&self, target: &str) -> io::Result<String> {
        let mut stream = TcpStream::connect(self.address).await?;
        let (address, authorization) = (self.address, &self.authorization);
        let request = format!(
            "GET {target} HTTP/1.0\r\nHost: {address}\r\nAuthorization: {authorization}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        let bytes_max = ICECAST_STATS_BYTES_MAX + HTTP_HEAD_BYTES_MAX;
        stream.take(bytes_max as u64).read_to_end(&mut answer).await?;
        body(&answer)
    }
}

/// The body of an answer. Of the refusals only that of an unknown mount means something, which Icecast gives as a 400.
fn body(answer: &[u8]) -> io::Result<String> {
    let mut fields = [httparse::EMPTY_HEADER; HTTP_HEADERS_MAX];
    let mut head = httparse::Response::new(&mut fields);
    let Ok(httparse::Status::Complete(head_bytes)) = head.parse(answer) else {
        return Err(garbled("no HTTP"));
    };
    match head.code {
        Some(200) => String::from_utf8(answer[head_bytes..].to_vec()).map_err(garbled),
        Some(400) => Err(io::ErrorKind::NotFound.into()),
        status => Err(garbled(format!("status {}", status.unwrap_or_default()))),
    }
}

fn garbled(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_mount_is_told_from_a_wrong_password_and_from_noise() {
        for (answer, want) in [
            ("HTTP/1.0 200 OK\r\n\r\n<icestats/>", Ok("<icestats/>")),
            ("HTTP/1.0 400 Bad Request\r\n\r\nno source", Err(io::ErrorKind::NotFound)),
            ("HTTP/1.0 401 Authentication Required\r\n\r\n", Err(io::ErrorKind::InvalidData)),
            ("HTTP/1.0 200", Err(io::ErrorKind::InvalidData)),
            ("", Err(io::ErrorKind::InvalidData)),
        ] {
            let body = body(answer.as_bytes()).map_err(|error| error.kind());
            assert_eq!(body.as_deref(), want.as_deref(), "{answer}");
        }
    }
}
