//! `cargo xtask build-ebpf`: the kernel programs, into `target/bpf`.

use std::env::consts::ARCH;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::toolchain::Toolchain;
use crate::{output, process, workspace};

/// The crate's programs: the daemon's, the same for the bench, the one for a veth's far end, and the bench's limit.
const PROGRAMS: [&str; 4] = ["autoradio", "bench", "pass", "reflect"];
const TARGET: &str = "bpfel-unknown-none";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Optimise. The kernel's verifier refuses programs that are not, so this is always done.
    #[arg(long)]
    release: bool,
}

pub(crate) fn run(_: &Args) -> Result<ExitCode> {
    build()?;
    for program in PROGRAMS {
        output::line(&workspace::target().join("bpf").join(program).to_string_lossy());
    }
    Ok(ExitCode::SUCCESS)
}

/// Builds the programs; cargo does nothing where nothing changed.
pub(crate) fn build() -> Result<()> {
    let toolchain = Toolchain::require()?;
    if process::find("bpf-linker").is_none() {
        bail!("bpf-linker is missing, which links the kernel programs: run `cargo xtask setup`");
    }
    process::step("building the kernel programs", "build-ebpf", command(&toolchain)?)?;
    let (from, to) = (workspace::target().join("bpf-build"), workspace::target().join("bpf"));
    fs::create_dir_all(&to).with_context(|| format!("creating {}", to.display()))?;
    for program in PROGRAMS {
        let built = from.join(TARGET).join("release").join(program);
        copy_if_changed(&built, &to.join(program))?;
    }
    Ok(())
}

fn command(toolchain: &Toolchain) -> Result<Command> {
    let mut cargo = toolchain.cargo();
    cargo.current_dir(workspace::root().join("autoradio-ebpf"));
    cargo.args(["build", "--release", "-Z", "build-std=core", "--target", TARGET]);
    cargo.arg("--target-dir").arg(workspace::target().join("bpf-build"));
    // BTF is made from the debug information; maps need it.
    let arch = format!("--cfg=bpf_target_arch=\"{ARCH}\"");
    // The kernel takes such reads on every machine that can do them; otherwise each is made of single bytes. A compiler
    // that does not know the feature (LLVM before 22) builds a slower program.
    let misaligned = "-Ctarget-feature=+allows-misaligned-mem-access";
    let flags = ["-Cdebuginfo=2", "-Clink-arg=--btf", misaligned, &arch];
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = process::cargo_bin().into_iter().chain(std::env::split_paths(&path));
    cargo.env("PATH", std::env::join_paths(folders)?);
    Ok(cargo)
}

/// Keeps the old file, and so its time, where nothing changed: the daemon embeds it and would be
/// built anew.
fn copy_if_changed(from: &Path, to: &Path) -> Result<()> {
    let new = fs::read(from).with_context(|| format!("{} was not built", from.display()))?;
    if fs::read(to).is_ok_and(|old| old == new) {
        return Ok(());
    }
    fs::write(to, new).with_context(|| format!("writing {}", to.display()))
}
