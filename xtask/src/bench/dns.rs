//! `cargo xtask bench dns`: how many answers a second, how late, and at what cost: ours and others'.
//!
//! One machine plays both, and one veth pair joins them; `setup.rs` tells how its cores are shared out. A cost leaves the
//! load generator out by what the same queries cost where a kernel program sends them straight back: that is
//! subtracted from everybody's, so that what remains is what a server adds.

mod cpu;
mod dnsperf;
mod gdnsd;
mod knot;
mod kxdpgun;
mod measure;
mod nsd;
mod peer;
mod setup;
mod subject;
mod tally;
mod test_run;
mod zone;

use std::path::Path;

use anyhow::{Result, bail};
use autoradio_lab::interrupt;

use super::report::Report;
use crate::output::Step;
use crate::{build_ebpf, lab};
use measure::{Measured, Plan};
use setup::{Cores, Setup};
use subject::Subject;
use tally::Tally;

/// Measures what `only` names, or everything. What cannot be measured is part of the result.
pub(super) fn run(quick: bool, only: &[String]) -> Result<Report> {
    let (subjects, test_run) = chosen(only)?;
    autoradio_lab::lab::require_root()?;
    lab::remove_abandoned();
    crate::setup::install()?;
    build_ebpf::build()?;
    let (cores, plan, mut tally) = (Cores::count()?, Plan::new(quick), Tally::default());
    if test_run {
        match test_run::measure(quick) {
            Err(error) if interrupt::requested() => return Err(error),
            measured => tally.add_test_run(measured),
        }
    }
    if !subjects.is_empty() {
        let programs = lab::build_programs(true)?;
        for subject in subjects {
            match one(subject, &programs, cores, &plan) {
                Err(error) if interrupt::requested() => return Err(error),
                measured => tally.add(subject, measured),
            }
        }
    }
    Ok(tally.report())
}

/// Which subjects, and whether the kernel program by itself.
fn chosen(only: &[String]) -> Result<(Vec<Subject>, bool)> {
    let known: Vec<&str> =
        Subject::ALL.iter().map(|subject| subject.name()).chain([test_run::NAME]).collect();
    if let Some(name) = only.iter().find(|name| !known.contains(&name.as_str())) {
        bail!("nothing here is called {name}: there are {}", known.join(", "));
    }
    let wanted = |name: &str| only.is_empty() || only.iter().any(|only| only == name);
    let subjects = Subject::ALL.into_iter().filter(|subject| wanted(subject.name())).collect();
    Ok((subjects, wanted(test_run::NAME)))
}

/// Everything about one subject: what its cost and its latencies are is measured apart from the load generator.
fn one(subject: Subject, programs: &Path, cores: Cores, plan: &Plan) -> Result<Measured> {
    let step = Step::start(&format!("measuring {}", subject.name()));
    let measured = in_setups(subject, programs, cores, plan);
    let told = measured.as_ref().map_or_else(|_| "failed".to_owned(), ToString::to_string);
    step.end(&told);
    measured
}

fn in_setups(subject: Subject, programs: &Path, cores: Cores, plan: &Plan) -> Result<Measured> {
    let started = |setup| {
        cores.keep_to(setup)?;
        subject.start(programs, cores.workers(setup))
    };
    let arena = started(Setup::Apart)?;
    let apart = measure::capacity(&arena, plan)?;
    let (cost, latencies) = (measure::cost(&arena, plan)?, measure::latencies(&arena, plan)?);
    drop(arena);
    let together = measure::capacity(&started(Setup::Together)?, plan)?;
    let answers_per_second = [(Setup::Apart, apart), (Setup::Together, together)].into();
    Ok(Measured { answers_per_second, cost, latencies })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_named_is_measured_and_a_wrong_name_is_refused() {
        let of = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            chosen(&names)
        };
        let (subjects, test_run) = of(&[]).unwrap();
        assert_eq!((subjects.len(), test_run), (Subject::ALL.len(), true));
        assert_eq!(of(&["nsd", "knot"]).unwrap(), (vec![Subject::Knot, Subject::Nsd], false));
        assert_eq!(of(&["test-run"]).unwrap(), (vec![], true));
        let told = of(&["bind"]).unwrap_err().to_string();
        assert!(told.contains("bind") && told.contains("gdnsd"), "{told}");
    }
}
