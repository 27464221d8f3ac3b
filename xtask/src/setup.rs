//! `cargo xtask setup`: installs what this machine lacks, and nothing else.

mod apt;
mod linker;
mod needs;

use std::process::{Command, ExitCode};

use anyhow::{Result, bail};

use crate::toolchain::Toolchain;
use crate::{output, process, workspace};
use needs::{Group, NEEDS, Need};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only report what is missing.
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if !args.check {
        install()?;
        return Ok(ExitCode::SUCCESS);
    }
    let missing = missing();
    for need in &missing {
        output::line(&format!("missing: {} ({})", need.package, need.why));
    }
    let linker = linker::is_missing();
    if linker {
        output::line("missing: bpf-linker (links the kernel programs)");
    }
    if missing.is_empty() && !linker {
        output::line("nothing is missing");
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}

/// Installs what is missing; does nothing, quickly, where nothing is.
pub(crate) fn install() -> Result<()> {
    let missing = missing();
    if !missing.is_empty() {
        if process::find("apt-get").is_none() {
            bail!("{}", elsewhere(&missing));
        }
        apt::install(&missing)?;
    }
    if linker::is_missing() {
        linker::install()?;
    }
    if missing.is_empty() {
        output::note("setup: nothing is missing");
    }
    check_components();
    Ok(())
}

fn missing() -> Vec<&'static Need> {
    let (toolchain, linker) = (Toolchain::find().is_none(), linker::is_missing());
    let wanted = |need: &&Need| match need.group {
        Group::Always => true,
        Group::Compiler => toolchain,
        Group::Linker => linker,
    };
    NEEDS.iter().filter(wanted).filter(|need| !need.proof.is_there()).collect()
}

/// What to do on a machine without apt.
fn elsewhere(missing: &[&Need]) -> String {
    let packages: Vec<_> = missing.iter().map(|need| need.package).collect();
    format!(
        "this machine has no apt-get: install by its own means what Debian calls {}, and for the \
         kernel programs `rustup toolchain install nightly --component rust-src` and `cargo install \
         bpf-linker`",
        packages.join(", ")
    )
}

fn check_components() {
    for (component, subcommand) in [("rustfmt", "fmt"), ("clippy", "clippy")] {
        let mut cargo = workspace::cargo(&[subcommand, "--version"]);
        let cargo: &mut Command = &mut cargo;
        if process::answer(cargo).is_none() {
            output::note(&format!(
                "`cargo {subcommand}` is missing, which `cargo xtask test` needs: run \
                 `rustup component add {component}`"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_apt_one_sentence_names_the_packages() {
        let text = elsewhere(&NEEDS.iter().collect::<Vec<_>>());
        assert!(text.contains("etcd-server") && text.contains("rust-src"), "{text}");
        assert_eq!(text.lines().count(), 1);
    }
}
