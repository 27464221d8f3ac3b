//! The work of the hub: upstream connections, listeners' sockets, and the threads that write to them.

mod dial;
mod listener;
mod roster;
mod shard;
mod tune;
mod upstream;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use autoradio_common::limits::HTTP_STOP_MS_MAX;
use tokio::sync::watch;
use tracing::warn;

use super::hub::{Hub, HubSettings};
use crate::placement::Placement;

pub use listener::Seat;
pub(super) use shard::Command;
pub use tune::Tuned;

impl Hub {
    /// Starts the threads that write to listeners, one per core.
    ///
    /// # Panics
    ///
    /// If the system starts no thread at all: nothing else could be served either.
    pub fn start(settings: HubSettings, placements: watch::Receiver<Arc<Placement>>) -> Arc<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let thread = |number: usize| {
            let (sender, commands) = mpsc::channel();
            let ended = settings.ended.clone();
            let started = std::thread::Builder::new()
                .name(format!("fan-out-{number}"))
                .spawn(move || shard::run(&commands, ended.as_ref()));
            if let Err(error) = &started {
                warn!(%error, "a thread for listeners could not be started");
            }
            started.is_ok().then_some(sender)
        };
        let threads: Vec<_> = (0..cores).filter_map(thread).collect();
        assert!(!threads.is_empty(), "no thread could be started");
        Arc::new(Self::new(settings, placements, threads))
    }

    /// Ends all streams and waits for their tasks. Listeners are closed.
    pub async fn stop(&self) {
        self.cancel.cancel();
        self.command_all(|| Command::Stop);
        self.upstreams.close();
        let stop_max = Duration::from_millis(HTTP_STOP_MS_MAX);
        if tokio::time::timeout(stop_max, self.upstreams.wait()).await.is_err() {
            warn!("upstream connections are cut");
        }
    }
}
