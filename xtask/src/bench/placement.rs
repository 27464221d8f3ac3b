//! `cargo xtask bench placement`: the daemon's own bench, which prints the common form.

use anyhow::{Context, Result, bail};

use super::report::Report;
use crate::{output::Step, process, workspace};

pub(super) fn run(quick: bool) -> Result<Report> {
    let mut args = vec!["bench", "--package", "autoradio-edge", "--bench", "placement"];
    args.extend(quick.then_some(["--", "--quick"]).into_iter().flatten());
    let ended = Step::run("measuring placement", || {
        process::logged("bench-placement", workspace::cargo(&args))
    })?;
    if !ended.success {
        bail!("the bench failed:\n{}", ended.tail());
    }
    parse(&ended.text)
}

/// The result is the one line that is an object; the rest is cargo's talk.
fn parse(text: &str) -> Result<Report> {
    let line = text.lines().rfind(|line| line.starts_with('{'));
    let line = line.context("the bench printed no line of JSON")?;
    serde_json::from_str(line).context("the bench printed other JSON than agreed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_result_is_found_among_what_cargo_says() {
        let text = "   Compiling x\n{\"bench\":\"placement\",\"rows\":[{\"subject\":\"autoradio\",\
                    \"metric\":\"fold_ms\",\"value\":0.5,\"unit\":\"ms\",\"nodes\":1000}]}\n";
        let report = parse(text).unwrap();
        assert_eq!(report.rows[0].more["nodes"], 1_000);
        assert!(parse("   Compiling x\n").is_err());
    }
}
