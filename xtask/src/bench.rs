//! `cargo xtask bench`: figures of this project, as JSON for programs, a table and a plot for people.

mod cores;
mod dns;
mod failover;
mod placement;
mod plot;
mod redirect;
mod report;
mod server;
mod stream;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::output;
use crate::workspace;
use report::Report;

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Answers, their latency and their cost, against the known servers (needs root and two cores).
    Dns {
        /// Only these, as they are called in the result.
        #[arg(long, value_name = "NAME", value_delimiter = ',')]
        only: Vec<String>,
        #[command(flatten)]
        common: Common,
    },
    /// How long the loss of a node is noticed, fault by fault (needs root).
    Failover {
        /// Rounds of each fault [default: 20, with --quick 5]
        #[arg(long)]
        rounds: Option<usize>,
        /// Only these faults, as they are called in the result.
        #[arg(long, value_name = "NAME", value_delimiter = ',')]
        only: Vec<String>,
        #[command(flatten)]
        common: Common,
    },
    /// What deciding costs at 1000 nodes and 10 000 mounts.
    Placement {
        #[command(flatten)]
        common: Common,
    },
    /// Redirects a second and core, against known servers (needs root and two cores).
    Redirect {
        /// Only these, as they are called in the result.
        #[arg(long, value_name = "NAME", value_delimiter = ',')]
        only: Vec<String>,
        #[command(flatten)]
        common: Common,
    },
    /// What a listener costs and how well it is served, against known servers and a bare loop (needs root and two cores).
    Stream {
        /// Only these, as they are called in the result.
        #[arg(long, value_name = "NAME", value_delimiter = ',')]
        only: Vec<String>,
        #[command(flatten)]
        common: Common,
    },
}

/// What every bench takes.
#[derive(clap::Args)]
pub(crate) struct Common {
    /// Measure less, in less time.
    #[arg(long)]
    quick: bool,
    /// Also write the result to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

pub(crate) fn run(command: &Command) -> Result<ExitCode> {
    let (report, common) = match command {
        Command::Dns { only, common } => (dns::run(common.quick, only)?, common),
        Command::Failover { rounds, only, common } => {
            let rounds = rounds.unwrap_or(if common.quick { 5 } else { 20 });
            (failover::run(rounds, only)?, common)
        }
        Command::Placement { common } => (placement::run(common.quick)?, common),
        Command::Redirect { only, common } => (redirect::run(common.quick, only)?, common),
        Command::Stream { only, common } => (stream::run(common.quick, only)?, common),
    };
    publish(&report, common)?;
    Ok(if report.broken().is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Shows a result, and writes it where it was asked for.
fn publish(report: &Report, common: &Common) -> Result<()> {
    output::line(&report.table());
    for note in &report.notes {
        output::line(&format!("note: {note}"));
    }
    for broken in report.broken() {
        output::line(&format!("not as promised: {broken}"));
    }
    let folder = workspace::target().join("bench");
    fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    let picture = folder.join(format!("{}.svg", report.bench));
    fs::write(&picture, plot::svg(report))
        .with_context(|| format!("writing {}", picture.display()))?;
    output::note(&format!("plot: {}", picture.display()));
    if let Some(file) = &common.json {
        let text = serde_json::to_string(report)?;
        fs::write(file, text + "\n").with_context(|| format!("writing {}", file.display()))?;
    }
    Ok(())
}
