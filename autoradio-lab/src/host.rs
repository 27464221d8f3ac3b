//! A host of the lab: a namespace, addresses, and programs that run there.

use std::ffi::OsStr;
use std::fs::File;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use std::os::unix::process::CommandExt;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::names::{self, Role};
use crate::{LabError, clock, command, netns, wall_clock};

/// One host.
#[derive(Clone, Debug)]
pub struct Host {
    name: String,
    namespace: String,
    bridge: String,
    v4: Ipv4Addr,
    v6: Ipv6Addr,
    folder: PathBuf,
}

impl Host {
    pub(crate) fn new(lab: &str, role: Role, index: usize, lab_folder: &Path) -> Self {
        let name = names::host(role, index);
        Self {
            namespace: names::namespace(lab, &name),
            bridge: names::namespace(lab, names::BRIDGE),
            v4: names::v4(role, index),
            v6: names::v6(role, index),
            folder: lab_folder.join(&name),
            name,
        }
    }

    /// `node1`, `client1`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Name of its namespace, for `ip netns exec`.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Name of the namespace that its wire ends in.
    pub(crate) fn bridge(&self) -> &str {
        &self.bridge
    }

    /// Its IPv4 address.
    pub fn v4(&self) -> Ipv4Addr {
        self.v4
    }

    /// Its IPv6 address.
    pub fn v6(&self) -> Ipv6Addr {
        self.v6
    }

    /// A folder of its own, in memory, removed with the lab.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A command that will run on this host. The settings in the caller's environment are of another
    /// machine, as it were, and do not reach it.
    pub fn command(&self, program: &str) -> Command {
        let mut command = netns::command(&self.namespace, program);
        for (name, _) in std::env::vars_os().filter(|(name, _)| is_setting(name)) {
            command.env_remove(name);
        }
        command
    }

    /// Runs a program on this host to its end. Returns its stdout; not zero is an error.
    pub fn run(&self, program: &str, args: &[&str]) -> Result<String, LabError> {
        let mut command = self.command(program);
        command.args(args);
        command::stdout(command)
    }

    /// Starts a program on this host; what it writes goes to `<log>.log` in the host's folder.
    pub fn spawn(&self, program: &str, args: &[&str], log: &str) -> Result<Running, LabError> {
        let mut command = self.command(program);
        command.args(args);
        Running::start(command, &self.folder.join(format!("{log}.log")))
    }
}

/// A program that was started and is killed, with all its children, when this is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    log: PathBuf,
    detached: bool,
}

impl Running {
    /// Starts `command` as a process group of its own, so that Ctrl-C on the terminal reaches the
    /// lab first and one signal reaches all of the program's children.
    pub(crate) fn start(mut command: Command, log: &Path) -> Result<Self, LabError> {
        let file = File::options().create(true).append(true).open(log);
        let file = file.map_err(LabError::file(log))?;
        let twin = file.try_clone().map_err(LabError::file(log))?;
        let argv = command::argv(&command);
        command.stdin(Stdio::null()).stdout(file).stderr(twin).process_group(0);
        let child = command.spawn().map_err(|source| LabError::Spawn { argv, source })?;
        let log = log.to_owned();
        Ok(Self { child, log, detached: false })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits for its end.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus, LabError> {
        let what = format!("process {} ends", self.id());
        let mut status = None;
        clock::wait_until(&what, limit, || {
            status = self.ended();
            status.is_some()
        })?;
        status.ok_or(LabError::Deadline { what, limit })
    }

    /// Sends it, and all its children, a signal.
    pub fn signal(&self, signal: Signal) {
        if let Ok(id) = i32::try_from(self.child.id()) {
            // The group may have ended by itself, which is what the signal is for.
            killpg(Pid::from_raw(id), signal).unwrap_or_default();
        }
    }

    /// The last lines of what it wrote.
    pub fn log_tail(&self) -> String {
        tail(&self.log)
    }

    /// Lets it live on when this value is dropped.
    pub fn detach(mut self) {
        self.detached = true;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.detached {
            return;
        }
        if self.ended().is_none() {
            self.signal(Signal::SIGKILL);
            self.child.wait().map(drop).unwrap_or_default();
        }
        wall_clock::forget(self.id());
    }
}

/// Whether an environment variable is a setting of the daemon or of radioctl.
fn is_setting(name: &OsStr) -> bool {
    name == "DOMAIN" || name.as_encoded_bytes().starts_with(b"AUTORADIO_")
}

/// The last 20 lines of a file, indented; empty if there is none.
pub(crate) fn tail(path: &Path) -> String {
    tail_of(path, |_| true)
}

/// The same of a daemon's log, without what its children wrote.
pub(crate) fn tail_of_daemon(path: &Path) -> String {
    tail_of(path, |line| !line.contains("supervise::log"))
}

fn tail_of(path: &Path, counts: impl Fn(&str) -> bool) -> String {
    let text = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().filter(|line| counts(line)).collect();
    let last = &lines[lines.len().saturating_sub(20)..];
    format!("  {}", last.join("\n  "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_programs_own_settings_stay_outside() {
        for (name, want) in [
            ("AUTORADIO_XDP", true),
            ("AUTORADIO_ETCD", true),
            ("DOMAIN", true),
            ("AUTORADIO", false),
            ("MY_DOMAIN", false),
            ("PATH", false),
        ] {
            assert_eq!(is_setting(OsStr::new(name)), want, "{name}");
        }
    }
}
