//! Writes the access log: a line for each listener who has gone, on a thread of its own, so that a slow disk keeps nobody waiting.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use autoradio_common::limits::HTTP_ACCESS_LINES_MAX;
use tokio::sync::mpsc;
use tracing::{info, warn};

use crate::clock;
use crate::http::{FrontError, access_log};
use crate::stream::Ended;

/// How often it is looked whether the file still has its name: somebody may have moved it away to have a new one.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Where listeners who have gone are told. What comes faster than the disk takes it is dropped by who tells it.
pub type EndedSender = mpsc::Sender<Ended>;

/// Opens the log and starts what writes it, until the last sender is dropped. An error: the file cannot be opened.
pub fn start_access_log(path: &Path) -> Result<EndedSender, FrontError> {
    let failed = |source| FrontError::AccessLog { path: path.to_owned(), source };
    let log = Log::open(path).map_err(failed)?;
    let (sender, receiver) = mpsc::channel(HTTP_ACCESS_LINES_MAX);
    let thread = std::thread::Builder::new().name("access-log".to_owned());
    thread.spawn(move || run(log, receiver)).map_err(failed)?;
    Ok(sender)
}

fn run(mut log: Log, mut receiver: mpsc::Receiver<Ended>) {
    let mut batch = Vec::new();
    while receiver.blocking_recv_many(&mut batch, HTTP_ACCESS_LINES_MAX) > 0 {
        let lines: String = batch.drain(..).map(|ended| access_log::line(&ended)).collect();
        log.write(&lines);
    }
}

/// The open file.
struct Log {
    path: PathBuf,
    file: File,
    looked_at: Instant,
    /// The last lines could not be written, and that was told.
    failing: bool,
}

impl Log {
    fn open(path: &Path) -> io::Result<Self> {
        let file = open(path)?;
        Ok(Self { path: path.to_owned(), file, looked_at: clock::now(), failing: false })
    }

    /// Appends whole lines; those that the disk does not take are lost.
    fn write(&mut self, lines: &str) {
        let now = clock::now();
        let looked = if now.duration_since(self.looked_at) >= LOOK_EVERY {
            self.looked_at = now;
            self.follow_name()
        } else {
            Ok(())
        };
        let written = looked.and_then(|()| self.file.write_all(lines.as_bytes()));
        let path = self.path.display();
        match written {
            Ok(()) if self.failing => info!(%path, "the access log is written again"),
            Err(ref error) if !self.failing => {
                warn!(%path, %error, "the access log is not written: its lines are lost");
            }
            _ => {}
        }
        self.failing = written.is_err();
    }

    /// Opens the file anew if its name means another one now, or none.
    fn follow_name(&mut self) -> io::Result<()> {
        let is = |metadata: &Metadata| (metadata.dev(), metadata.ino());
        let named = std::fs::metadata(&self.path).ok();
        if named.as_ref().map(is) != Some(is(&self.file.metadata()?)) {
            self.file = open(&self.path)?;
        }
        Ok(())
    }
}

/// Addresses of listeners are not everybody's business.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_was_moved_away_goes_on_under_its_name() {
        let dir = tempfile::tempdir().expect("a directory");
        let (path, moved) = (dir.path().join("access.log"), dir.path().join("access.log.1"));
        std::fs::write(&path, "before\n").expect("written");
        let mut log = Log::open(&path).expect("opens");
        log.write("one\n");
        std::fs::rename(&path, &moved).expect("moved");
        log.write("two\n");
        log.looked_at -= LOOK_EVERY;
        log.write("three\n");
        let read = |path: &Path| std::fs::read_to_string(path).expect("there");
        assert_eq!(
            (read(&moved).as_str(), read(&path).as_str()),
            ("before\none\ntwo\n", "three\n")
        );

        std::fs::remove_file(&path).expect("there");
        log.looked_at -= LOOK_EVERY;
        log.write("four\n");
        assert_eq!(read(&path), "four\n");
    }

    #[test]
    fn a_log_that_cannot_be_opened_is_an_error_that_names_it() {
        let error = start_access_log(Path::new("/nowhere/access.log")).expect_err("no such folder");
        assert!(error.to_string().contains("--access-log /nowhere/access.log"), "{error}");
    }
}
