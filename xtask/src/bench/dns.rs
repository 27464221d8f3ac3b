//! `cargo xtask bench dns`: how many answers a second, how late, and at what cost: ours and others'.
//!
//! One machine plays both: the load generator has core 0, the server core 1, and one veth pair joins
//! them. What the kernel does with a query on its arrival, XDP programs included, it does on the core
//! that sent it: the generator's.

mod cpu;
mod dnsperf;
mod gdnsd;
mod knot;
mod kxdpgun;
mod measure;
mod nsd;
mod peer;
mod subject;
mod tally;
mod test_run;
mod zone;

use std::path::Path;

use anyhow::{Result, bail};
use autoradio_lab::interrupt;

use super::cores::{GENERATOR_CORE, SERVER_CORE, keep_to};
use super::report::Report;
use crate::output::Step;
use crate::{build_ebpf, lab, setup};
use measure::{Measured, Plan};
use subject::Subject;
use tally::Tally;

/// Measures what `only` names, or everything. What cannot be measured is part of the result.
pub(super) fn run(quick: bool, only: &[String]) -> Result<Report> {
    let (subjects, test_run) = chosen(only)?;
    autoradio_lab::lab::require_root()?;
    lab::remove_abandoned();
    setup::install()?;
    build_ebpf::build()?;
    let mut tally = Tally::default();
    if test_run {
        match test_run::measure(quick) {
            Err(error) if interrupt::requested() => return Err(error),
            measured => tally.add_test_run(measured),
        }
    }
    if !subjects.is_empty() {
        let programs = lab::build_programs(true)?;
        keep_to(SERVER_CORE)?;
        for subject in subjects {
            match one(subject, &programs, &Plan::new(quick)) {
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

fn one(subject: Subject, programs: &Path, plan: &Plan) -> Result<Measured> {
    let name = subject.name();
    let arena = Step::run(&format!("starting {name}"), || subject.start(programs))?;
    let step = Step::start(&format!("measuring {name}"));
    let measured = measure::run(&arena, plan);
    let told = measured.as_ref().map_or_else(|_| "failed".to_owned(), ToString::to_string);
    step.end(&told);
    measured
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
