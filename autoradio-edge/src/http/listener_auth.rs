//! What a program that decides who may listen is asked and told, and how it answers. Pure.
//!
//! The forms are those of Icecast 2.4's URL authentication, so that a program which works behind an Icecast works here: `listener_add` when
//! somebody comes, let in by a field `icecast-auth-user: 1` in the answer; `listener_remove` when they have left.

use std::fmt::Write;
use std::net::IpAddr;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::RequestHead;
use super::auth::Credentials;
use crate::cluster::{HttpUrl, MountPath};

/// A listener as a program knows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Visitor {
    /// Number that tells this connection from all others of this node.
    pub(super) client: u64,
    mount: String,
    user: String,
    password: String,
    address: IpAddr,
    agent: String,
}

impl Visitor {
    /// Whoever sent `head` from `address` to listen to `mount`. The query goes with the mount: it may hold a token.
    pub(super) fn of(head: &RequestHead, mount: &MountPath, address: IpAddr, client: u64) -> Self {
        let query = head.target.split_once('?').map(|(_, query)| format!("?{query}"));
        let given = Credentials::of(head);
        let (user, password) = given.map(|it| (it.user, it.password)).unwrap_or_default();
        Self {
            client,
            mount: format!("{mount}{}", query.unwrap_or_default()),
            user,
            password,
            address,
            agent: head.field_text("User-Agent").unwrap_or_default().to_owned(),
        }
    }

    /// The question whether they may listen, as a form.
    pub(super) fn add_form(&self, server: &str, port: u16) -> String {
        self.form("listener_add", server, port, None)
    }

    /// The news that they have left after `seconds`.
    pub(super) fn remove_form(&self, server: &str, port: u16, seconds: u64) -> String {
        self.form("listener_remove", server, port, Some(seconds))
    }

    /// In Icecast's order; it encodes everything but letters and digits.
    fn form(&self, action: &str, server: &str, port: u16, seconds: Option<u64>) -> String {
        let Self { client, mount, user, password, address, agent } = self;
        let mut form = format!("action={action}&port={port}&client={client}");
        let address = address.to_string();
        for (name, value) in [
            ("server", server),
            ("mount", mount),
            ("user", user),
            ("pass", password),
            ("ip", &address),
            ("agent", agent),
        ] {
            // Writing to a string cannot fail.
            let _ = write!(form, "&{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC));
        }
        if let Some(seconds) = seconds {
            let _ = write!(form, "&duration={seconds}");
        }
        form
    }
}

/// The request that carries a form to the program at `url`.
pub(super) fn request(url: &HttpUrl, form: &str) -> String {
    let credentials = url.credentials.as_ref();
    let authorization = credentials.map(|(user, password)| {
        format!("Authorization: {}\r\n", Credentials::basic(user, password))
    });
    format!(
        "POST {} HTTP/1.0\r\nHost: {}\r\n{}User-Agent: autoradio/{}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
        url.target,
        url.authority(),
        authorization.unwrap_or_default(),
        env!("CARGO_PKG_VERSION"),
        form.len(),
    )
}

/// Whether an answer lets the listener in. `None`: its head is not complete, or no head.
pub fn allows_listener(answer: &[u8]) -> Option<bool> {
    let mut fields = [httparse::EMPTY_HEADER; autoradio_common::limits::HTTP_HEADERS_MAX];
    let mut response = httparse::Response::new(&mut fields);
    if !matches!(response.parse(answer), Ok(httparse::Status::Complete(_))) {
        return None;
    }
    Some(response.headers.iter().any(|field| {
        field.name.eq_ignore_ascii_case("icecast-auth-user") && field.value.trim_ascii() == b"1"
    }))
}

#[cfg(test)]
mod tests {
    use super::super::testing::head_of;
    use super::*;

    fn visitor(text: &str) -> Visitor {
        let mount = "/caf\u{e9}.mp3".parse().expect("a mount path");
        Visitor::of(&head_of(text), &mount, "2001:db8::7".parse().expect("an address"), 7)
    }

    #[test]
    fn a_program_is_asked_and_told_in_icecasts_words() {
        let visitor = visitor(
            "GET /x?token=a%26b HTTP/1.1\r\nAuthorization: Basic am86cCZz\r\nUser-Agent: mpv 0.35\r\n\r\n",
        );
        let who = "&server=radio%2Etest&mount=%2Fcaf%C3%A9%2Emp3%3Ftoken%3Da%2526b&user=jo&pass=p%26s\
            &ip=2001%3Adb8%3A%3A7&agent=mpv%200%2E35";
        assert_eq!(
            visitor.add_form("radio.test", 80),
            format!("action=listener_add&port=80&client=7{who}")
        );
        assert_eq!(
            visitor.remove_form("radio.test", 80, 61),
            format!("action=listener_remove&port=80&client=7{who}&duration=61")
        );
    }

    #[test]
    fn who_gives_no_name_is_asked_about_without_one() {
        let form = visitor("GET /x HTTP/1.0\r\n\r\n").add_form("h", 80);
        assert!(form.contains("&user=&pass=&") && form.ends_with("&agent="), "{form}");
    }

    #[test]
    fn only_the_field_that_says_so_lets_in() {
        for (answer, want) in [
            ("HTTP/1.1 200 OK\r\nicecast-auth-user: 1\r\n\r\nbody", Some(true)),
            ("HTTP/1.0 200 OK\r\nIcecast-Auth-User:1\r\n\r\n", Some(true)),
            ("HTTP/1.1 200 OK\r\nicecast-auth-user: 0\r\n\r\n", Some(false)),
            ("HTTP/1.1 200 OK\r\nicecast-auth-message: no\r\n\r\n", Some(false)),
            ("HTTP/1.1 200 OK\r\n\r\nicecast-auth-user: 1\r\n\r\n", Some(false)),
            ("HTTP/1.1 200 OK\r\nicecast-auth-user: 1\r\n", None),
            ("nonsense", None),
        ] {
            assert_eq!(allows_listener(answer.as_bytes()), want, "{answer}");
        }
    }

    #[test]
    fn the_request_goes_to_the_urls_own_host_with_its_own_credentials() {
        let url: HttpUrl = "http://me:pw@[::1]:81/auth?x=1".parse().expect("a URL");
        let text = request(&url, "a=b");
        assert!(text.starts_with(
            "POST /auth?x=1 HTTP/1.0\r\nHost: [::1]:81\r\nAuthorization: Basic bWU6cHc=\r\n"
        ));
        assert!(text.ends_with("\r\nContent-Length: 3\r\n\r\na=b"), "{text}");
    }
}
