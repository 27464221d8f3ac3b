//! Builds, demonstrates, tests and measures autoradio: `cargo xtask`.

mod bench;
mod build_ebpf;
mod clock;
mod demo;
mod fuzz;
mod lab;
mod output;
mod process;
mod setup;
mod test;
mod tidy;
mod toolchain;
mod workspace;

use std::process::ExitCode;

use autoradio_lab::interrupt;
use clap::{Parser, Subcommand};

/// Exit code of a program that Ctrl-C ended, as shells have it.
const INTERRUPTED: u8 = 130;

/// Builds, demonstrates, tests and measures autoradio.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what this machine lacks for building and testing (Debian and Ubuntu).
    Setup(setup::Args),
    /// Build the kernel programs into target/bpf.
    BuildEbpf(build_ebpf::Args),
    /// Clusters of real nodes in network namespaces (needs root).
    #[command(subcommand)]
    Lab(lab::Command),
    /// Everything, once, for real: three nodes, a source, DNS, a listener, a failover (needs root).
    Demo(demo::Args),
    /// Figures of this project, as a table, JSON and a plot in target/bench.
    #[command(subcommand)]
    Bench(bench::Command),
    /// Look for bytes that break a parser of what comes from outside, with libFuzzer.
    Fuzz(fuzz::Args),
    /// Every check and every test.
    Test(test::Args),
    /// Check the rules of the house that no compiler knows.
    Tidy,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match catch_signals().and_then(|()| run(cli.command)) {
        Ok(code) => code,
        Err(_) if interrupt::requested() => {
            output::note("interrupted");
            lab::remove_abandoned();
            ExitCode::from(INTERRUPTED)
        }
        Err(error) => {
            output::note(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Setup(args) => setup::run(&args),
        Command::BuildEbpf(args) => build_ebpf::run(&args),
        Command::Lab(command) => lab::run(command),
        Command::Demo(args) => demo::run(&args),
        Command::Bench(command) => bench::run(&command),
        Command::Fuzz(args) => fuzz::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Tidy => tidy::run(),
    }
}

/// The first Ctrl-C lets waits end with an error, so that labs are removed; a second one ends the
/// program at once, unless packages are being installed.
fn catch_signals() -> anyhow::Result<()> {
    ctrlc::set_handler(|| {
        let again = interrupt::request();
        if process::Shield::is_up() {
            output::note("what apt-get has begun is brought to its end first");
        } else if again {
            output::note("ended at once; `cargo xtask lab list` shows what is left");
            std::process::exit(INTERRUPTED.into());
        }
    })?;
    Ok(())
}
