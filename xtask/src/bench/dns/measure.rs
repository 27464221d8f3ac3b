//! What one subject goes through: as many queries as it can answer, as many as every server can, and few.

use std::collections::BTreeMap;
use std::fmt;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, bail};

use super::cpu::Watch;
use super::dnsperf::{self, Latencies};
use super::kxdpgun;
use super::setup::Setup;
use super::subject::Arena;

/// Queries a second while latencies are measured: few for all of them.
pub(super) const LATENCY_RATE: u32 = 10_000;
/// Queries a second while the machine's time is measured: the same for all, and half of what the slowest can answer.
pub(super) const COST_RATE: u32 = 35_000;
/// Share of those queries that is answered at least; with fewer answers, their costs could not be compared.
const ANSWERED: f64 = 0.98;

/// How long is measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// Rates that are asked with, in queries a second: a server may do best below what floods it.
    rates: &'static [u32],
    /// Runs at each rate, of which the best counts: whatever else the machine does only takes away.
    runs: usize,
    run_seconds: u32,
    /// Runs of which the median cost counts, each after some time with nothing asked.
    cost_runs: usize,
    idle: Duration,
    cost_seconds: u32,
    latency_seconds: u32,
}

impl Plan {
    pub(super) const fn new(quick: bool) -> Self {
        if quick {
            Self {
                rates: &[120_000, 1_000_000],
                runs: 2,
                run_seconds: 2,
                cost_runs: 3,
                idle: Duration::from_secs(1),
                cost_seconds: 4,
                latency_seconds: 2,
            }
        } else {
            Self {
                rates: &[80_000, 120_000, 180_000, 1_000_000],
                runs: 3,
                run_seconds: 3,
                cost_runs: 5,
                idle: Duration::from_secs(3),
                cost_seconds: 8,
                latency_seconds: 10,
            }
        }
    }
}

/// What was found out about one subject.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Measured {
    /// The most answers a second in any run.
    pub(super) answers_per_second: BTreeMap<Setup, f64>,
    pub(super) cost: Cost,
    pub(super) latencies: Latencies,
}

/// What the machine spends on answers, and anyway.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Cost {
    /// Microseconds of all cores for one query and its answer, the generator's included, less what the machine spends anyway.
    pub(super) us_per_answer: f64,
    /// How much of one core was busy while nothing was asked, 0.0 and up.
    pub(super) busy_before: f64,
}

impl fmt::Display for Measured {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (setup, rate) in &self.answers_per_second {
            write!(out, "{} {rate:.0} answers/s, ", setup.name())?;
        }
        write!(out, "{:.2} us each with their sending", self.cost.us_per_answer)
    }
}

/// The most answers a second in any run.
pub(super) fn capacity(arena: &Arena, plan: &Plan) -> Result<f64> {
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

/// What an answer costs: the median of some runs.
pub(super) fn cost(arena: &Arena, plan: &Plan) -> Result<Cost> {
    let runs = (0..plan.cost_runs).map(|_| one_cost(arena, plan));
    let mut costs = runs.collect::<Result<Vec<_>>>()?;
    costs.sort_by(|one, other| one.us_per_answer.total_cmp(&other.us_per_answer));
    Ok(costs[costs.len() / 2])
}

fn one_cost(arena: &Arena, plan: &Plan) -> Result<Cost> {
    let quiet = Watch::start()?;
    sleep(plan.idle);
    let (busy_us, elapsed_us) = quiet.busy_and_elapsed_us()?;
    let busy_before = busy_us / elapsed_us;
    let asking = Watch::start()?;
    let shot = kxdpgun::run(arena, COST_RATE, plan.cost_seconds)?;
    let (busy_us, elapsed_us) = asking.busy_and_elapsed_us()?;
    let answers = shot.answers_per_second() * shot.seconds;
    let asked = f64::from(COST_RATE) * shot.seconds;
    if answers < ANSWERED * asked {
        bail!("{answers:.0} of {asked:.0} queries were answered: too few to tell what one costs");
    }
    Ok(Cost { us_per_answer: (busy_us - busy_before * elapsed_us) / answers, busy_before })
}

/// The latency of every answer while few are asked for.
pub(super) fn latencies(arena: &Arena, plan: &Plan) -> Result<Latencies> {
    dnsperf::run(arena, LATENCY_RATE, plan.latency_seconds)
}
