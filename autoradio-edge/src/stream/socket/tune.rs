//! Listeners that come: a channel that plays is found, or begun, and the socket goes to a fan-out thread.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use autoradio_common::limits::{STREAM_OFF_MS, STREAM_SEND_BUFFER_BYTES, STREAM_TUNE_MS_MAX};
use socket2::SockRef;
use tokio::net::TcpStream;

use super::listener::{Listener, Seat};
use super::shard::Command;
use super::upstream::Upstream;
use crate::clock;
use crate::cluster::MountPath;
use crate::stream::channel::{Guest, Membership, Phase, Use, Visit};
use crate::stream::cursor::Cursor;
use crate::stream::error::StreamError;
use crate::stream::head::StreamHead;
use crate::stream::hub::Hub;

/// A channel that plays, kept for one listener.
#[derive(Debug)]
pub struct Tuned {
    channel: Use,
    /// What Icecast says of the stream.
    pub head: Arc<StreamHead>,
}

impl Hub {
    /// Finds the mount's stream, or begins it. A mount that does not play is waited for a moment, since its source or its
    /// master may just be changing.
    pub async fn tune(self: &Arc<Self>, mount: &MountPath) -> Result<Tuned, StreamError> {
        let now = clock::now();
        let deadline = now + Duration::from_millis(STREAM_TUNE_MS_MAX);
        let off_until = now + Duration::from_millis(STREAM_OFF_MS);
        loop {
            if self.cancel.is_cancelled() {
                return Err(StreamError::Stopping);
            }
            let (channel, new) = self.channel(mount);
            if new {
                let upstream = Upstream::new(self.clone(), channel.0.clone());
                self.upstreams.spawn(upstream.run());
            }
            let mut phases = channel.0.phase.subscribe();
            loop {
                let phase = phases.borrow_and_update().clone();
                let (until, last) = match phase {
                    Phase::Playing(head) => return Ok(Tuned { channel, head }),
                    Phase::Ended(error @ StreamError::MountUnknown) => return Err(error),
                    Phase::Ended(_) => break,
                    Phase::Tuning => (deadline, StreamError::NoSource),
                    Phase::Off(error) => {
                        channel.0.wanted.notify_one();
                        (off_until, error)
                    }
                };
                if clock::now() >= until {
                    return Err(last);
                }
                let _ = tokio::time::timeout_at(until.into(), phases.changed()).await;
            }
        }
    }

    /// Has the client listen: writes head and burst as far as its socket takes them, and gives it to a thread.
    pub fn enter(
        &self,
        tuned: Tuned,
        client: TcpStream,
        guest: Guest,
        titles: bool,
        seat: Box<dyn Seat>,
    ) -> io::Result<()> {
        // Else the kernel keeps megabytes for a listener that lags, where our ring has them once for all.
        SockRef::from(&client).set_send_buffer_size(STREAM_SEND_BUFFER_BYTES)?;
        let stream = client.into_std()?;
        let titles = titles && tuned.head.has_titles();
        let head = tuned.head.to_bytes(titles, &clock::http_date());
        let visit = Visit::new(self.next_id(), guest, clock::now());
        let channel = tuned.channel.0.clone();
        let member = Membership::new(tuned.channel, Arc::new(visit));
        let id = member.visit.id;
        let cursor = Cursor::new(head.into(), titles);
        let now_ms = clock::boot_ms();
        let mut listener = Listener::new(stream, cursor, member, seat, now_ms);
        let burst_bytes = channel.burst_bytes.load(std::sync::atomic::Ordering::Relaxed);
        let ticked = listener.tick(&channel.view.load(), burst_bytes, now_ms);
        listener.seat.sent(ticked.bytes);
        metrics::counter!("autoradio_http_listener_bytes_total").increment(ticked.bytes);
        self.command(id, Command::Join(Box::new(listener)));
        Ok(())
    }
}
