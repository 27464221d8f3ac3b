//! Wall clocks that jump: the daemon of a node has one of its own, which is set by a file.
//!
//! libfaketime stands between the daemon and the system for `CLOCK_REALTIME` alone; the monotonic clocks, the boot-time
//! clock among them, are the system's. The daemon gives etcd and Icecast an environment of its own making, so their wall
//! clocks stay; etcd, being Go, asks the kernel without libc and could not be deceived anyway.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Host, LabError};

/// Debian's libfaketime for programs with threads. The loader knows the architecture's folder by `$LIB`.
const LIBRARY: &str = "/usr/$LIB/faketime/libfaketimeMT.so.1";
/// Where the system keeps named memory and semaphores.
const SHARED_MEMORY: &str = "/dev/shm";

/// Gives the program that `command` starts on the host a wall clock of its own, which is right until it [jumps](jump).
pub(crate) fn give(host: &Host, command: &mut Command) -> Result<(), LabError> {
    if !file(host).exists() {
        jump(host, 0)?;
    }
    command.env("LD_PRELOAD", LIBRARY).env("FAKETIME_TIMESTAMP_FILE", file(host));
    // The file is read each time, and times of files stay as they are.
    command.env("FAKETIME_NO_CACHE", "1").env("NO_FAKE_STAT", "1");
    command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    Ok(())
}

/// Sets the host's wall clock to the real time and so many seconds. The daemon's jumps at once.
pub fn jump(host: &Host, seconds: i64) -> Result<(), LabError> {
    // Renamed, so that nobody reads half of it.
    let (new, path) = (host.folder().join("wall-clock.new"), file(host));
    fs::write(&new, format!("{seconds:+}\n")).map_err(LabError::file(&new))?;
    fs::rename(&new, &path).map_err(LabError::file(&path))
}

/// Removes what libfaketime leaves in memory of a process that was killed, if this one had it.
pub(crate) fn forget(process: u32) {
    for name in [format!("faketime_shm_{process}"), format!("sem.faketime_sem_{process}")] {
        // Most processes had none.
        fs::remove_file(Path::new(SHARED_MEMORY).join(name)).unwrap_or_default();
    }
}

fn file(host: &Host) -> PathBuf {
    host.folder().join("wall-clock")
}
