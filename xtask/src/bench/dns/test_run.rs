//! The kernel program by itself: the daemon's own bench, which runs it on one frame again and again.

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::bench::report::Row;
use crate::{output::Step, process, workspace};

use super::subject::Subject;

/// What it is called on the command line.
pub(super) const NAME: &str = "test-run";

/// Nanoseconds that a verdict may take at most.
const PROMISES: [(&str, f64); 3] =
    [("a_opt", 150.0), ("a_opt_rrl", 200.0), ("a_opt_cookie", 300.0)];

/// A line of the bench: a verdict's time, less that of a program that only puts the query back; the time of that program,
/// and of one that does nothing; or the time that publishing a zone takes.
#[derive(Deserialize)]
struct Line {
    name: String,
    ns: f64,
}

/// Runs the bench.
pub(super) fn measure(quick: bool) -> Result<Vec<Row>> {
    let mut args = vec!["bench", "--package", "autoradio-edge", "--bench", "kernel"];
    args.extend(quick.then_some(["--", "--quick"]).into_iter().flatten());
    Step::run("measuring the kernel program", || {
        let ended = process::logged("bench-kernel", workspace::cargo(&args))?;
        if !ended.success {
            bail!("the bench failed:\n{}", ended.tail());
        }
        parse(&ended.text)
    })
}

/// The results are the lines that are objects; the rest is cargo's talk.
fn parse(text: &str) -> Result<Vec<Row>> {
    let lines = text.lines().filter(|line| line.starts_with('{'));
    let rows: Vec<Row> = lines
        .map(|line| serde_json::from_str(line).map(row))
        .collect::<Result<_, _>>()
        .context("the bench printed other JSON than agreed")?;
    if let Some((name, _)) = PROMISES.iter().find(|(name, _)| !rows.iter().any(|row| is(row, name)))
    {
        bail!("the bench printed no line for {name}");
    }
    Ok(rows)
}

fn row(line: Line) -> Row {
    if line.name.starts_with("publish_") {
        let ms = line.ns / 1e6;
        return Row::new(Subject::AutoradioXdp.name(), "publish_ms", ms, "ms")
            .with("zone", line.name);
    }
    let promise = PROMISES.iter().find(|(name, _)| *name == line.name).map(|(_, ns)| *ns);
    Row::new(Subject::AutoradioXdp.name(), "ns_per_packet", line.ns, "ns")
        .with("verdict", line.name)
        .at_most(promise)
}

fn is(row: &Row, verdict: &str) -> bool {
    row.more.get("verdict").is_some_and(|found| found == verdict)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::report::Report;

    fn text(a_opt_ns: f64) -> String {
        format!(
            "   Compiling x\n{{\"name\":\"a\",\"ns\":90.5}}\n{{\"name\":\"a_opt\",\"ns\":{a_opt_ns}}}\n\
             {{\"name\":\"a_opt_rrl\",\"ns\":190.0}}\n{{\"name\":\"a_opt_cookie\",\"ns\":300.0}}\n{{\"name\":\"publish_all\",\"ns\":4e7}}\n"
        )
    }

    #[test]
    fn every_line_is_a_row_and_what_was_promised_is_checked() {
        let report = |ns| Report::new("dns", parse(&text(ns)).unwrap());
        assert_eq!(report(150.0).rows.len(), 5);
        let publish = &report(150.0).rows[4];
        assert_eq!((publish.metric.as_str(), publish.value as u32), ("publish_ms", 40));
        assert_eq!(report(150.0).broken(), [""; 0]);
        let broken = report(151.0).broken();
        assert!(broken.len() == 1 && broken[0].contains("a_opt"), "{broken:?}");
    }

    #[test]
    fn a_verdict_with_a_promise_must_be_there() {
        let text = text(1.0).replace("a_opt_cookie", "other");
        assert!(parse(&text).unwrap_err().to_string().contains("a_opt_cookie"));
    }
}
