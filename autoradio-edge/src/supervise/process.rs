//! Runs one child: start, watch, restart, reload, stop.

use std::io;
use std::net::{IpAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tokio::process::Command;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::log::{LastLines, carry};
use super::pid_file::Note;
use super::{Backoff, ChildSpec, SuperviseError, prepare_dir, program, user_of};
use crate::clock;

/// How often a process that is not our own child is looked at while it ends.
const STALE_POLL: Duration = Duration::from_millis(20);
/// Longest time that the kernel may take to close the sockets of a process that was killed.
const PORT_FREE_MAX: Duration = Duration::from_secs(1);
/// Variables of our environment that a child gets.
const ENV_KEPT: [&str; 3] = ["PATH", "LANG", "TZ"];

/// What a child is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChildState {
    /// It runs.
    Running {
        /// Its process id, which is its process group's too.
        pid: i32,
    },
    /// It ended by itself or could not be started; it is started again after the back-off.
    Waiting {
        /// How it ended.
        reason: String,
    },
    /// It was stopped and stays so.
    Stopped,
}

/// A supervised child. Dropping it stops the process without waiting for its end; [`Child::stop`] waits.
#[derive(Debug)]
pub struct Child {
    state: watch::Receiver<ChildState>,
    last_lines: LastLines,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Child {
    /// The child's state, to be watched.
    pub fn state(&self) -> watch::Receiver<ChildState> {
        self.state.clone()
    }

    /// The process id, if it runs.
    pub fn pid(&self) -> Option<i32> {
        match *self.state.borrow() {
            ChildState::Running { pid } => Some(pid),
            ChildState::Waiting { .. } | ChildState::Stopped => None,
        }
    }

    /// The newest line the child wrote: after an early end, usually the reason.
    pub fn last_line(&self) -> String {
        self.last_lines.newest()
    }

    /// Whether one of the last hundred lines it wrote has these words.
    pub fn has_said(&self, words: &str) -> bool {
        self.last_lines.contain(words)
    }

    /// Sends SIGHUP. A child that does not run reads its configuration when it starts.
    pub fn reload(&self) {
        if let Some(pid) = self.pid() {
            // It may have ended a moment ago; then its restart does what the signal would have done.
            let _ = kill(Pid::from_raw(pid), Signal::SIGHUP);
        }
    }

    /// Ends the child: SIGTERM, then SIGKILL after the grace time. Returns when the process is gone.
    pub async fn stop(mut self) {
        self.stop.cancel();
        // The task ends by itself; an error would mean it had panicked, and then nothing is left to wait for.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Starts a child and keeps it running until it is stopped.
///
/// Ends first what an earlier daemon left of it. Fails when the program is missing or its directories cannot be made;
/// a program that ends at once is no failure here but a [`ChildState::Waiting`].
pub async fn start(spec: ChildSpec) -> Result<Child, SuperviseError> {
    let program =
        program::find(&spec.program, std::env::var_os("PATH").as_deref()).ok_or_else(|| {
            SuperviseError::ProgramMissing {
                name: spec.name,
                program: spec.program.display().to_string(),
                remedy: spec.remedy,
            }
        })?;
    end_stale(&spec).await?;
    let user = user_of(spec.run_as);
    for dir in &spec.dirs {
        prepare_dir(spec.name, dir, user.as_ref())?;
    }
    if let Some(dir) = spec.pid_file.parent() {
        std::fs::create_dir_all(dir).map_err(|source| SuperviseError::Directory {
            name: spec.name,
            path: dir.display().to_string(),
            source,
        })?;
    }
    let (report, state) =
        watch::channel(ChildState::Waiting { reason: "not started yet".to_owned() });
    let stop = CancellationToken::new();
    let last_lines = LastLines::default();
    let supervisor =
        Supervisor { spec, program, report, last_lines: last_lines.clone(), stop: stop.clone() };
    let task = tokio::spawn(supervisor.run());
    Ok(Child { state, last_lines, stop, task })
}

/// Whether a child could listen on `port` of `address`; the error is the system's.
///
/// A process that was killed a moment ago is gone before its sockets are, so a taken port is looked at again for a while.
pub async fn port_is_free(address: IpAddr, port: u16) -> io::Result<()> {
    let deadline = clock::now() + PORT_FREE_MAX;
    loop {
        match TcpListener::bind((address, port)) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && clock::now() < deadline => {}
            bound => return bound.map(drop),
        }
        tokio::time::sleep(STALE_POLL).await;
    }
}

/// Ends the process that the child's pid file names, if it is that child and still runs.
pub async fn end_stale(spec: &ChildSpec) -> Result<(), SuperviseError> {
    let Some(note) = Note::read(&spec.pid_file).filter(Note::lives) else {
        return Ok(());
    };
    warn!(child = spec.name, pid = note.pid, "ending a child that an earlier daemon left");
    for (signal, grace) in
        [(Signal::SIGTERM, spec.stop_grace), (Signal::SIGKILL, Duration::from_secs(2))]
    {
        // It leads its own group; whatever it started goes with it.
        let _ = killpg(Pid::from_raw(note.pid), signal);
        if gone_within(&note, grace).await {
            return Ok(());
        }
    }
    Err(SuperviseError::StaleChild { name: spec.name, pid: note.pid })
}

async fn gone_within(note: &Note, grace: Duration) -> bool {
    let deadline = clock::now() + grace;
    while note.lives() {
        if clock::now() >= deadline {
            return false;
        }
        tokio::time::sleep(STALE_POLL).await;
    }
    true
}

struct Supervisor {
    spec: ChildSpec,
    program: PathBuf,
    report: watch::Sender<ChildState>,
    last_lines: LastLines,
    stop: CancellationToken,
}

impl Supervisor {
    async fn run(self) {
        let mut backoff = Backoff::default();
        while !self.stop.is_cancelled() {
            let started = clock::now();
            let reason = match self.spawn() {
                Ok(process) => self.watch(process).await,
                Err(error) => Some(format!("cannot be started: {error}")),
            };
            let Some(reason) = reason else { break };
            let wait = backoff.wait_after(clock::now() - started);
            let (wait_ms, last_line) = (wait.as_millis(), self.last_lines.newest());
            warn!(child = self.spec.name, reason, wait_ms, last_line, "child ended");
            self.report.send_replace(ChildState::Waiting { reason });
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.stop.cancelled() => {}
            }
        }
        self.report.send_replace(ChildState::Stopped);
    }

    fn spawn(&self) -> std::io::Result<tokio::process::Child> {
        let mut command = Command::new(&self.program);
        command
            .args(&self.spec.args)
            .env_clear()
            .envs(ENV_KEPT.iter().filter_map(|name| Some((*name, std::env::var_os(name)?))))
            .envs(self.spec.env.iter().map(|(name, value)| (name, value)))
            .current_dir(self.spec.dirs.first().map_or(Path::new("/"), PathBuf::as_path))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Its own group: a Ctrl-C meant for the daemon must not reach it, and its helpers end with it.
            .process_group(0)
            .kill_on_drop(true);
        if let Some(user) = user_of(self.spec.run_as) {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        let mut process = command.spawn()?;
        if let Some(stdout) = process.stdout.take() {
            tokio::spawn(carry(self.spec.name, stdout, self.last_lines.clone()));
        }
        if let Some(stderr) = process.stderr.take() {
            tokio::spawn(carry(self.spec.name, stderr, self.last_lines.clone()));
        }
        Ok(process)
    }

    /// Waits for the process; the reason if it ended by itself, `None` if it was stopped.
    async fn watch(&self, mut process: tokio::process::Child) -> Option<String> {
        let pid = process.id().and_then(|pid| i32::try_from(pid).ok())?;
        let args = self.spec.args.iter().map(AsRef::as_ref);
        let note = Note::new(pid, &self.program, args);
        if let Err(error) = note.write(&self.spec.pid_file) {
            // The child works without the note; only a later daemon would miss it.
            warn!(child = self.spec.name, %error, file = %self.spec.pid_file.display(), "pid file not written");
        }
        info!(child = self.spec.name, pid, "child started");
        self.report.send_replace(ChildState::Running { pid });
        let ended = tokio::select! {
            status = process.wait() => Some(status),
            () = self.stop.cancelled() => None,
        };
        if ended.is_none() {
            self.end(pid, &mut process).await;
        }
        // Helpers that outlived their leader would hold its ports and pipes.
        let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
        let _ = std::fs::remove_file(&self.spec.pid_file);
        ended.map(describe)
    }

    async fn end(&self, pid: i32, process: &mut tokio::process::Child) {
        let group = Pid::from_raw(pid);
        let _ = killpg(group, Signal::SIGTERM);
        let ended = tokio::time::timeout(self.spec.stop_grace, process.wait()).await;
        if ended.is_err() {
            let grace_ms = self.spec.stop_grace.as_millis();
            warn!(child = self.spec.name, pid, grace_ms, "child ignores SIGTERM: killing it");
            let _ = killpg(group, Signal::SIGKILL);
            let _ = process.wait().await;
        }
        info!(child = self.spec.name, pid, "child stopped");
    }
}

fn describe(status: std::io::Result<ExitStatus>) -> String {
    status.map_or_else(|error| error.to_string(), |status| status.to_string())
}
