//! Finds a compiler that can build the kernel programs: it must take `-Z` flags and ship the source
//! of `core`.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::process;

/// Oldest compiler that takes the kernel programs' edition and crates (minor of 1.x).
const MINOR_MIN: u32 = 87;
const CORE_SOURCE: &str = "lib/rustlib/src/rust/library/core";

/// A compiler for the kernel programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Toolchain {
    /// Debian's `rustc-web`, `cargo-web`, `rust-web-src`.
    Debian,
    /// A rustup toolchain with the component `rust-src`.
    Rustup {
        /// Its name, such as `nightly-x86_64-unknown-linux-gnu`.
        name: String,
    },
}

impl Toolchain {
    /// Finds one. Debian's comes first: its LLVM is the one `setup` builds bpf-linker with.
    pub(crate) fn find() -> Option<Self> {
        debian().or_else(rustup)
    }

    /// The same, or a sentence on what to do.
    pub(crate) fn require() -> Result<Self> {
        match Self::find() {
            Some(toolchain) => Ok(toolchain),
            None => bail!(
                "no compiler here can build the kernel programs: run `cargo xtask setup` on Debian, \
                 or `rustup toolchain install nightly --component rust-src` elsewhere"
            ),
        }
    }

    /// Its cargo, rid of everything that an outer cargo or rustup has put into the environment.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = match self {
            Self::Debian => Command::new("/usr/bin/cargo"),
            Self::Rustup { .. } => Command::new("cargo"),
        };
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(is_inherited) {
                command.env_remove(&name);
            }
        }
        match self {
            Self::Debian => command.env("RUSTC", "/usr/bin/rustc").env("RUSTC_BOOTSTRAP", "1"),
            Self::Rustup { name } => command.env("RUSTUP_TOOLCHAIN", name),
        };
        command
    }
}

/// Whether a variable steers cargo or the compiler and comes from whatever started us. Where cargo
/// keeps its files and how it reaches the network stays.
pub(crate) fn is_inherited(name: &str) -> bool {
    let stays = ["CARGO_HOME", "CARGO_NET_", "CARGO_HTTP_", "CARGO_REGISTR", "CARGO_SOURCE_"];
    let steers = name.starts_with("CARGO") && !stays.iter().any(|stay| name.starts_with(stay));
    // cargo points the library path at its own toolchain, which is not this one.
    steers
        || name.starts_with("RUSTC")
        || matches!(name, "RUSTFLAGS" | "RUSTUP_TOOLCHAIN" | "LD_LIBRARY_PATH")
}

fn debian() -> Option<Toolchain> {
    let has_source = Path::new("/usr").join(CORE_SOURCE).is_dir();
    let has_cargo = Path::new("/usr/bin/cargo").is_file();
    let version = process::answer(Command::new("/usr/bin/rustc").arg("--version"))?;
    let new_enough = minor(&version).is_some_and(|minor| minor >= MINOR_MIN);
    (has_source && has_cargo && new_enough).then_some(Toolchain::Debian)
}

fn rustup() -> Option<Toolchain> {
    let list = process::answer(Command::new("rustup").args(["toolchain", "list"]))?;
    let names = list.lines().filter_map(|line| line.split_whitespace().next());
    names.filter(|name| name.starts_with("nightly")).find_map(|name| {
        let mut rustc = Command::new("rustup");
        let sysroot = process::answer(rustc.args(["run", name, "rustc", "--print", "sysroot"]))?;
        let found = Path::new(&sysroot).join(CORE_SOURCE).is_dir();
        found.then(|| Toolchain::Rustup { name: name.to_owned() })
    })
}

/// The minor of `rustc 1.96.0 (…)`.
fn minor(version: &str) -> Option<u32> {
    version.strip_prefix("rustc 1.")?.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compiler_versions_are_read() {
        assert_eq!(minor("rustc 1.96.0 (abc 2026-05-01) (built from a source tarball)"), Some(96));
        assert_eq!(minor("gcc 12"), None);
    }

    #[test]
    fn only_variables_that_steer_a_build_are_dropped() {
        for (name, dropped) in [
            ("CARGO", true),
            ("CARGO_MANIFEST_DIR", true),
            ("CARGO_ENCODED_RUSTFLAGS", true),
            ("RUSTC_WRAPPER", true),
            ("RUSTFLAGS", true),
            ("RUSTUP_TOOLCHAIN", true),
            ("CARGO_HOME", false),
            ("CARGO_NET_OFFLINE", false),
            ("RUSTUP_HOME", false),
            ("PATH", false),
        ] {
            assert_eq!(is_inherited(name), dropped, "{name}");
        }
    }
}
