//! `cargo xtask lab`: clusters that outlive the command.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use autoradio_lab::persist::Record;
use autoradio_lab::{Lab, LabError, faults, persist};

use crate::output::{self, Step};
use crate::{build_ebpf, process, workspace};

const KILL_LIMIT: Duration = Duration::from_secs(10);

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Build everything and start a lab that stays until `lab down`.
    Up {
        /// How many nodes, which form one cluster.
        #[arg(long, default_value_t = 3)]
        nodes: usize,
        /// How many client hosts.
        #[arg(long, default_value_t = 1)]
        clients: usize,
        #[command(flatten)]
        name: Name,
    },
    /// Show the labs on this machine.
    List,
    /// Run a command on a host: `lab exec client1 -- dig radio.example.com`.
    Exec {
        /// `node1`, `client1`, …
        host: String,
        #[command(flatten)]
        name: Name,
        /// The command.
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Kill a process on a host, or everything that runs there.
    Kill {
        /// `node1`, `client1`, …
        host: String,
        /// Its name, such as `icecast2`; everything without one.
        process: Option<String>,
        #[command(flatten)]
        name: Name,
    },
    /// Cut a host's wire.
    Cut {
        /// `node1`, `client1`, …
        host: String,
        #[command(flatten)]
        name: Name,
    },
    /// Mend a host's wire.
    Heal {
        /// `node1`, `client1`, …
        host: String,
        #[command(flatten)]
        name: Name,
    },
    /// Remove a lab, in whatever state it is.
    Down {
        #[command(flatten)]
        name: Name,
    },
}

#[derive(clap::Args)]
pub(crate) struct Name {
    /// The lab's name.
    #[arg(long, default_value = "lab")]
    name: String,
}

pub(crate) fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Up { nodes, clients, name } => up(nodes, clients, &name.name)?,
        Command::List => list(),
        Command::Exec { host, name, command } => return exec(&name.name, &host, &command),
        Command::Kill { host, process, name } => kill(&name.name, &host, process.as_deref())?,
        Command::Cut { host, name } => faults::cut(Lab::open(&name.name)?.host(&host)?)?,
        Command::Heal { host, name } => faults::heal(Lab::open(&name.name)?.host(&host)?)?,
        Command::Down { name } => persist::down(&name.name)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Builds the daemon and radioctl. Returns the folder they are in.
pub(crate) fn build_programs(release: bool) -> Result<std::path::PathBuf> {
    let mut args = vec!["build", "--package", "autoradio-edge", "--bins"];
    args.extend(release.then_some("--release"));
    process::step("building the daemon and radioctl", "build", workspace::cargo(&args))?;
    Ok(workspace::target().join(if release { "release" } else { "debug" }))
}

/// How to look around in a lab that was left running.
pub(crate) fn hints(name: &str) -> String {
    let option = if name == "lab" { String::new() } else { format!(" --name {name}") };
    format!(
        "lab {name} is up; look around with\n  \
         cargo xtask lab exec{option} client1 -- dig radio.example.com\n  \
         cargo xtask lab exec{option} node1 -- curl -s http://127.0.0.1:8080/v1/status\n  \
         cargo xtask lab exec{option} node1 -- tail -f {}/node1/daemon.log\n  \
         cargo xtask lab kill{option} node1 icecast2\n\
         and remove it with\n  \
         cargo xtask lab down{option}",
        persist::folder(name).display()
    )
}

/// Removes labs whose process ended without doing so, as killed tests do.
pub(crate) fn remove_abandoned() {
    if autoradio_lab::lab::require_root().is_err() {
        return; // Nor could it have made one.
    }
    for name in persist::abandoned() {
        match persist::down(&name) {
            Ok(()) => output::note(&format!("removed lab {name}, which its process left behind")),
            // Another xtask was faster.
            Err(LabError::Unknown { .. }) => {}
            Err(error) => output::note(&format!("lab {name} is not wholly removed: {error}")),
        }
    }
}

fn up(nodes: usize, clients: usize, name: &str) -> Result<()> {
    autoradio_lab::lab::require_root()?;
    remove_abandoned();
    build_ebpf::build()?;
    let programs = build_programs(false)?;
    let builder = Lab::builder().nodes(nodes).clients(clients).name(name).binaries(&programs);
    let lab = Step::run("laying the network", || builder.build())?;
    Step::run("starting the nodes", || lab.start_nodes())?;
    lab.keep()?;
    output::line(&hints(name));
    Ok(())
}

fn list() {
    for name in persist::list() {
        let what = match persist::load(&name) {
            Ok(record) => {
                let state = state(&record);
                format!("{} nodes, {} clients, {state}", record.nodes, record.clients)
            }
            Err(_) => "leftovers only: `lab down` removes them".to_owned(),
        };
        output::line(&format!("{name}: {what}"));
    }
}

fn state(record: &Record) -> String {
    match record.owner_process {
        None => "kept until `lab down`".to_owned(),
        Some(id) if record.is_abandoned() => {
            format!("left behind by process {id}: `lab down` removes it")
        }
        Some(id) => format!("in use by process {id}"),
    }
}

fn exec(name: &str, host: &str, words: &[String]) -> Result<ExitCode> {
    let lab = Lab::open(name)?;
    let (program, args) = words.split_first().context("no command")?;
    let mut command = lab.host(host)?.command(program);
    let status = command.args(args).status().with_context(|| format!("starting {program}"))?;
    // Killed by a signal: no code of its own.
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    Ok(ExitCode::from(code))
}

fn kill(name: &str, host: &str, process: Option<&str>) -> Result<()> {
    let lab = Lab::open(name)?;
    let host = lab.host(host)?;
    match process {
        Some(process) => drop(faults::kill(host, process)?),
        None => faults::kill_everything(host, KILL_LIMIT)?,
    }
    Ok(())
}
