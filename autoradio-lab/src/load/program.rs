//! The program `autoradio-load`, whose words only [`crowd`] and [`bare_loop`] write and [`run`] reads.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use super::{Crowd, bare_loop as bare};

/// The program's name.
pub const NAME: &str = "autoradio-load";
/// What it prints when its crowd is there.
pub const STEADY: &str = "steady";

/// A crowd on a core of its own. It prints [`STEADY`], then what it heard as a line of JSON, and stays until its input ends.
pub fn crowd(programs: &Path, crowd: &Crowd, core: usize) -> Command {
    let Crowd { server, path, listeners, per_second, stay } = crowd;
    let mut command = Command::new(programs.join(NAME));
    command.args(["crowd", &core.to_string(), &server.to_string(), path]);
    command.args(
        [u64::from(*listeners), u64::from(*per_second), stay.as_secs()].map(|n| n.to_string()),
    );
    command
}

/// The bare loop at an address.
pub fn bare_loop(programs: &Path, address: SocketAddr, core: usize) -> Command {
    let mut command = Command::new(programs.join(NAME));
    command.args(["bare-loop", &core.to_string(), &address.to_string()]);
    command
}

/// Does what the words say.
pub fn run(words: &[String]) -> io::Result<()> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["crowd", core, server, path, listeners, per_second, stay] => {
            keep_to(number(core)?)?;
            let crowd = Crowd {
                server: server.parse().map_err(io::Error::other)?,
                path: path.to_owned(),
                listeners: number(listeners)?,
                per_second: number(per_second)?,
                stay: Duration::from_secs(number(stay)?),
            };
            crowd.run(
                || say(STEADY),
                |heard| {
                    say(&serde_json::to_string(heard)?)?;
                    io::stdin().read_to_end(&mut Vec::new()).map(drop)
                },
            )
        }
        ["bare-loop", core, address] => {
            keep_to(number(core)?)?;
            bare::serve(TcpListener::bind(address)?)
        }
        _ => Err(io::Error::other("this program is started by `cargo xtask bench stream`")),
    }
}

fn say(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

fn number<T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>>(
    word: &str,
) -> io::Result<T> {
    word.parse().map_err(io::Error::other)
}

fn keep_to(core: usize) -> io::Result<()> {
    let mut cores = CpuSet::new();
    cores.set(core)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &cores)?)
}
