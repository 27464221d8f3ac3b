//! Asks this host's daemon, by the socket in its state directory.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

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

/// Longest time for an answer, or the head of one that goes on. Somebody is waiting at a terminal, and a daemon that
/// starts takes connections before it answers.
const ANSWER_MAX: Duration = Duration::from_secs(3);
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

    /// One answer, which `takes` so long of itself.
    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        path: &str,
        takes: Duration,
    ) -> anyhow::Result<T> {
        let body = async {
            let body = self.get(path).await?;
            body.collect().await.context("the daemon broke off")
        };
        let body = self.within(takes.saturating_add(ANSWER_MAX), body).await?;
        Ok(serde_json::from_slice(&body.to_bytes())?)
    }

    /// An answer that comes line by line.
    pub(crate) async fn lines(&self, path: &str) -> anyhow::Result<Lines> {
        let body = self.within(ANSWER_MAX, self.get(path)).await?;
        Ok(Lines { body, waiting: Vec::new() })
    }

    /// What a daemon answers in time; one that does not is none.
    async fn within<T>(
        &self,
        limit: Duration,
        answer: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        tokio::time::timeout(limit, answer).await.map_err(|_| NoDaemon {
            socket: self.socket.clone(),
            source: io::Error::new(
                io::ErrorKind::TimedOut,
                "it takes connections, but says nothing",
            ),
        })?
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::exit_code;
    use std::os::unix::net::UnixListener;
    use std::process::ExitCode;

    #[tokio::test]
    async fn a_daemon_that_takes_connections_and_says_nothing_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join(LOCAL_SOCKET)).unwrap();
        let daemon = LocalDaemon::in_dir(dir.path());
        let (asked, traced) = tokio::join!(
            tokio::time::timeout(3 * ANSWER_MAX, daemon.ask::<ApiFailure>("/", Duration::ZERO)),
            tokio::time::timeout(3 * ANSWER_MAX, daemon.lines("/")),
        );
        let asked = asked.expect("given up").map(|_| ()).unwrap_err();
        for error in [asked, traced.expect("given up").unwrap_err()] {
            assert!(error.to_string().contains("says nothing"), "{error}");
            assert_eq!(exit_code(&error), ExitCode::from(5));
        }
        drop(listener);
    }
}
