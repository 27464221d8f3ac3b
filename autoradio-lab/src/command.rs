//! Runs programs; a failure names the command line and what the program said.

use std::ffi::OsStr;
use std::process::{Command, Output, Stdio};

use crate::LabError;

/// Runs a program to its end. Returns what it wrote to stdout.
pub fn run<S: AsRef<OsStr>>(program: &str, args: &[S]) -> Result<String, LabError> {
    let mut command = Command::new(program);
    command.args(args);
    stdout(command)
}

/// Runs a prepared command to its end. Returns what it wrote to stdout; not zero is an error.
pub fn stdout(command: Command) -> Result<String, LabError> {
    let argv = argv(&command);
    let output = output(command)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(LabError::Command {
        argv,
        status: output.status.to_string(),
        stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}

/// Runs a prepared command to its end, however it ends.
pub fn output(mut command: Command) -> Result<Output, LabError> {
    let argv = argv(&command);
    let result = command.stdin(Stdio::null()).output();
    result.map_err(|source| LabError::Spawn { argv, source })
}

/// The command line as a person would type it, for messages.
pub fn argv(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(OsStr::to_string_lossy).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_command_and_its_stderr() {
        let error = run("sh", &["-c", "echo no luck >&2; exit 3"]).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("sh -c") && text.contains("no luck"), "{text}");
        assert!(text.contains('3'), "{text}");
    }

    #[test]
    fn a_missing_program_is_named() {
        let text = run::<&str>("autoradio-no-such-program", &[]).unwrap_err();
        assert!(text.to_string().contains("autoradio-no-such-program"));
    }
}
