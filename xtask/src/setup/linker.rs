//! bpf-linker, which Debian does not package.

use std::process::Command;

use anyhow::Result;

use crate::{process, toolchain};

/// The version that goes with LLVM 22 and Debian's `rustc-web`.
const VERSION: &str = "0.13.0";
/// Oldest minor of 0.x that will do.
const MINOR_MIN: u32 = 13;
const LLVM: &str = "/usr/lib/llvm-22";

/// Whether bpf-linker has to be built: it is not there, too old, or does not start.
pub(super) fn is_missing() -> bool {
    let Some(program) = process::find("bpf-linker") else {
        return true;
    };
    let version = process::answer(Command::new(program).arg("--version"));
    !version.is_some_and(|version| is_new_enough(&version))
}

/// Builds it with cargo; about two minutes.
pub(super) fn install() -> Result<()> {
    let mut cargo = Command::new("cargo");
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(toolchain::is_inherited) {
            cargo.env_remove(&name);
        }
    }
    cargo.args(["install", "bpf-linker", "--version", VERSION, "--locked", "--force"]);
    cargo.args(["--no-default-features", "--features", "llvm-22"]);
    // llvm-sys reads the first, bpf-linker's own build script the second.
    cargo.env("LLVM_SYS_221_PREFIX", LLVM).env("LLVM_PREFIX", LLVM);
    process::step("setup: building bpf-linker", "bpf-linker", cargo)
}

/// Reads `bpf-linker 0.13.0`.
fn is_new_enough(version: &str) -> bool {
    let number = version.split_whitespace().nth(1).unwrap_or_default();
    let mut parts = number.split('.').map(str::parse::<u32>);
    match (parts.next(), parts.next()) {
        (Some(Ok(0)), Some(Ok(minor))) => minor >= MINOR_MIN,
        (Some(Ok(_)), Some(Ok(_))) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_linkers_are_built_anew() {
        for (version, want) in [
            ("bpf-linker 0.13.0", true),
            ("bpf-linker 0.9.15", false),
            ("bpf-linker 1.0.0", true),
            ("", false),
        ] {
            assert_eq!(is_new_enough(version), want, "{version}");
        }
    }
}
