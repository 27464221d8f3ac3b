//! `cargo xtask bench failover`: nodes are lost in every way, again and again, and clients measure.

mod round;
mod tally;

use anyhow::{Context, Result, bail};
use autoradio_lab::failover::Watch;
use autoradio_lab::{Lab, LabError};

use super::report::Report;
use crate::output::{self, Step};
use crate::{build_ebpf, lab, setup};
use round::Fault;
use tally::Tally;

const MOUNT: &str = "/live.mp3";
const NODES: usize = 3;
const CLIENTS: usize = 2;

/// Runs `rounds` of each fault that `only` names, or of all. A round that fails is part of the
/// result; a cluster that does not come back after one ends the bench.
pub(super) fn run(rounds: usize, only: &[String]) -> Result<Report> {
    let faults = chosen(only)?;
    autoradio_lab::lab::require_root()?;
    lab::remove_abandoned();
    setup::install()?;
    build_ebpf::build()?;
    let programs = lab::build_programs(true)?;
    let builder = Lab::builder().nodes(NODES).clients(CLIENTS).binaries(&programs);
    let lab = Step::run("laying the network", || builder.build())?;
    Step::run("starting the nodes", || lab.start_nodes())?;
    let mount = Step::run("creating the mount", || lab.node(1).create_mount(MOUNT))?;
    let watch = Watch::start(&lab, &mount)?;
    let mut tally = Tally::default();
    for number in 0..rounds {
        for fault in &faults {
            let title = format!("{} {} of {rounds}", fault.subject(), number + 1);
            let step = Step::start(&title);
            let told = one(&lab, &watch, *fault, number, &mut tally);
            step.end(told.as_deref().unwrap_or("the cluster does not come back"));
            told.with_context(|| format!("after {title}"))?;
        }
    }
    Ok(tally.report())
}

fn chosen(only: &[String]) -> Result<Vec<Fault>> {
    let known = || Fault::ALL.map(Fault::subject).join(", ");
    for name in only {
        if !Fault::ALL.iter().any(|fault| fault.subject() == name) {
            bail!("no fault is called {name}: there are {}", known());
        }
    }
    let wanted = |fault: &Fault| only.is_empty() || only.iter().any(|name| name == fault.subject());
    Ok(Fault::ALL.into_iter().filter(wanted).collect())
}

/// One round and the repair after it. Returns what to say of it.
fn one(
    lab: &Lab,
    watch: &Watch<'_>,
    fault: Fault,
    number: usize,
    tally: &mut Tally,
) -> Result<String, LabError> {
    let ready = round::prepare(lab, watch, MOUNT, fault, number)?;
    let measured = round::run(watch, fault, ready);
    let told = match measured {
        Ok(sample) => {
            let told = sample.to_string();
            tally.add(fault, ready.etcd_leader, Some(sample));
            told
        }
        Err(LabError::Interrupted) => return Err(LabError::Interrupted),
        Err(error) => {
            tally.add(fault, ready.etcd_leader, None);
            output::note(&format!("{}: {error}", fault.subject()));
            "FAILED".to_owned()
        }
    };
    round::repair(fault, ready.node)?;
    Ok(told)
}
