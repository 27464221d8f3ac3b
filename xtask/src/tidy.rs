//! `cargo xtask tidy`: the rules of the house that no compiler knows.

mod architecture;
mod rules;
mod source;

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::{output, workspace};
use source::{Finding, Source};

pub(crate) fn run() -> Result<ExitCode> {
    let findings = findings()?;
    for finding in &findings {
        output::line(&finding.to_string());
    }
    if findings.is_empty() {
        output::line("tidy: nothing found");
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}

/// An error with one line per finding.
pub(crate) fn check() -> Result<()> {
    let findings: Vec<String> = findings()?.iter().map(ToString::to_string).collect();
    if findings.is_empty() { Ok(()) } else { bail!("{}", findings.join("\n")) }
}

fn findings() -> Result<Vec<Finding>> {
    let tree = source::read_tree(&workspace::root())?;
    Ok(findings_in(&tree))
}

fn findings_in(tree: &[Source]) -> Vec<Finding> {
    let mut found: Vec<Finding> =
        tree.iter().flat_map(|file| rules::RULES.iter().flat_map(|rule| rule(file))).collect();
    found.extend(architecture::invariants_name_their_checks(tree));
    found.extend(architecture::readme_has_the_two_commands(tree));
    found.sort();
    found
}
