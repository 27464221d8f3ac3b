//! Runs programs; what they write goes to a log file, whose end is shown when they fail.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use autoradio_lab::{LabError, interrupt};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::output::Step;
use crate::workspace;

const POLL: Duration = Duration::from_millis(50);
/// Two seconds.
const GROUP_POLLS_MAX: usize = 40;
const TAIL_LINES: usize = 60;

/// A program that has ended.
pub(crate) struct Ended {
    pub(crate) success: bool,
    pub(crate) text: String,
    pub(crate) log: PathBuf,
}

impl Ended {
    /// What a person needs to see of a failure.
    pub(crate) fn tail(&self) -> String {
        let lines: Vec<&str> = self.text.lines().collect();
        let last = &lines[lines.len().saturating_sub(TAIL_LINES)..];
        format!("{}\n(all of it: {})", last.join("\n"), self.log.display())
    }
}

/// Runs a program to its end as a step with progress; its failure is an error with its last lines.
pub(crate) fn step(title: &str, log: &str, command: Command) -> Result<()> {
    Step::run(title, || {
        let ended = logged(log, command)?;
        if !ended.success {
            bail!("{title} failed:\n{}", ended.tail());
        }
        Ok(())
    })
}

/// While one lives, Ctrl-C ends neither programs that are started nor xtask: for what must not be
/// left half-done.
pub(crate) struct Shield(());

static SHIELDS: AtomicUsize = AtomicUsize::new(0);

impl Shield {
    pub(crate) fn raise() -> Self {
        SHIELDS.fetch_add(1, Ordering::SeqCst);
        Self(())
    }

    pub(crate) fn is_up() -> bool {
        SHIELDS.load(Ordering::SeqCst) > 0
    }
}

impl Drop for Shield {
    fn drop(&mut self) {
        SHIELDS.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Runs a program to its end, however it ends; its output is in `target/xtask/<log>.log`.
pub(crate) fn logged(log: &str, mut command: Command) -> Result<Ended> {
    let folder = workspace::target().join("xtask");
    fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    let log = folder.join(format!("{log}.log"));
    let file = File::create(&log).with_context(|| format!("creating {}", log.display()))?;
    let twin = file.try_clone()?;
    let argv = autoradio_lab::command::argv(&command);
    let shielded = Shield::is_up();
    if !shielded {
        // A group of its own: one signal reaches all of cargo's children. Behind a shield nothing is
        // signalled, and sudo can only ask for a password in the terminal's own group.
        command.process_group(0);
    }
    let child = command.stdin(Stdio::null()).stdout(file).stderr(twin).spawn();
    let child = child.with_context(|| format!("starting `{argv}`"))?;
    let status = wait(child, || interrupt::requested() && !shielded)?;
    let text = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
    Ok(Ended { success: status.success(), text, log })
}

/// What a program prints; `None` if it is missing or fails.
pub(crate) fn answer(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    output.status.success().then_some(text)
}

/// Where a program is: on the path, or in the folders for administrators' programs, which are not
/// on everybody's path.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let extra = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    let mut folders = std::env::split_paths(&path).chain(cargo_bin()).chain(extra);
    folders.find_map(|folder| Some(folder.join(program)).filter(|file| file.is_file()))
}

/// Where `cargo install` puts programs.
pub(crate) fn cargo_bin() -> Option<PathBuf> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(Path::new(&std::env::var_os("HOME")?).join(".cargo")));
    Some(home?.join("bin"))
}

/// Waits for a program's end. Once `interrupted`, its whole group is killed, and the wait is an
/// error: a program that Ctrl-C ended has not failed by itself.
fn wait(mut child: Child, interrupted: impl Fn() -> bool) -> Result<ExitStatus> {
    let group = Pid::from_raw(i32::try_from(child.id())?);
    loop {
        let ended = child.try_wait()?;
        match ended {
            Some(_) if interrupted() => {
                wait_for_group(group);
                return Err(LabError::Interrupted.into());
            }
            Some(status) => return Ok(status),
            // It may just have ended, which the next look will show.
            None if interrupted() => killpg(group, Signal::SIGKILL).unwrap_or_default(),
            None => {}
        }
        std::thread::sleep(POLL);
    }
}

/// The group's last process may need a moment to end. Where nobody reaps orphans it never goes
/// away, but it is dead all the same.
fn wait_for_group(group: Pid) {
    for _ in 0..GROUP_POLLS_MAX {
        if killpg(group, None).is_err() {
            return;
        }
        std::thread::sleep(POLL);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};

    use autoradio_lab::faults;

    use super::*;

    #[test]
    fn an_interrupted_program_ends_with_all_its_children() {
        let mut sh = Command::new("sh");
        sh.args(["-c", "sleep 1000 & echo $!; wait"]).stdout(Stdio::piped()).process_group(0);
        let mut child = sh.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let grandchild = line.trim().parse().unwrap();
        assert!(faults::lives(grandchild));
        assert!(wait(child, || true).is_err());
        assert!(!faults::lives(grandchild), "the program's child lives on");
    }

    #[test]
    fn a_program_that_nobody_interrupts_runs_to_its_end() {
        let child = Command::new("sh").args(["-c", "exit 3"]).spawn().unwrap();
        assert_eq!(wait(child, || false).unwrap().code(), Some(3));
    }

    #[test]
    fn a_shield_is_up_until_the_last_is_dropped() {
        let (first, second) = (Shield::raise(), Shield::raise());
        drop(first);
        assert!(Shield::is_up());
        drop(second);
        assert!(!Shield::is_up());
    }
}
