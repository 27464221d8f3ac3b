//! Network namespaces, made and entered through `ip netns`.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

use nix::sched::{CloneFlags, setns};

use crate::LabError;
use crate::command;

/// Where `ip netns` keeps its names.
const NAMES: &str = "/run/netns";
/// Where `ip netns exec` finds files that a namespace sees in place of those in `/etc`.
const ETC: &str = "/etc/netns";

/// Makes a namespace; its loopback is up.
pub fn create(name: &str) -> Result<(), LabError> {
    command::run("ip", &["netns", "add", name])?;
    ip(name, &["link", "set", "lo", "up"])
}

/// Runs `ip` on the namespace.
pub fn ip(name: &str, args: &[&str]) -> Result<(), LabError> {
    let words: Vec<&str> = ["-n", name].iter().chain(args).copied().collect();
    command::run("ip", &words).map(drop)
}

/// A command that will run inside the namespace. `ip` replaces itself by the program, so that the
/// child's process id is the program's.
pub fn command(name: &str, program: &str) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", name, program]);
    command
}

/// Moves the calling thread, and those it will start, into the namespace for good.
pub(crate) fn enter(name: &str) -> Result<(), LabError> {
    let path = Path::new(NAMES).join(name);
    let namespace = fs::File::open(&path).map_err(LabError::file(&path))?;
    let entered = setns(namespace, CloneFlags::CLONE_NEWNET);
    entered.map_err(|error| LabError::file(&path)(error.into()))
}

/// Ids of the processes that run inside; none if the namespace is gone.
pub fn process_ids(name: &str) -> Vec<i32> {
    let listed = command::run("ip", &["netns", "pids", name]).unwrap_or_default();
    listed.lines().filter_map(|line| line.trim().parse().ok()).collect()
}

/// Names of all namespaces and of all leftovers of namespaces: what `ip` keeps, and folders in
/// `/etc/netns` that outlived a reboot.
pub fn list() -> Vec<String> {
    let mut names: Vec<String> = [NAMES, ETC].iter().flat_map(|folder| entries(folder)).collect();
    names.sort();
    names.dedup();
    names
}

/// Writes a file that programs in the namespace see as `/etc/<file>`.
pub fn write_etc(name: &str, file: &str, text: &str) -> Result<(), LabError> {
    let folder = Path::new(ETC).join(name);
    fs::create_dir_all(&folder).map_err(LabError::file(&folder))?;
    let path = folder.join(file);
    fs::write(&path, text).map_err(LabError::file(&path))
}

/// Removes the namespace and its `/etc` files, as far as they exist.
pub fn delete(name: &str) -> Result<(), LabError> {
    let mark = Path::new(NAMES).join(name);
    if mark.exists() && command::run("ip", &["netns", "del", name]).is_err() {
        // After a reboot of a machine whose /run is on disk the name is a plain file.
        gone(fs::remove_file(&mark)).map_err(LabError::file(&mark))?;
    }
    let folder = Path::new(ETC).join(name);
    gone(fs::remove_dir_all(&folder)).map_err(LabError::file(&folder))
}

fn entries(folder: &str) -> Vec<String> {
    let found = fs::read_dir(folder).into_iter().flatten().flatten();
    found.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

fn gone(result: std::io::Result<()>) -> std::io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
