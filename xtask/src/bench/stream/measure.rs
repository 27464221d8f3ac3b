//! What one subject goes through: nobody, then a crowd.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use autoradio_lab::load::{Crowd, Heard, program};

use crate::bench::cores::GENERATOR_CORE;
use crate::bench::server::{MOUNT, Server, Spent};
use crate::clock::Stopwatch;

/// How much is measured.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// How many listeners; the largest number stands for as many as descriptors allow.
    pub(super) listeners: Vec<u32>,
    per_second: u32,
    stay: Duration,
}

impl Plan {
    pub(super) fn new(quick: bool) -> Self {
        if quick {
            Self { listeners: vec![2_000, 8_000], per_second: 2_000, stay: Duration::from_secs(6) }
        } else {
            let listeners = vec![500, 2_000, 8_000, u32::MAX];
            Self { listeners, per_second: 1_000, stay: Duration::from_secs(20) }
        }
    }
}

/// What was found out about one subject with one number of listeners.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Measured {
    pub(super) listeners: u32,
    /// Seconds of CPU in a second: with nobody there, and with all.
    pub(super) idle: f64,
    pub(super) busy: f64,
    /// What it grew by for each listener, in bytes.
    pub(super) rss_bytes: f64,
    /// What the kernel's TCP memory grew by for each, both ends together.
    pub(super) socket_bytes: f64,
    pub(super) heard: Heard,
}

impl Measured {
    /// Seconds of CPU for a listener's hour, of those who were served.
    pub(super) fn cpu_per_hour(&self, busy: f64) -> Option<f64> {
        (self.heard.served > 0).then(|| busy * 3_600.0 / f64::from(self.heard.served))
    }
}

/// The time that a server is watched with nobody there.
const IDLE: Duration = Duration::from_secs(2);

/// Measures a server that has begun to serve.
pub(super) fn run(
    server: &mut Server,
    programs: &Path,
    plan: &Plan,
    listeners: u32,
) -> Result<Measured> {
    let address = server.address;
    let (path, per_second, stay) = (MOUNT.to_owned(), plan.per_second, plan.stay);
    let crowd = |listeners, stay| Crowd {
        server: address,
        path: path.clone(),
        listeners,
        per_second,
        stay,
    };
    // The first listener makes the server do what it does once.
    let first = Running::start(programs, &crowd(1, Duration::from_secs(1)))?.heard()?;
    server.must_run()?;
    if first.served != 1 {
        bail!("a single listener is not served: {:?}", first.failures);
    }
    let (watch, before) = (Stopwatch::start(), server.spent()?);
    sleep(IDLE);
    let empty = server.spent()?;
    let idle = empty.cpu_s_since(before) / watch.elapsed().as_secs_f64();
    let mut running = Running::start(programs, &crowd(listeners, stay))?;
    let (watch, steady) = (Stopwatch::start(), server.spent()?);
    let heard = running.heard()?;
    let full = server.spent()?;
    let busy = full.cpu_s_since(steady) / watch.elapsed().as_secs_f64();
    let each = |of: fn(Spent) -> u64| per_listener(of(empty), of(full), listeners);
    Ok(Measured {
        listeners,
        idle,
        busy,
        rss_bytes: each(|spent| spent.rss_bytes),
        socket_bytes: each(|spent| spent.socket_bytes),
        heard,
    })
}

/// Memory of a crowd fits in a float's 52 bits.
#[expect(clippy::cast_precision_loss, reason = "less than a petabyte")]
fn per_listener(before: u64, after: u64, listeners: u32) -> f64 {
    after.saturating_sub(before) as f64 / f64::from(listeners)
}

/// The crowd's program; its input is open, so that the crowd stays until this is dropped.
struct Running {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Running {
    /// Returns once the whole crowd is there.
    fn start(programs: &Path, crowd: &Crowd) -> Result<Self> {
        let mut command = program::crowd(programs, crowd, GENERATOR_CORE);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("starting the crowd")?;
        let out = child.stdout.take().context("the crowd has no output")?;
        let mut running = Self { child, lines: BufReader::new(out).lines() };
        match running.line()? {
            line if line == program::STEADY => Ok(running),
            line => bail!("the crowd said {line:?}"),
        }
    }

    fn line(&mut self) -> Result<String> {
        Ok(self.lines.next().context("the crowd's program ended before its time")??)
    }

    fn heard(&mut self) -> Result<Heard> {
        Ok(serde_json::from_str(&self.line()?)?)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        self.child.wait().map(drop).unwrap_or_default();
    }
}
