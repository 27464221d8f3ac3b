//! A node: a host that runs the daemon.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::host::{Host, Running, tail};
use crate::status::{CreatedMount, Status};
use crate::tls::Files;
use crate::{LabError, bpffs, clock, command, etcd, faults, netns, topology, wall_clock};

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
    /// Whether etcd asks for certificates.
    pub tls: bool,
    /// Whether the daemon has a wall clock of its own.
    pub own_wall_clock: bool,
    /// What else the daemon is started with.
    pub args: Vec<String>,
    /// All nodes' hosts: one that has no cluster yet joins a living one.
    pub hosts: Vec<Host>,
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
    ///
    /// The first node that starts founds the cluster. Every other joins it, as does a founder whose
    /// state was wiped; one that is a member already goes on with what it knows.
    pub fn start(&self) -> Result<(), LabError> {
        let join = self.join_address()?;
        let state = self.state();
        fs::create_dir_all(&state).map_err(LabError::file(&state))?;
        let mut daemon = self.host.command(&self.program(DAEMON)?);
        daemon.args(["run", "--domain", &self.settings.domain, "--name", self.host.name()]);
        daemon.args(["--interface", topology::INTERFACE, "--xdp", &self.settings.xdp]);
        daemon.args(["--address", &self.host.v4().to_string()]);
        daemon.args(["--address", &self.host.v6().to_string()]);
        daemon.arg("--state-dir").arg(&state).arg("--bpf-dir").arg(self.bpf_dir());
        daemon.args(&self.settings.args);
        if let Some(files) = self.certificates() {
            daemon.args(files.flags());
        } else if self.settings.hosts.len() > 1 {
            daemon.arg("--insecure-etcd");
        }
        if let Some(address) = join {
            daemon.args(["--join", &address]);
        }
        if self.settings.own_wall_clock {
            wall_clock::give(&self.host, &mut daemon)?;
        }
        *self.daemon() = Some(Running::start(daemon, &self.log_path())?);
        Ok(())
    }

    /// Its own file system of BPF pins, which outlives the daemon as `/sys/fs/bpf` would: `ip netns exec` hides that.
    pub fn bpf_dir(&self) -> PathBuf {
        self.host.folder().join("bpf")
    }

    /// Removes all that the node knows, as the loss of its disk would. It must not be running.
    pub fn wipe(&self) -> Result<(), LabError> {
        for path in [self.state(), self.founder_mark()] {
            let removed =
                if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            match removed {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(LabError::file(&path)(error));
                }
                _ => {}
            }
        }
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
        read_json("radioctl", &command::stdout(self.radioctl_command(args)?)?)
    }

    /// Runs radioctl on this node for what it does. Returns what it prints.
    pub fn radioctl_text(&self, args: &[&str]) -> Result<String, LabError> {
        command::stdout(self.radioctl_command(args)?)
    }

    fn radioctl_command(&self, args: &[&str]) -> Result<Command, LabError> {
        let mut radioctl = self.host.command(&self.program("radioctl")?);
        if let Some(files) = self.certificates() {
            radioctl.args(["--etcd", "https://127.0.0.1:2379"]).args(files.flags());
        }
        radioctl.arg("--state-dir").arg(self.state());
        radioctl.args(args).args(["-o", "json"]);
        Ok(radioctl)
    }

    /// The paths of all mounts, as radioctl on this node sees them.
    pub fn mount_paths(&self) -> Result<Vec<String>, LabError> {
        let listed: Vec<ListedMount> = self.radioctl(&["list-mounts"])?;
        Ok(listed.into_iter().map(|mount| mount.path).collect())
    }

    /// Runs etcdctl against this node's own etcd. Returns what it prints.
    pub fn etcdctl(&self, args: &[&str]) -> Result<String, LabError> {
        command::stdout(etcd::etcdctl(&self.host, self.certificates().as_ref(), args))
    }

    /// Whether this node's etcd leads.
    pub fn leads_etcd(&self) -> bool {
        let answer = self.etcdctl(&["endpoint", "status", "-w", "json"]);
        answer.and_then(|answer| etcd::leads(&answer)).unwrap_or(false)
    }

    /// Names of the etcds that vote, as this node's knows them.
    pub fn etcd_voters(&self) -> Result<Vec<String>, LabError> {
        etcd::voters(&self.etcdctl(&["member", "list", "-w", "json"])?)
    }

    /// The files it shows etcd; `None` in a lab without certificates.
    pub fn certificates(&self) -> Option<Files> {
        self.settings.tls.then(|| Files::in_folder(self.host.folder()))
    }

    /// All that the daemon has logged since the lab was made.
    pub fn log(&self) -> Result<String, LabError> {
        let path = self.log_path();
        fs::read_to_string(&path).map_err(LabError::file(&path))
    }

    /// Creates a mount.
    pub fn create_mount(&self, path: &str) -> Result<CreatedMount, LabError> {
        self.radioctl(&["create-mount", path])
    }

    /// Asks the daemon to end and waits for it. Returns how it ended, if this process started it.
    pub fn stop(&self, limit: Duration) -> Result<Option<ExitStatus>, LabError> {
        self.terminate()?;
        self.wait_ended(limit)
    }

    /// Asks the daemon to end.
    pub fn terminate(&self) -> Result<(), LabError> {
        faults::signal(&self.host, DAEMON, Signal::SIGTERM).map(drop)
    }

    /// Waits until the daemon has ended. Returns how, if this process started it.
    pub fn wait_ended(&self, limit: Duration) -> Result<Option<ExitStatus>, LabError> {
        if let Some(mut daemon) = self.daemon().take() {
            return daemon.wait(limit).map(Some);
        }
        clock::wait_until("the daemon ends", limit, || {
            faults::find(&self.host, DAEMON).is_empty()
        })?;
        Ok(None)
    }

    /// Kills everything that runs on the node, as a power cut would, its kernel programs too; its files stay.
    pub fn kill(&self, limit: Duration) -> Result<(), LabError> {
        faults::kill_everything(&self.host, limit)?;
        self.daemon().take();
        bpffs::clear(&self.bpf_dir())
    }

    /// Kills the daemon alone: its children, and its kernel program, go on.
    pub fn kill_daemon(&self, limit: Duration) -> Result<(), LabError> {
        faults::kill(&self.host, DAEMON)?;
        self.wait_ended(limit).map(drop)
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

    fn state(&self) -> PathBuf {
        self.host.folder().join("state")
    }

    /// A file that says that this node founded the lab's cluster.
    fn founder_mark(&self) -> PathBuf {
        founder_mark(&self.host)
    }

    /// Whom to join: `None` for the founder, which this node becomes if there is none yet.
    fn join_address(&self) -> Result<Option<String>, LabError> {
        let hosts = &self.settings.hosts;
        let is_founder = |host: &Host| founder_mark(host).exists();
        let has_state = |host: &Host| host.folder().join("state").exists();
        if !hosts.iter().any(|host| is_founder(host) || has_state(host)) {
            let mark = self.founder_mark();
            fs::write(&mark, "").map_err(LabError::file(&mark))?;
        }
        if is_founder(&self.host) {
            return Ok(None);
        }
        let others = || hosts.iter().filter(|host| host.name() != self.host.name());
        let alive = others().find(|host| get(host, "/readyz").is_ok());
        Ok(alive.or_else(|| others().next()).map(|host| host.v4().to_string()))
    }

    fn get(&self, path: &str) -> Result<String, LabError> {
        get(&self.host, path)
    }

    fn program(&self, name: &str) -> Result<String, LabError> {
        program(&self.settings.binaries, name)
    }
}

/// Where a program of this workspace is, as a command takes it.
pub(crate) fn program(binaries: &Path, name: &str) -> Result<String, LabError> {
    let path = binaries.join(name);
    if !path.is_file() {
        let remedy = "`cargo build` makes it";
        return Err(LabError::Missing { path, remedy });
    }
    Ok(path.to_string_lossy().into_owned())
}

/// What `radioctl list-mounts` says of a mount, as far as the lab reads it.
#[derive(Deserialize)]
struct ListedMount {
    path: String,
}

fn founder_mark(host: &Host) -> PathBuf {
    host.folder().join("founder")
}

fn get(host: &Host, path: &str) -> Result<String, LabError> {
    let mut curl = netns::command(host.namespace(), "curl");
    curl.args(["--silent", "--show-error", "--fail", "--max-time", "2"]);
    curl.arg(format!("{ADMIN}{path}"));
    command::stdout(curl)
}

fn read_json<T: DeserializeOwned>(what: &str, text: &str) -> Result<T, LabError> {
    serde_json::from_str(text).map_err(|source| LabError::Answer { what: what.to_owned(), source })
}
