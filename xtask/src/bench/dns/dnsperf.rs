//! dnsperf, which tells the latency of each query; as a measure of capacity it measures itself.

use anyhow::{Context, Result, bail};

use super::subject::Arena;
use super::{kxdpgun, zone};

const QUESTIONS: &str = "questions.txt";

/// The latency of every answer, and how many queries had none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Latencies {
    pub(super) us: Vec<u64>,
    pub(super) lost: u64,
}

/// Asks `rate` times a second, with OPT.
pub(super) fn run(arena: &Arena, rate: u32, seconds: u32) -> Result<Latencies> {
    let host = arena.generator();
    let questions = host.folder().join(QUESTIONS);
    std::fs::write(&questions, format!("{} A\n", zone::NAME))
        .with_context(|| format!("writing {}", questions.display()))?;
    let text = kxdpgun::finished(
        host,
        "dnsperf",
        seconds,
        &[
            "-s",
            &arena.server().v4().to_string(),
            "-d",
            &questions.display().to_string(),
            "-e",
            "-v",
            "-c",
            "1",
            "-T",
            "1",
            "-t",
            "1",
            "-l",
            &seconds.to_string(),
            "-Q",
            &rate.to_string(),
        ],
    )?;
    parse(&text)
}

/// Reads `> NOERROR radio.example.com A 0.000131` and the summary.
fn parse(text: &str) -> Result<Latencies> {
    let answers = text.lines().filter_map(|line| line.strip_prefix("> NOERROR "));
    let us: Option<Vec<u64>> = answers.map(|line| micros(line.rsplit(' ').next()?)).collect();
    let lost = text.lines().find_map(|line| line.trim().strip_prefix("Queries lost:"));
    let lost = lost.and_then(|line| line.split_whitespace().next()?.parse().ok());
    let (us, lost) = us.zip(lost).context("dnsperf's output is not as known")?;
    if us.is_empty() {
        bail!("dnsperf got no answer");
    }
    Ok(Latencies { us, lost })
}

/// Seconds with six digits after the point, as microseconds.
fn micros(seconds: &str) -> Option<u64> {
    let (whole, micros) = seconds.split_once('.').filter(|(_, micros)| micros.len() == 6)?;
    Some(whole.parse::<u64>().ok()? * 1_000_000 + micros.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As version 2.10.0 prints it.
    const TEXT: &str = "[Status] Sending queries (to 198.18.0.11:53)\n\
        > NOERROR radio.example.com A 0.000131\n\
        > NOERROR radio.example.com A 1.000012\n\
        > T radio.example.com A\n\
        \n  Queries lost:         1 (33.33%)\n";

    #[test]
    fn every_answer_has_its_latency() {
        let want = Latencies { us: vec![131, 1_000_012], lost: 1 };
        assert_eq!(parse(TEXT).unwrap(), want);
    }

    #[test]
    fn output_without_answers_or_of_another_form_is_an_error() {
        for (why, text) in [
            ("another unit", TEXT.replace("0.000131", "0.131")),
            ("no summary", TEXT.replace("Queries lost", "Lost")),
            ("no right answer", TEXT.replace("NOERROR", "REFUSED")),
        ] {
            assert!(parse(&text).is_err(), "{why}");
        }
    }
}
