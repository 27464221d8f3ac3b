//! `cargo xtask setup`: installs what this machine lacks, and nothing else.

mod apt;
mod linker;
mod needs;

use std::process::{Command, ExitCode};

use anyhow::{Result, bail};

use crate::toolchain::Toolchain;
use crate::{output, process, workspace};
use needs::{COMPILER, Group, NEEDS, Need};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only report what is missing.
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if !args.check {
        install()?;
        install_components()?;
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
    let components = missing_components();
    for component in &components {
        output::line(&format!("missing: {component} (`cargo xtask test`)"));
    }
    if missing.is_empty() && !linker && components.is_empty() {
        output::line("nothing is missing");
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}

/// Installs what is missing; does nothing, quickly, where nothing is.
pub(crate) fn install() -> Result<()> {
    let missing = install_packages()?;
    // A machine whose lists apt-get had never fetched may only now offer the compiler.
    if missing {
        install_packages()?;
    }
    if linker::is_missing() {
        linker::install()?;
    }
    if !missing {
        output::note("setup: nothing is missing");
    }
    Ok(())
}

/// Returns whether any were missing.
fn install_packages() -> Result<bool> {
    let missing = missing();
    if missing.is_empty() {
        return Ok(false);
    }
    if process::find("apt-get").is_none() {
        bail!("{}", elsewhere(&missing));
    }
    apt::install(&missing)?;
    Ok(true)
}

fn missing() -> Vec<&'static Need> {
    let compiler = wants_compiler(Toolchain::find().as_ref(), || apt::offers(COMPILER));
    let linker = linker::is_missing();
    let wanted = |need: &&Need| match need.group {
        Group::Always => true,
        Group::Compiler => compiler,
        Group::Linker => linker,
    };
    NEEDS.iter().filter(wanted).filter(|need| !need.proof.is_there()).collect()
}

/// Whether to install Debian's compiler. bpf-linker is built with its LLVM and may not read what
/// another compiler writes, so a nightly will do only where Debian's is not offered.
fn wants_compiler(found: Option<&Toolchain>, offered: impl Fn() -> bool) -> bool {
    match found {
        Some(Toolchain::Debian) => false,
        Some(Toolchain::Rustup { .. }) => offered(),
        None => true,
    }
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

/// Adds what `cargo xtask test` needs of the toolchain that runs xtask.
pub(crate) fn install_components() -> Result<()> {
    let missing = missing_components();
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.join(" ");
    if let Some(rustup) = process::find("rustup") {
        // rustup has named the toolchain in use in our environment, so it adds them to that one.
        let mut rustup = Command::new(rustup);
        rustup.args(["component", "add"]).args(&missing);
        process::step(&format!("setup: rustup component add {names}"), "components", rustup)?;
    }
    if !missing_components().is_empty() {
        bail!("the toolchain that runs this has no {names}: install it as you installed cargo");
    }
    Ok(())
}

fn missing_components() -> Vec<&'static str> {
    let mut components = vec![("rustfmt", "fmt"), ("clippy", "clippy")];
    components.retain(|(_, subcommand)| {
        process::answer(&mut workspace::cargo(&[subcommand, "--version"])).is_none()
    });
    components.into_iter().map(|(component, _)| component).collect()
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

    #[test]
    fn a_nightly_will_do_only_where_debians_compiler_is_not_offered() {
        let nightly = Toolchain::Rustup { name: "nightly".to_owned() };
        for (why, found, offered, want) in [
            ("it is there", Some(&Toolchain::Debian), true, false),
            ("it goes with the linker", Some(&nightly), true, true),
            ("an older release", Some(&nightly), false, false),
            ("nothing else will do", None, true, true),
            ("apt says what it has not", None, false, true),
        ] {
            assert_eq!(wants_compiler(found, || offered), want, "{why}");
        }
    }
}
