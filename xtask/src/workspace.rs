//! Where things are in the workspace.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The workspace's root folder.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// Cargo's output folder.
pub(crate) fn target() -> PathBuf {
    root().join("target")
}

/// cargo with the toolchain that runs xtask, in the workspace's root.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(cargo);
    // The lab and build-ebpf look for programs in `target`, wherever else the caller builds.
    command.args(args).current_dir(root()).env_remove("CARGO_TARGET_DIR");
    command
}
