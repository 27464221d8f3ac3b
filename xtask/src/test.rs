//! `cargo xtask test`: every check and every test, and one line at the end that says how it went.

mod tally;

use std::process::{Command, ExitCode};

use anyhow::Result;
use autoradio_lab::probe;

use crate::output::{self, Step};
use crate::{build_ebpf, lab, process, setup, tidy, workspace};
use tally::Tally;

const LAB: &str = "autoradio-lab";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Take the machine as it is.
    #[arg(long)]
    no_setup: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let mut run = Run::default();
    lab::remove_abandoned();
    if !args.no_setup {
        // Without what it installs, nothing below means anything.
        setup::install()?;
        setup::install_components()?;
    }
    run.program("fmt", workspace::cargo(&["fmt", "--all", "--check"]))?;
    let ebpf = ["fmt", "--manifest-path", "autoradio-ebpf/Cargo.toml", "--check"];
    run.program("fmt of the kernel programs", workspace::cargo(&ebpf))?;
    run.program("clippy", clippy())?;
    run.check("tidy", tidy::check);
    run.check("build-ebpf", build_ebpf::build);
    run.program("build", workspace::cargo(&["build", "--workspace", "--bins"]))?;
    run.program("build of the tests", workspace::cargo(&["test", "--workspace", "--no-run"]))?;
    let root = root_tests_are_possible();
    run.program("tests", tests(root, &["--workspace", "--exclude", LAB], &[]))?;
    // One lab at a time: their timings are part of what is tested.
    run.program("lab tests", tests(root, &["--package", LAB], &["--test-threads=1"]))?;
    // A test that was killed or aborted removes nothing.
    lab::remove_abandoned();
    Ok(run.finish())
}

fn clippy() -> Command {
    workspace::cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])
}

/// Whether tests that need root can run here; says why if they cannot.
fn root_tests_are_possible() -> bool {
    let possible = probe::try_all(&workspace::target().join("bpf/pass"));
    if let Err(error) = &possible {
        output::line(&format!("tests that need root and namespaces are ignored: {error}"));
    }
    possible.is_ok()
}

/// Tests that need root are run where they can, and else counted as ignored.
fn tests(root: bool, packages: &[&str], options: &[&str]) -> Command {
    let mut cargo = workspace::cargo(&["test", "--no-fail-fast"]);
    cargo.args(packages).arg("--").args(options);
    if root {
        cargo.arg("--include-ignored");
    }
    cargo
}

/// The stages so far.
#[derive(Default)]
struct Run {
    tally: Tally,
    failed_stages: Vec<String>,
}

impl Run {
    /// Runs a program as a stage. Its failure is noted, and the other stages still run.
    fn program(&mut self, title: &str, command: Command) -> Result<()> {
        let step = Step::start(title);
        let ended = process::logged(&title.replace(' ', "-"), command)?;
        let tally = Tally::of(&ended.text);
        if ended.success {
            step.end(&tally.summary().unwrap_or_else(|| "ok".to_owned()));
        } else {
            step.end("FAILED");
            output::note(&ended.tail());
            self.failed_stages.push(title.to_owned());
        }
        self.tally.add(tally, ended.success);
        Ok(())
    }

    /// Runs a part of xtask as a stage.
    fn check(&mut self, title: &str, work: impl FnOnce() -> Result<()>) {
        let step = Step::start(title);
        let result = work();
        step.end(if result.is_ok() { "ok" } else { "FAILED" });
        self.tally.add(Tally::default(), result.is_ok());
        if let Err(error) = result {
            output::note(&format!("{error:#}"));
            self.failed_stages.push(title.to_owned());
        }
    }

    fn finish(self) -> ExitCode {
        for (reason, count) in &self.tally.reasons {
            output::line(&format!("{count} ignored: {reason}"));
        }
        if !self.failed_stages.is_empty() {
            output::line(&format!("failed: {}", self.failed_stages.join(", ")));
        }
        output::line(&self.tally.to_string());
        if self.failed_stages.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
