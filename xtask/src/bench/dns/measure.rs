//! What one subject goes through: as many queries as it can answer, half as many, and few.

use std::fmt;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, bail};

use super::GENERATOR_CORE;
use super::cpu::Spent;
use super::dnsperf::{self, Latencies};
use super::kxdpgun::{self, Shot};
use super::subject::Arena;
use crate::clock::Stopwatch;

/// Queries a second while latencies are measured: few for all of them.
pub(super) const LATENCY_RATE: u32 = 10_000;

/// How long is measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// Rates that are asked with, in queries a second: a server may do best below what floods it.
    rates: &'static [u32],
    /// Runs at each rate, of which the best counts: whatever else the machine does only takes away.
    runs: usize,
    run_seconds: u32,
    idle: Duration,
    cost_seconds: u32,
    latency_seconds: u32,
}

impl Plan {
    pub(super) const fn new(quick: bool) -> Self {
        let idle = Duration::from_secs(2);
        if quick {
            let rates = &[120_000, 1_000_000];
            Self { rates, runs: 2, run_seconds: 2, idle, cost_seconds: 3, latency_seconds: 2 }
        } else {
            let rates = &[80_000, 120_000, 180_000, 1_000_000];
            Self { rates, runs: 3, run_seconds: 3, idle, cost_seconds: 8, latency_seconds: 10 }
        }
    }
}

/// What was found out about one subject.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Measured {
    pub(super) answers_per_second: f64,
    /// Microseconds of the machine for one answer, the generator's left out; `None` where the machine
    /// was too busy with other things to tell.
    pub(super) cpu_us_per_answer: Option<f64>,
    pub(super) latencies: Latencies,
    /// How much of one core was busy while nothing was asked, 0.0 and up.
    pub(super) busy_before: f64,
}

impl fmt::Display for Measured {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { answers_per_second, cpu_us_per_answer, .. } = self;
        write!(out, "{answers_per_second:.0} answers/s")?;
        cpu_us_per_answer.map_or(Ok(()), |us| write!(out, ", {us:.2} us each"))
    }
}

/// Measures what runs in the arena.
pub(super) fn run(arena: &Arena, plan: &Plan) -> Result<Measured> {
    let answers_per_second = capacity(arena, plan)?;
    let busy_before = busy(plan.idle)?;
    let cpu_us_per_answer = cost(arena, half(answers_per_second), plan.cost_seconds, busy_before)?;
    let latencies = dnsperf::run(arena, LATENCY_RATE, plan.latency_seconds)?;
    Ok(Measured { answers_per_second, cpu_us_per_answer, latencies, busy_before })
}

/// The most answers a second in any run.
fn capacity(arena: &Arena, plan: &Plan) -> Result<f64> {
    let mut best: f64 = 0.0;
    for _ in 0..plan.runs {
        for rate in plan.rates {
            let shot = kxdpgun::run(arena, *rate, plan.run_seconds)?;
            best = best.max(shot.answers_per_second());
        }
    }
    if best < f64::from(LATENCY_RATE) {
        bail!("it answers {best:.0} queries a second: too few to measure anything else");
    }
    Ok(best)
}

/// How much of one core the machine uses for itself, with nothing asked.
fn busy(watched: Duration) -> Result<f64> {
    let (clock, before) = (Stopwatch::start(), Spent::now(GENERATOR_CORE)?);
    sleep(watched);
    let us = Spent::now(GENERATOR_CORE)?.us_since(before);
    Ok(us / 1e6 / clock.elapsed().as_secs_f64())
}

/// What one answer costs at a rate that floods nobody, less what the machine spends anyway.
fn cost(arena: &Arena, rate: u32, seconds: u32, busy_before: f64) -> Result<Option<f64>> {
    let (clock, before) = (Stopwatch::start(), Spent::now(GENERATOR_CORE)?);
    let shot: Shot = kxdpgun::run(arena, rate, seconds)?;
    let us = Spent::now(GENERATOR_CORE)?.us_since(before);
    let anyway_us = busy_before * clock.elapsed().as_secs_f64() * 1e6;
    if shot.answers == 0 {
        bail!("none of {} queries was answered", shot.sent);
    }
    let us_per_answer = (us - anyway_us) / (shot.answers_per_second() * shot.seconds);
    Ok(Some(us_per_answer).filter(|us| *us > 0.0))
}

/// Half of a rate, in whole queries a second.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rates are positive and far below what a u32 holds"
)]
fn half(rate: f64) -> u32 {
    (rate / 2.0) as u32
}
