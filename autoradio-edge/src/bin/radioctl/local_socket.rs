//! Asks this host's daemon, by the socket in its state directory.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use autoradio_edge::api::{ApiFailure, LOCAL_SOCKET};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use crate::failure::NoDaemon;

/// Longest line that a daemon sends, in bytes.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// This host's daemon.
#[derive(Debug)]
pub(crate) struct LocalDaemon {
    socket: PathBuf,
}

impl LocalDaemon {
    /// The daemon that keeps its state in `state_dir`.
    pub(crate) fn in_dir(state_dir: &Path) -> Self {
        Self { socket: state_dir.join(LOCAL_SOCKET) }
    }

    /// One answer.
    pub(crate) async fn ask<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        let body = self.get(path).await?.collect().await.context("the daemon broke off")?;
        Ok(serde_json::from_slice(&body.to_bytes())?)
    }

    /// An answer that comes line by line.
    pub(crate) async fn lines(&self, path: &str) -> anyhow::Result<Lines> {
        Ok(Lines { body: self.get(path).await?, waiting: Vec::new() })
    }

    async fn get(&self, path: &str) -> anyhow::Result<Incoming> {
        let refused = |source| NoDaemon { socket: self.socket.clone(), source };
        let stream = UnixStream::connect(&self.socket).await.map_err(refused)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Its errors show in what is read from it.
        tokio::spawn(connection);
        let request = Request::get(path).header("host", "localhost").body(Empty::<Bytes>::new())?;
        let answer = sender.send_request(request).await?;
        if answer.status() == StatusCode::OK {
            return Ok(answer.into_body());
        }
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        match serde_json::from_slice::<ApiFailure>(&body) {
            Ok(failure) => bail!(failure.error),
            Err(_) => bail!("the daemon answers {status}: it may be of another version"),
        }
    }
}

/// JSON lines as they come.
#[derive(Debug)]
pub(crate) struct Lines {
    body: Incoming,
    waiting: Vec<u8>,
}

impl Lines {
    /// The next; `None` when the daemon has ended.
    pub(crate) async fn next<T: DeserializeOwned>(&mut self) -> anyhow::Result<Option<T>> {
        loop {
            if let Some(end) = self.waiting.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.waiting.drain(..=end).collect();
                return Ok(Some(serde_json::from_slice(&line)?));
            }
            if self.waiting.len() > LINE_BYTES_MAX {
                bail!("the daemon sends a line that does not end");
            }
            let Some(frame) = self.body.frame().await else { return Ok(None) };
            if let Some(data) = frame.context("the daemon broke off")?.data_ref() {
                self.waiting.extend_from_slice(data);
            }
        }
    }
}
