//! Runs programs; what they write goes to a log file, whose end is shown when they fail.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use autoradio_lab::{LabError, interrupt};

use crate::output::Step;
use crate::workspace;

const POLL: Duration = Duration::from_millis(50);
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

/// Runs a program to its end, however it ends; its output is in `target/xtask/<log>.log`.
pub(crate) fn logged(log: &str, mut command: Command) -> Result<Ended> {
    let folder = workspace::target().join("xtask");
    fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    let log = folder.join(format!("{log}.log"));
    let file = File::create(&log).with_context(|| format!("creating {}", log.display()))?;
    let twin = file.try_clone()?;
    let argv = autoradio_lab::command::argv(&command);
    let child = command.stdin(Stdio::null()).stdout(file).stderr(twin).spawn();
    let status = wait(child.with_context(|| format!("starting `{argv}`"))?)?;
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

fn wait(mut child: Child) -> Result<ExitStatus> {
    loop {
        if let Some(status) = child.try_wait()? {
            // A program that Ctrl-C ended has not failed by itself.
            return if interrupt::requested() {
                Err(LabError::Interrupted.into())
            } else {
                Ok(status)
            };
        }
        if interrupt::requested() {
            child.kill().unwrap_or_default();
        }
        std::thread::sleep(POLL);
    }
}
