//! A source on this machine: frames at the pace that they play, after some in advance.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::prober::Format;
use crate::prober::source::{dial, head};
use crate::status::CreatedMount;
use crate::{LabError, clock};

/// Frames that are sent at once, so that a burst of 64 KiB is there for the first listener.
const AHEAD: u32 = 200;
const PAUSE: Duration = Duration::from_millis(20);

/// A source that streams until this is dropped, or its server ends it.
#[derive(Debug)]
pub struct Source {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Source {
    /// Streams to the mount, once the server has accepted it.
    pub fn start(server: SocketAddr, mount: &CreatedMount) -> Result<Self, LabError> {
        let dialled = dial(server, &head(mount, Format::Mp3));
        let mut connection =
            dialled.map_err(|source| LabError::Probe { what: "starting a source", source })?;
        let stop = Arc::new(AtomicBool::new(false));
        let asked = stop.clone();
        let thread = std::thread::spawn(move || {
            let start = clock::now();
            let mut number = 0;
            while !asked.load(Ordering::SeqCst) {
                let due = |number: u32| Format::Mp3.frame_time() * number.saturating_sub(AHEAD);
                while clock::now().duration_since(start) >= due(number) {
                    if connection.write_all(&Format::Mp3.frame((1, number))).is_err() {
                        return; // Listeners will tell.
                    }
                    number += 1;
                }
                std::thread::sleep(PAUSE);
            }
        });
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap_or_default();
        }
    }
}
