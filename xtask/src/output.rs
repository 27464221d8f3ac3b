//! The only place where xtask writes to the terminal: results to stdout, progress to stderr.

use std::io::{IsTerminal, Write, stderr, stdout};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::clock::Stopwatch;

const TICK: Duration = Duration::from_millis(100);

/// Writes a line of the result.
pub(crate) fn line(text: &str) {
    // A reader that has left, such as `head`, is no error of ours.
    writeln!(stdout(), "{text}").unwrap_or_default();
}

/// Writes a line of progress or an error.
pub(crate) fn note(text: &str) {
    writeln!(stderr(), "{text}").unwrap_or_default();
}

/// A step that takes a while: a spinner on a terminal, plain lines elsewhere.
pub(crate) struct Step {
    title: String,
    started: Stopwatch,
    spinner: Option<ProgressBar>,
}

impl Step {
    pub(crate) fn start(title: &str) -> Self {
        let spinner = stderr().is_terminal().then(|| spinner(title));
        if spinner.is_none() {
            note(&format!("{title} …"));
        }
        Self { title: title.to_owned(), started: Stopwatch::start(), spinner }
    }

    /// Ends it with a word on how it went, such as "done".
    pub(crate) fn end(self, how: &str) {
        if let Some(spinner) = self.spinner {
            spinner.finish_and_clear();
        }
        let seconds = self.started.elapsed().as_secs_f64();
        note(&format!("{}: {how} ({seconds:.1} s)", self.title));
    }

    /// Runs `work` as a step; its error ends the step as failed.
    pub(crate) fn run<T, E>(title: &str, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let step = Self::start(title);
        let result = work();
        step.end(if result.is_ok() { "done" } else { "failed" });
        result
    }
}

fn spinner(title: &str) -> ProgressBar {
    let spinner = ProgressBar::new_spinner().with_message(title.to_owned());
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
        spinner.set_style(style);
    }
    spinner.enable_steady_tick(TICK);
    spinner
}
