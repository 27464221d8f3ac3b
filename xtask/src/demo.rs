//! `cargo xtask demo`: the whole path once, every part real, and what came of it.

mod report;

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use autoradio_lab::{Lab, Running, media};

use crate::output::{self, Step};
use crate::{build_ebpf, lab, setup};
use report::{Audio, Dns, Report};

const MOUNT: &str = "/live.mp3";
const LISTEN_SECONDS: u32 = 10;
const SOON: Duration = Duration::from_secs(10);

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
    let (report, source) = play(&lab).with_context(|| log_hint(&lab))?;
    let told = if args.json { serde_json::to_string(&report)? } else { report.table() };
    output::line(&told);
    report.check()?;
    if args.keep {
        source.detach();
        let name = lab.name().to_owned();
        lab.keep()?;
        output::note(&lab::hints(&name));
    } else {
        Step::run("removing the lab", || {
            drop((source, lab));
            anyhow::Ok(())
        })?;
    }
    Ok(ExitCode::SUCCESS)
}

fn build_lab(args: &Args, programs: &Path) -> Result<Lab> {
    let mut builder = Lab::builder().nodes(1).clients(1).binaries(programs);
    // A demo that is not kept has a name of its own, and so disturbs no other.
    if args.keep {
        builder = builder.name("demo");
    }
    Ok(Step::run("laying the network", || builder.build())?)
}

/// A source, a query and a listener. Returns what came of it and the source, which plays on.
fn play(lab: &Lab) -> Result<(Report, Running)> {
    let (node, client, domain) = (lab.node(1), lab.client(1), lab.domain());
    Step::run("starting the node", || lab.start_nodes())?;
    let mount = Step::run("creating the mount", || node.create_mount(MOUNT))?;
    let source = Step::run("ffmpeg goes on air", || {
        let source = client.stream_tone(&mount.source_url(domain))?;
        lab.wait_until("the source is connected", SOON, || {
            node.status().is_ok_and(|status| status.source_connected(MOUNT))
        })
        .with_context(|| format!("ffmpeg said:\n{}", source.log_tail()))?;
        anyhow::Ok(source)
    })?;
    let found = Step::run("dig asks for the name", || client.dig(domain))?;
    if !found.contains(&node.host().v4()) {
        bail!("dig found {found:?} for {domain}, not the node's {}", node.host().v4());
    }
    let audio = Step::run("a listener listens", || listen(lab))?;
    let status = node.status()?;
    let dns = Dns { answers: status.dns.answers, kernel_answers: status.dns.kernel_answers };
    let nodes = lab.nodes().len();
    Ok((Report { nodes, dns, audio, xdp_mode: status.xdp.mode }, source))
}

fn listen(lab: &Lab) -> Result<Audio> {
    let url = format!("http://{}{MOUNT}", lab.domain());
    let (mut listener, file) = lab.client(1).listen(&url, LISTEN_SECONDS)?;
    // curl ends by its own time limit, which it calls a failure; the bytes are what counts.
    listener.wait(SOON + Duration::from_secs(LISTEN_SECONDS.into()))?;
    let said = || format!("the listener of {url} said:\n{}", listener.log_tail());
    let bytes = fs::metadata(&file).with_context(said)?.len();
    let heard = media::probe(&file).with_context(said)?;
    Ok(Audio { bytes, codec: heard.codec, seconds: heard.seconds })
}

fn log_hint(lab: &Lab) -> String {
    let log = fs::read_to_string(lab.node(1).log_path()).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    let tail = &lines[lines.len().saturating_sub(20)..];
    format!("the end of node1's log:\n{}\nthe demo failed", tail.join("\n"))
}
