//! kxdpgun, which sends and receives through `AF_XDP`: no kernel stack on the generator's side limits it.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use autoradio_lab::Host;
use autoradio_lab::topology::INTERFACE;

use super::subject::Arena;
use super::zone;
use crate::bench::cores::GENERATOR_CORE;

/// How much longer than its measuring it may take.
const MARGIN: Duration = Duration::from_secs(10);
const QUESTIONS: &str = "questions-with-opt.txt";

/// What one run sent and got.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Shot {
    pub(super) sent: u64,
    pub(super) answers: u64,
    pub(super) seconds: f64,
    /// Bytes of DNS message in a reply, on average, rounded down.
    reply_bytes: u64,
}

impl Shot {
    pub(super) fn answers_per_second(self) -> f64 {
        // Counts of one run are far below what a float holds exactly.
        u32::try_from(self.answers).map_or(f64::MAX, f64::from) / self.seconds
    }
}

/// Asks `rate` times a second, or as often as it can if that is less.
pub(super) fn run(arena: &Arena, rate: u32, seconds: u32) -> Result<Shot> {
    let host = arena.generator();
    let questions = host.folder().join(QUESTIONS);
    std::fs::write(&questions, format!("{} A E\n", zone::NAME))
        .with_context(|| format!("writing {}", questions.display()))?;
    let text = finished(
        host,
        "kxdpgun",
        seconds,
        &[
            "-F",
            &GENERATOR_CORE.to_string(),
            "-t",
            &seconds.to_string(),
            "-Q",
            &rate.to_string(),
            "-I",
            INTERFACE,
            "-l",
            &host.v4().to_string(),
            "-i",
            &questions.display().to_string(),
            &arena.server().v4().to_string(),
        ],
    )?;
    let shot = parse(&text).with_context(|| format!("kxdpgun said:\n{text}"))?;
    // Truncated answers, as rate limits give them, are NOERROR too.
    if shot.answers > 0 && usize::try_from(shot.reply_bytes) != Ok(arena.answer_bytes) {
        let (got, want) = (shot.reply_bytes, arena.answer_bytes);
        bail!("replies have {got} bytes on average, but right answers {want}");
    }
    Ok(shot)
}

/// Runs a load generator on its core to its end. Returns what it said.
pub(super) fn finished(host: &Host, program: &str, seconds: u32, args: &[&str]) -> Result<String> {
    let log = host.folder().join(format!("{program}.log"));
    // What an earlier run said is no part of this one's.
    if log.exists() {
        std::fs::remove_file(&log).with_context(|| format!("removing {}", log.display()))?;
    }
    let core = GENERATOR_CORE.to_string();
    let words = [&["-c", &core, program], args].concat();
    let mut running = host.spawn("taskset", &words, program)?;
    let status = running.wait(Duration::from_secs(seconds.into()) + MARGIN)?;
    let text =
        std::fs::read_to_string(&log).with_context(|| format!("reading {}", log.display()))?;
    if !status.success() {
        bail!("{program} failed ({status}):\n{}", running.log_tail());
    }
    Ok(text)
}

/// Reads its summary. Answers that are not NOERROR are none.
fn parse(text: &str) -> Result<Shot> {
    let number = |label: &str| -> Result<u64> {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(label));
        let word = line.and_then(|line| line.split_whitespace().next());
        word.and_then(|word| word.parse().ok()).with_context(|| format!("no number at `{label}`"))
    };
    if !text.contains("native mode") {
        bail!("it did not run in native mode");
    }
    let (sent, replies) = (number("total queries:")?, number("total replies:")?);
    let answers = if replies == 0 { 0 } else { number("responded NOERROR:")? };
    let reply_bytes = number("average DNS reply size:")?;
    let seconds = u32::try_from(number("duration:")?).map(f64::from)?;
    if seconds < 1.0 {
        bail!("it measured for no time");
    }
    Ok(Shot { sent, answers, seconds, reply_bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As version 3.2.6 prints it.
    const TEXT: &str = "using interface eth0, XDP threads 1, UDP, native mode\n\
        thread#00: sent 972910, received 600000\n\
        total queries:     972910 (324303 pps)\n\
        total replies:     600000 (200000 pps) (61%)\n\
        average DNS reply size: 46 B\n\
        average Ethernet reply rate: 228309546 bps (228.31 Mbps)\n\
        responded NOERROR:   599990\n\
        responded REFUSED:   10\n\
        duration: 3 s\n";

    #[test]
    fn only_right_answers_count() {
        let shot = parse(TEXT).unwrap();
        assert_eq!(shot, Shot { sent: 972_910, answers: 599_990, seconds: 3.0, reply_bytes: 46 });
        assert!((shot.answers_per_second() - 199_996.67).abs() < 0.1);
    }

    #[test]
    fn a_server_that_never_answers_has_zero_answers() {
        let text = TEXT.replace("total replies:     600000", "total replies:     0");
        let text = text.replace("responded NOERROR:   599990\n", "");
        assert_eq!(parse(&text).unwrap().answers, 0);
    }

    #[test]
    fn what_measures_something_else_is_an_error() {
        for (why, text) in [
            ("not through AF_XDP alone", TEXT.replace("native mode", "emulated mode")),
            ("no summary", "using interface eth0, native mode\n".to_owned()),
            ("all wrong answers", TEXT.replace("responded NOERROR", "responded NXDOMAIN")),
        ] {
            assert!(parse(&text).is_err(), "{why}");
        }
    }
}
