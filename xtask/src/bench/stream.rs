//! `cargo xtask bench stream`: what a listener costs and how well it is served: by us, by others, and by a bare loop.
//!
//! One machine plays both ends on loopback: a crowd of listeners has core 0, the server core 1.

mod measure;
mod subject;
mod tally;

use std::path::Path;

use anyhow::{Result, bail};
use autoradio_lab::interrupt;

use super::cores::{SERVER_CORE, keep_to};
use super::report::Report;
use crate::output::Step;
use crate::{lab, process, setup, workspace};
use measure::{Measured, Plan};
use subject::Subject;
use tally::Tally;

/// Measures what `only` names, or everything. What cannot be measured is part of the result.
pub(super) fn run(quick: bool, only: &[String]) -> Result<Report> {
    let subjects = chosen(only)?;
    setup::install()?;
    let programs = lab::build_programs(true)?;
    let load = ["build", "--release", "--package", "autoradio-lab", "--bins"];
    process::step("building the crowd", "build-load", workspace::cargo(&load))?;
    keep_to([SERVER_CORE])?;
    let (plan, mut tally) = (Plan::new(quick), Tally::default());
    for listeners in &plan.listeners {
        for subject in &subjects {
            let listeners = (*listeners).min(subject.listeners_max()?);
            match one(*subject, &programs, &plan, listeners) {
                Err(error) if interrupt::requested() => return Err(error),
                measured => tally.add(*subject, listeners, measured),
            }
        }
    }
    Ok(tally.report())
}

fn chosen(only: &[String]) -> Result<Vec<Subject>> {
    let known = Subject::ALL.map(Subject::name);
    if let Some(name) = only.iter().find(|name| !known.contains(&name.as_str())) {
        bail!("nothing here is called {name}: there are {}", known.join(", "));
    }
    let wanted =
        |subject: &Subject| only.is_empty() || only.iter().any(|name| name == subject.name());
    Ok(Subject::ALL.into_iter().filter(wanted).collect())
}

fn one(subject: Subject, programs: &Path, plan: &Plan, listeners: u32) -> Result<Measured> {
    let name = subject.name();
    let mut server = Step::run(&format!("starting {name}"), || subject.start(programs))?;
    let step = Step::start(&format!("{name} with {listeners} listeners"));
    let measured = measure::run(&mut server, programs, plan, listeners);
    let told = measured.as_ref().map_or_else(
        |_| "failed".to_owned(),
        |measured| format!("{} served, {:.3} cores", measured.heard.served, measured.busy),
    );
    step.end(&told);
    measured
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_named_is_measured_and_a_wrong_name_is_refused() {
        assert_eq!(chosen(&[]).unwrap(), Subject::ALL);
        assert_eq!(chosen(&["nginx".to_owned()]).unwrap(), [Subject::Nginx]);
        assert!(chosen(&["apache".to_owned()]).unwrap_err().to_string().contains("haproxy"));
    }
}
