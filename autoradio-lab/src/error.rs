//! What can go wrong in a lab, one variant per thing a person would do about it.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why a lab, or something in it, did not work.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// Namespaces need privileges.
    #[error(
        "the lab makes network namespaces and needs root: run the same command behind \
         `sudo --preserve-env env \"PATH=$PATH\"`"
    )]
    NotRoot,
    /// A program ran and failed.
    #[error("`{argv}` failed ({status}): {stderr}")]
    Command {
        /// The whole command line.
        argv: String,
        /// How it ended.
        status: String,
        /// What it said, trimmed.
        stderr: String,
    },
    /// A program is not there or cannot be started.
    #[error("`{argv}` cannot be started: {source}; `cargo xtask setup` installs what is missing")]
    Spawn {
        /// The whole command line.
        argv: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Something did not become true in time.
    #[error("{what}: not so after {} ms", limit.as_millis())]
    Deadline {
        /// What was waited for.
        what: String,
        /// How long.
        limit: Duration,
    },
    /// The daemon did not come up.
    #[error("{host}: {why}; the end of its log:\n{log_tail}")]
    NotReady {
        /// The node.
        host: String,
        /// What was seen.
        why: String,
        /// Last lines of its log.
        log_tail: String,
    },
    /// A lab name that cannot be used.
    #[error("lab name {name:?}: use 1 to 24 of a-z, 0-9 and inner hyphens")]
    Name {
        /// What was given.
        name: String,
    },
    /// More hosts than the lab's addresses and a machine can hold.
    #[error("{count} hosts of one kind: the lab's limit is {max}")]
    TooMany {
        /// What was asked for.
        count: usize,
        /// What is possible.
        max: usize,
    },
    /// A lab of this name is there already.
    #[error("a lab called {name} exists already: `cargo xtask lab down --name {name}` removes it")]
    Exists {
        /// Its name.
        name: String,
    },
    /// No lab of this name.
    #[error("no lab is called {name}: `cargo xtask lab list` shows what there is")]
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// No host of this name.
    #[error("lab {lab} has no host {host}: it has {hosts}")]
    Host {
        /// The lab.
        lab: String,
        /// What was asked for.
        host: String,
        /// The hosts there are.
        hosts: String,
    },
    /// No process to signal.
    #[error("{host} runs no process called {process}")]
    Process {
        /// The host.
        host: String,
        /// The process name.
        process: String,
    },
    /// A file the lab needs has not been built.
    #[error("{} is missing: {remedy}", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// What makes it.
        remedy: &'static str,
    },
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A program answered something else than agreed.
    #[error("{what}: unexpected answer: {source}")]
    Answer {
        /// Who answered.
        what: String,
        /// What does not fit.
        source: serde_json::Error,
    },
    /// A certificate cannot be made.
    #[error("making a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// A client of the lab could not do its work.
    #[error("{what}: {source}")]
    Probe {
        /// What it tried.
        what: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Ctrl-C.
    #[error("interrupted")]
    Interrupted,
}

impl LabError {
    /// For `map_err` on file operations.
    pub(crate) fn file(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { path, source }
    }
}
