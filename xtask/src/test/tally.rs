//! Counts tests in what `cargo test` writes. Pure.

use std::collections::BTreeMap;
use std::fmt;

/// How many tests ended how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    passed: usize,
    failed: usize,
    ignored: usize,
    /// Why tests were ignored, and how many for each reason.
    pub(super) reasons: BTreeMap<String, usize>,
}

impl Tally {
    /// Reads the `test result:` lines of any number of test programs.
    pub(super) fn of(text: &str) -> Self {
        let mut tally = Self::default();
        for line in text.lines() {
            if let Some(result) = line.strip_prefix("test result: ") {
                tally.passed += number_before(result, " passed");
                tally.failed += number_before(result, " failed");
                tally.ignored += number_before(result, " ignored");
            } else if let Some((_, reason)) = line.split_once(" ... ignored, ") {
                *tally.reasons.entry(reason.to_owned()).or_default() += 1;
            }
        }
        tally
    }

    /// Adds a stage. One that failed without a failing test counts as one failure, so that the
    /// total never says that none failed when something did.
    pub(super) fn add(&mut self, stage: Self, success: bool) {
        let untold = usize::from(!success && stage.failed == 0);
        self.passed += stage.passed;
        self.failed += stage.failed + untold;
        self.ignored += stage.ignored;
        for (reason, count) in stage.reasons {
            *self.reasons.entry(reason).or_default() += count;
        }
    }

    /// The counts, if there were any tests.
    pub(super) fn summary(&self) -> Option<String> {
        (self.passed + self.failed + self.ignored > 0).then(|| self.to_string())
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { passed, failed, ignored, .. } = self;
        write!(out, "{passed} passed, {failed} failed, {ignored} ignored")
    }
}

fn number_before(text: &str, word: &str) -> usize {
    let before = text.split(word).next().unwrap_or_default();
    let digits = before.rsplit([' ', ';']).next().unwrap_or_default();
    digits.parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: &str = "\
running 3 tests
test a ... ok
test b ... ignored, needs root
test c ... FAILED

test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s
test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.1s
";

    #[test]
    fn all_test_programs_of_a_run_are_counted() {
        let tally = Tally::of(RUN);
        assert_eq!(tally.to_string(), "13 passed, 1 failed, 1 ignored");
        assert_eq!(tally.reasons.get("needs root"), Some(&1));
    }

    #[test]
    fn a_failed_stage_without_tests_is_one_failure() {
        let mut total = Tally::default();
        total.add(Tally::of("error: could not compile"), false);
        total.add(Tally::of(RUN), false);
        assert_eq!(total.to_string(), "13 passed, 2 failed, 1 ignored");
    }
}
