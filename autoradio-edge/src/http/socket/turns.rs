//! Turns of listeners at Icecasts: few ask at a time, and an Icecast that is busy is asked again.
//!
//! Icecast 2.4 has every listener pass one thread that sleeps 150 ms when it has nothing to do, and turns away with a 403
//! whoever comes while a hundred wait for it: a crowd that comes all at once.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use autoradio_common::limits::{HTTP_LISTENER_MS_MAX, HTTP_LISTENERS_ASKING_MAX};
use tokio::sync::Semaphore;

use super::icecast::{self, Answer};
use crate::clock;
use crate::http::FrontError;

/// Least and longest pause before an Icecast that is busy is asked again, in milliseconds.
const PAUSE_MS: std::ops::Range<u64> = 50..250;

/// The turns at all Icecasts.
#[derive(Default)]
pub(super) struct Turns {
    by_icecast: Mutex<HashMap<SocketAddr, Arc<Semaphore>>>,
}

impl Turns {
    /// Asks the Icecast at `address` for a stream when it is this listener's turn, for as long as it is only busy.
    pub(super) async fn ask(
        &self,
        address: SocketAddr,
        request: &[u8],
    ) -> Result<Answer, FrontError> {
        let turns = self.at(address);
        let deadline = clock::now() + Duration::from_millis(HTTP_LISTENER_MS_MAX);
        loop {
            let turn = tokio::time::timeout_at(deadline.into(), turns.acquire()).await;
            let Ok(Ok(turn)) = turn else { return Err(FrontError::IcecastBusy { address }) };
            let answer = icecast::ask(address, request).await?;
            drop(turn);
            if answer.status != 403 {
                return Ok(answer);
            }
            let refusal = answer.refusal().await;
            if !is_busy(&refusal) {
                return Err(refusal);
            }
            metrics::counter!("autoradio_http_icecast_busy_total").increment(1);
            let pause = Duration::from_millis(rand::random_range(PAUSE_MS));
            if clock::now() + pause >= deadline {
                return Err(FrontError::IcecastBusy { address });
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// The turns at one Icecast. Those at Icecasts that nobody asks are forgotten when a new one is asked.
    fn at(&self, address: SocketAddr) -> Arc<Semaphore> {
        let mut by_icecast = self.by_icecast.lock().unwrap_or_else(PoisonError::into_inner);
        if !by_icecast.contains_key(&address) {
            by_icecast.retain(|_, turns| Arc::strong_count(turns) > 1);
        }
        let fresh = || Arc::new(Semaphore::new(HTTP_LISTENERS_ASKING_MAX));
        by_icecast.entry(address).or_insert_with(fresh).clone()
    }
}

fn is_busy(error: &FrontError) -> bool {
    matches!(error, FrontError::IcecastRefused { status: 403, sentence } if sentence.contains("busy"))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// An Icecast that gives these answers, one to each who asks.
    async fn icecast(answers: &'static [&'static str]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move {
            for answer in answers {
                let (mut asker, _) = listener.accept().await.expect("somebody");
                let _ = asker.read(&mut [0; 1_024]).await;
                let _ = asker.write_all(answer.as_bytes()).await;
            }
        });
        address
    }

    #[tokio::test]
    async fn a_busy_icecast_is_asked_again_and_one_that_refuses_is_not() {
        const BUSY: &str = "HTTP/1.0 403 Forbidden\r\n\r\nbusy, please try again later";
        const OTHER: &str = "HTTP/1.0 403 Forbidden\r\n\r\ntoo many listeners";
        const GOOD: &str = "HTTP/1.0 200 OK\r\n\r\n";
        let turns = Turns::default();
        let crowded = icecast(&[BUSY, BUSY, GOOD]).await;
        assert_eq!(turns.ask(crowded, b"GET").await.expect("taken").status, 200);
        let full = icecast(&[OTHER, GOOD]).await;
        let refused = turns.ask(full, b"GET").await.expect_err("refused");
        assert!(matches!(refused, FrontError::IcecastRefused { status: 403, .. }), "{refused}");
        let known = turns.by_icecast.lock().expect("no panic").len();
        assert_eq!(known, 1, "the first Icecast is asked by nobody any more");
    }
}
