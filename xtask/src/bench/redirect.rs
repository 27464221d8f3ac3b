//! `cargo xtask bench redirect`: 302s a second from one core: ours and others'.
//!
//! wrk has core 0, the server core 1, on loopback.

mod tally;
mod wrk;

use std::path::Path;

use anyhow::{Context, Result, bail};
use autoradio_lab::interrupt;

use super::cores::{SERVER_CORE, keep_to};
use super::report::Report;
use super::server::{DOMAIN, MOUNT, OTHER, Server, answer};
use crate::output::Step;
use crate::{lab, setup};
use tally::Tally;

/// One subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Nginx,
    Haproxy,
    Autoradio,
}

/// Whether the client wants to keep its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Connection {
    Close,
    KeepAlive,
}

impl Subject {
    const ALL: [Self; 3] = [Self::Nginx, Self::Haproxy, Self::Autoradio];

    const fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Autoradio => "autoradio",
        }
    }

    /// Starts it, and returns once it redirects.
    fn start(self, programs: &Path) -> Result<Server> {
        let to = format!("http://{OTHER}.{DOMAIN}/_stream{MOUNT}");
        let mut server = match self {
            Self::Nginx => Server::nginx_redirecting(&to),
            Self::Haproxy => Server::haproxy_redirecting(&to),
            Self::Autoradio => Server::autoradio_redirecting(programs),
        }?;
        let answer = answer(server.address, MOUNT);
        server.must_run()?;
        if !is_redirect(&answer, &to) {
            bail!("it should redirect to {to}, but answers {answer:?}");
        }
        Ok(server)
    }
}

impl Connection {
    const ALL: [Self; 2] = [Self::Close, Self::KeepAlive];

    const fn name(self) -> &'static str {
        match self {
            Self::Close => "close",
            Self::KeepAlive => "keep-alive",
        }
    }
}

fn is_redirect(answer: &str, to: &str) -> bool {
    let status = answer.split(' ').nth(1);
    let is_location = |line: &str| {
        line.split_once(':').is_some_and(|(name, value)| {
            name.eq_ignore_ascii_case("location") && value.trim() == to
        })
    };
    status == Some("302") && answer.lines().any(is_location)
}

/// Measures what `only` names, or everything. What cannot be measured is part of the result.
pub(super) fn run(quick: bool, only: &[String]) -> Result<Report> {
    let subjects = chosen(only)?;
    setup::install()?;
    let programs = lab::build_programs(true)?;
    keep_to([SERVER_CORE])?;
    let (seconds, mut tally) = (if quick { 4 } else { 15 }, Tally::default());
    for subject in subjects {
        match one(subject, &programs, seconds, &mut tally) {
            Err(error) if interrupt::requested() => return Err(error),
            Err(error) => tally.fail(subject, &error),
            Ok(()) => {}
        }
    }
    Ok(tally.report())
}

fn chosen(only: &[String]) -> Result<Vec<Subject>> {
    let known = Subject::ALL.map(Subject::name);
    if let Some(name) = only.iter().find(|name| !known.contains(&name.as_str())) {
        bail!("nothing here is called {name}: there are {}", known.join(", "));
    }
    let wanted =
        |subject: &Subject| only.is_empty() || only.iter().any(|name| name == subject.name());
    Ok(Subject::ALL.into_iter().filter(wanted).collect())
}

fn one(subject: Subject, programs: &Path, seconds: u32, tally: &mut Tally) -> Result<()> {
    let name = subject.name();
    let server = Step::run(&format!("starting {name}"), || subject.start(programs))?;
    for connection in Connection::ALL {
        let title = format!("{name}, connections: {}", connection.name());
        let step = Step::start(&title);
        let rate = wrk::run(server.address, connection, seconds);
        step.end(&rate.as_ref().map_or("failed".to_owned(), |rate| format!("{rate:.0}/s")));
        tally.add(subject, connection, rate.with_context(|| title.clone())?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_place_in_a_302_is_a_redirect() {
        let to = "http://node2.radio.test/_stream/live.mp3";
        for (why, answer, want) in [
            ("ours", format!("HTTP/1.0 302 Found\r\nLocation: {to}\r\n\r\n"), true),
            ("HAProxy's", format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\n\r\n"), true),
            ("another place", "HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n".to_owned(), false),
            ("another status", format!("HTTP/1.1 200 OK\r\nLocation: {to}\r\n\r\n"), false),
            ("nothing", String::new(), false),
        ] {
            assert_eq!(is_redirect(&answer, to), want, "{why}");
        }
    }

    #[test]
    fn only_what_is_named_is_measured_and_a_wrong_name_is_refused() {
        assert_eq!(chosen(&[]).unwrap(), Subject::ALL);
        assert_eq!(chosen(&["nginx".to_owned()]).unwrap(), [Subject::Nginx]);
        assert!(chosen(&["apache".to_owned()]).is_err());
    }
}
