//! `cargo xtask fuzz`: libFuzzer on the parsers of bytes from outside, one after the other.
//!
//! The fuzzer is built with coverage and the address sanitizer, by the compiler that runs this, which is told to take `-Z`
//! flags. What it learns stays in `fuzz/corpus/<target>`, what broke a law is left in `fuzz/artifacts/<target>`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::output::{self, Step};
use crate::{process, workspace};

/// As cargo-fuzz builds it.
const RUSTFLAGS: [&str; 10] = [
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Zsanitizer=address",
    "-Cdebug-assertions",
    "-Coverflow-checks",
    "-Ccodegen-units=1",
];
/// The variable by which the fuzzer knows its target.
const TARGET_VARIABLE: &str = "AUTORADIO_FUZZ_TARGET";
/// Longest input, in bytes: no parser here has more than a few states that only a longer one reaches.
const INPUT_BYTES_MAX: usize = 2_048;
/// Most memory that a target may take, in MiB: no input is worth more.
const RSS_MIB_MAX: u32 = 1_024;
/// Longest time that one input may take, in seconds.
const INPUT_S_MAX: u32 = 5;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only this target; all of them without it.
    target: Option<String>,
    /// How long each target is fuzzed.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let targets = targets(args.target.as_deref())?;
    let fuzzer = build()?;
    let mut broken = Vec::new();
    for target in &targets {
        let step = Step::start(&format!("fuzzing {target}"));
        let ended = process::logged(&format!("fuzz-{target}"), fuzz(&fuzzer, target, args)?)?;
        if ended.success {
            step.end(&executions(&ended.text));
        } else {
            step.end("BROKEN");
            output::note(&ended.tail());
            broken.push(target.as_str());
        }
    }
    if broken.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    output::line(&format!("broken: {}; see fuzz/artifacts", broken.join(", ")));
    Ok(ExitCode::FAILURE)
}

/// Every target has seeds, in a folder of its name.
fn targets(only: Option<&str>) -> Result<Vec<String>> {
    let seeds = folder("seeds", "");
    let entries = fs::read_dir(&seeds).with_context(|| format!("reading {}", seeds.display()))?;
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.collect();
    names.sort();
    let Some(only) = only else { return Ok(names) };
    if !names.iter().any(|name| name == only) {
        bail!("there is no target {only:?}, only {}", names.join(", "));
    }
    Ok(vec![only.to_owned()])
}

/// Builds the fuzzer, in a folder of its own: everything in it is made with other flags.
fn build() -> Result<PathBuf> {
    let host = host()?;
    let target = workspace::target().join("fuzz");
    // With a target named, build scripts and macros are not made with the sanitizer.
    let args = ["build", "--release", "--package", "autoradio-fuzz", "--bin", "fuzz"];
    let mut cargo = workspace::cargo(&args);
    cargo.args(["--features", "libfuzzer", "--target", &host, "--target-dir"]).arg(&target);
    cargo.env("RUSTC_BOOTSTRAP", "1").env("CARGO_ENCODED_RUSTFLAGS", RUSTFLAGS.join("\u{1f}"));
    process::step("building the fuzzer", "fuzz-build", cargo)?;
    Ok(target.join(host).join("release/fuzz"))
}

/// The machine's own target triple.
fn host() -> Result<String> {
    let version = process::answer(Command::new("rustc").arg("-vV")).unwrap_or_default();
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("`rustc -vV` names no host")
}

fn fuzz(fuzzer: &Path, target: &str, args: &Args) -> Result<Command> {
    let (corpus, artifacts) = (folder("corpus", target), folder("artifacts", target));
    for made in [&corpus, &artifacts] {
        fs::create_dir_all(made).with_context(|| format!("creating {}", made.display()))?;
    }
    let mut command = Command::new(fuzzer);
    command.env(TARGET_VARIABLE, target);
    command.arg(format!("-max_total_time={}", args.seconds));
    command.arg(format!("-rss_limit_mb={RSS_MIB_MAX}")).arg(format!("-timeout={INPUT_S_MAX}"));
    command.arg(format!("-artifact_prefix={}/", artifacts.display()));
    command.arg(format!("-max_len={INPUT_BYTES_MAX}")).arg("-print_final_stats=1");
    command.arg(corpus).arg(folder("seeds", target));
    Ok(command)
}

fn folder(kind: &str, target: &str) -> PathBuf {
    workspace::root().join("fuzz").join(kind).join(target)
}

/// How much was tried, from what libFuzzer says at its end.
fn executions(text: &str) -> String {
    let stat = |name: &str| {
        text.lines().rev().find_map(|line| line.strip_prefix(name)).map_or("?", str::trim)
    };
    let (runs, rate) =
        (stat("stat::number_of_executed_units:"), stat("stat::average_exec_per_sec:"));
    format!("{runs} executions, {rate} a second")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fuzzers_statistics_are_read() {
        let text = "Done 42 runs in 1 second(s)\nstat::number_of_executed_units: 42\n\
            stat::average_exec_per_sec:     40\n";
        assert_eq!(executions(text), "42 executions, 40 a second");
        assert_eq!(executions(""), "? executions, ? a second");
    }

    #[test]
    fn an_unknown_target_is_refused_with_the_known_ones() {
        let error = targets(Some("nothing")).expect_err("no such target").to_string();
        assert!(error.contains("dns_query"), "{error}");
    }
}
