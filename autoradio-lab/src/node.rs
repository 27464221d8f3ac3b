//! A node: a host that runs the daemon.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde::de::DeserializeOwned;

use crate::host::{Host, Running, tail};
use crate::status::{CreatedMount, Status};
use crate::{LabError, clock, command, faults, netns, topology};

/// The daemon's program and process name.
pub const DAEMON: &str = "autoradio-edge";
const ADMIN: &str = "http://127.0.0.1:8080";

/// What every node of a lab is started with.
#[derive(Clone, Debug)]
pub struct NodeSettings {
    /// The cluster's zone.
    pub domain: String,
    /// The daemon's `--xdp`.
    pub xdp: String,
    /// Folder of the programs `autoradio-edge` and `radioctl`.
    pub binaries: PathBuf,
}

/// A host that runs the daemon.
#[derive(Debug)]
pub struct Node {
    host: Host,
    settings: NodeSettings,
    /// `None` while it does not run, or when another process started it.
    daemon: Mutex<Option<Running>>,
}

impl Node {
    pub(crate) fn new(host: Host, settings: NodeSettings) -> Self {
        Self { host, settings, daemon: Mutex::new(None) }
    }

    /// The host it is.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Where the daemon logs to.
    pub fn log_path(&self) -> PathBuf {
        self.host.folder().join("daemon.log")
    }

    /// Starts the daemon; it needs a moment until it is ready.
    pub fn start(&self) -> Result<(), LabError> {
        let state = self.host.folder().join("state");
        fs::create_dir_all(&state).map_err(LabError::file(&state))?;
        let mut daemon = self.host.command(&self.program(DAEMON)?);
        daemon.args(["run", "--domain", &self.settings.domain, "--name", self.host.name()]);
        daemon.args(["--interface", topology::INTERFACE, "--xdp", &self.settings.xdp]);
        daemon.args(["--address", &self.host.v4().to_string()]);
        daemon.args(["--address", &self.host.v6().to_string()]);
        daemon.arg("--state-dir").arg(&state);
        *self.daemon() = Some(Running::start(daemon, &self.log_path())?);
        Ok(())
    }

    /// Waits until the daemon says that it serves.
    pub fn wait_ready(&self, limit: Duration) -> Result<(), LabError> {
        let mut ended = None;
        let waited = clock::wait_until("the daemon is ready", limit, || {
            ended = self.daemon().as_mut().and_then(Running::ended);
            ended.is_some() || self.is_ready()
        });
        let why = match (waited, ended) {
            (Ok(()), None) => return Ok(()),
            (Err(LabError::Interrupted), _) => return Err(LabError::Interrupted),
            (Err(error), None) => error.to_string(),
            (_, Some(status)) => format!("the daemon ended ({status})"),
        };
        let (host, log_tail) = (self.host.name().to_owned(), tail(&self.log_path()));
        Err(LabError::NotReady { host, why, log_tail })
    }

    /// Whether the daemon says that it serves.
    pub fn is_ready(&self) -> bool {
        self.get("/readyz").is_ok()
    }

    /// The daemon's own view.
    pub fn status(&self) -> Result<Status, LabError> {
        read_json("status", &self.get("/v1/status")?)
    }

    /// Runs radioctl on this node and reads the JSON that it prints.
    pub fn radioctl<T: DeserializeOwned>(&self, args: &[&str]) -> Result<T, LabError> {
        let mut radioctl = self.host.command(&self.program("radioctl")?);
        radioctl.args(args).args(["-o", "json"]);
        read_json("radioctl", &command::stdout(radioctl)?)
    }

    /// Creates a mount.
    pub fn create_mount(&self, path: &str) -> Result<CreatedMount, LabError> {
        self.radioctl(&["create-mount", path])
    }

    /// Asks the daemon to end and waits for it. Returns how it ended, if this process started it.
    pub fn stop(&self, limit: Duration) -> Result<Option<ExitStatus>, LabError> {
        faults::signal(&self.host, DAEMON, Signal::SIGTERM)?;
        if let Some(mut daemon) = self.daemon().take() {
            return daemon.wait(limit).map(Some);
        }
        clock::wait_until("the daemon ends", limit, || {
            faults::find(&self.host, DAEMON).is_empty()
        })?;
        Ok(None)
    }

    /// Kills everything that runs on the node, as a power cut would; its files stay.
    pub fn kill(&self, limit: Duration) -> Result<(), LabError> {
        faults::kill_everything(&self.host, limit)?;
        self.daemon().take();
        Ok(())
    }

    /// Lets the daemon outlive this process.
    pub(crate) fn detach(&self) {
        if let Some(daemon) = self.daemon().take() {
            daemon.detach();
        }
    }

    /// Reaps the daemon after the lab's namespaces were emptied.
    pub(crate) fn forget(&self) {
        self.daemon().take();
    }

    fn daemon(&self) -> MutexGuard<'_, Option<Running>> {
        self.daemon.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, path: &str) -> Result<String, LabError> {
        let mut curl = netns::command(self.host.namespace(), "curl");
        curl.args(["--silent", "--show-error", "--fail", "--max-time", "2"]);
        curl.arg(format!("{ADMIN}{path}"));
        command::stdout(curl)
    }

    fn program(&self, name: &str) -> Result<String, LabError> {
        let path: &Path = &self.settings.binaries.join(name);
        if !path.is_file() {
            let remedy = "`cargo build` makes it";
            return Err(LabError::Missing { path: path.to_owned(), remedy });
        }
        Ok(path.to_string_lossy().into_owned())
    }
}

fn read_json<T: DeserializeOwned>(what: &str, text: &str) -> Result<T, LabError> {
    serde_json::from_str(text).map_err(|source| LabError::Answer { what: what.to_owned(), source })
}
