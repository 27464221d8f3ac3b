//! `cargo xtask demo`: the whole path once, every part real, then the loss of a node and the drain of
//! another, and what came of it.

mod losses;
mod report;

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use autoradio_lab::status::CreatedMount;
use autoradio_lab::{Lab, Node, Running, media};

use crate::output::{self, Step};
use crate::{build_ebpf, lab, setup};
use report::{Audio, Dns, Heard, Report};

const MOUNT: &str = "/live.mp3";
const LISTEN_SECONDS: u32 = 10;
const SOON: Duration = Duration::from_secs(10);
const NODES: usize = 3;
const CLIENTS: usize = 2;
/// Times that the source which is listened to connects.
const SOURCE_ATTEMPTS: u32 = 20;
/// Times that the source of a lab which is kept connects again: for as long as anybody looks.
const KEPT_ATTEMPTS: u32 = 100_000;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Leave the lab running, as lab `demo`, and say how to look around.
    #[arg(long)]
    keep: bool,
    /// Print the result as one line of JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    autoradio_lab::lab::require_root()?;
    lab::remove_abandoned();
    setup::install()?;
    build_ebpf::build()?;
    let programs = lab::build_programs(true)?;
    let lab = build_lab(args, &programs)?;
    let (report, mount) = show(&lab).with_context(|| log_hint(&lab))?;
    let told = if args.json { serde_json::to_string(&report)? } else { report.table() };
    output::line(&told);
    report.check()?;
    if args.keep {
        let name = lab.name().to_owned();
        Step::run("bringing all nodes back", || losses::undo(&lab))?;
        let url = mount.source_url(lab.domain());
        lab.client(1).stream_tone_again(&url, KEPT_ATTEMPTS)?.detach();
        lab.keep()?;
        output::note(&lab::hints(&name));
    } else {
        Step::run("removing the lab", || {
            drop(lab);
            anyhow::Ok(())
        })?;
    }
    Ok(ExitCode::SUCCESS)
}

fn build_lab(args: &Args, programs: &Path) -> Result<Lab> {
    let mut builder = Lab::builder().nodes(NODES).clients(CLIENTS).binaries(programs);
    // A demo that is not kept has a name of its own, and so disturbs no other.
    if args.keep {
        builder = builder.name("demo");
    }
    Ok(Step::run("laying the network", || builder.build())?)
}

/// Everything, in the order that it happens. Returns what came of it, and the mount.
fn show(lab: &Lab) -> Result<(Report, CreatedMount)> {
    Step::run("starting the nodes", || lab.start_nodes())?;
    let mount = Step::run("creating the mount", || lab.node(1).create_mount(MOUNT))?;
    let heard = play(lab, &mount)?;
    let (failover, drain) = losses::lose(lab, &mount)?;
    Ok((Report::new(lab.nodes().len(), heard, failover, drain), mount))
}

/// A source, a query and a listener.
fn play(lab: &Lab, mount: &CreatedMount) -> Result<Heard> {
    let (client, domain) = (lab.client(1), lab.domain());
    let _source = Step::run("ffmpeg goes on air", || on_air(lab, mount))?;
    let found = Step::run("dig asks for the name", || client.dig(domain))?;
    for node in lab.nodes() {
        if !found.contains(&node.host().v4()) {
            bail!("dig found {found:?} for {domain}, without {}", node.host().v4());
        }
    }
    let audio = Step::run("a listener listens", || listen(lab))?;
    let mut dns = Dns { answers: 0, kernel_answers: 0 };
    for node in lab.nodes() {
        let status = node.status()?.dns;
        dns.answers += status.answers;
        dns.kernel_answers += status.kernel_answers;
    }
    Ok(Heard { dns, audio, xdp_mode: lab.node(1).status()?.xdp.mode })
}

/// ffmpeg as the mount's source, through whichever node it finds by the name.
fn on_air(lab: &Lab, mount: &CreatedMount) -> Result<Running> {
    lab.wait_master(MOUNT, SOON)?;
    let source =
        lab.client(1).stream_tone_again(&mount.source_url(lab.domain()), SOURCE_ATTEMPTS)?;
    lab.wait_until("the source is connected", SOON, || {
        let connected = |status: autoradio_lab::status::Status| status.source_connected(MOUNT);
        lab.nodes().iter().any(|node| node.status().is_ok_and(connected))
    })
    .with_context(|| format!("ffmpeg said:\n{}", source.log_tail()))?;
    Ok(source)
}

fn listen(lab: &Lab) -> Result<Audio> {
    let url = format!("http://{}{MOUNT}", lab.domain());
    let (mut listener, file) = lab.client(CLIENTS).listen(&url, LISTEN_SECONDS)?;
    // curl ends by its own time limit, which it calls a failure; the bytes are what counts.
    listener.wait(SOON + Duration::from_secs(LISTEN_SECONDS.into()))?;
    let said = || format!("the listener of {url} said:\n{}", listener.log_tail());
    let bytes = fs::metadata(&file).with_context(said)?.len();
    let heard = media::probe(&file).with_context(said)?;
    Ok(Audio { bytes, codec: heard.codec, seconds: heard.seconds })
}

fn log_hint(lab: &Lab) -> String {
    let tail = |node: &Node| {
        let log = node.log().unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let tail = &lines[lines.len().saturating_sub(10)..];
        format!("the end of {}'s log:\n{}\n", node.host().name(), tail.join("\n"))
    };
    lab.nodes().iter().map(tail).collect::<String>() + "the demo failed"
}
