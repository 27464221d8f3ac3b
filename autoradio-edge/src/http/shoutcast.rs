//! How sources log in that speak no HTTP: SHOUTcast version 1, and Icecast 1 (`x-audiocast`). Pure.
//!
//! SHOUTcast: one line with the password, and after the answer `OK2` lines like `icy-name:text` up to an empty one, then audio. The line names no
//! mount, so custom has added forms that do: `/mount:password`, `password:#number`; with `user:` before the password, or without.
//! Icecast 1: `SOURCE password /mount`, then lines like `x-audiocast-name: text` up to an empty one.

use std::sync::Arc;

use autoradio_common::limits::{HTTP_HEAD_BYTES_MAX, HTTP_HEADERS_MAX, HTTP_LOGIN_BYTES_MAX};

use super::auth::Credentials;
use super::head::Field;
use super::route::find_mount;
use super::{FrontError, RequestHead};
use crate::cluster::{MountPath, MountRecord};
use crate::placement::Placement;

/// The number of a source that gives none.
const SID_DEFAULT: u32 = 1;

/// What Icecast calls the fields that describe a stream, by what follows `icy-` and `x-audiocast-`.
const FIELDS: [(&str, &str); 8] = [
    ("name", "ice-name"),
    ("description", "ice-description"),
    ("genre", "ice-genre"),
    ("url", "ice-url"),
    ("pub", "ice-public"),
    ("public", "ice-public"),
    ("br", "ice-bitrate"),
    ("bitrate", "ice-bitrate"),
];

/// The line with which a SHOUTcast source begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// Password, perhaps with a user's name and what tells the mount.
    pub text: String,
    /// Length of the line with its end, in bytes.
    pub bytes: usize,
}

impl Login {
    /// Reads the first line. `Ok(None)`: it is not complete, or begins an HTTP request.
    pub fn parse(input: &[u8]) -> Result<Option<Self>, FrontError> {
        let Some(line_bytes) =
            input.iter().take(HTTP_LOGIN_BYTES_MAX).position(|byte| *byte == b'\n')
        else {
            // A request's target may be longer than any password.
            let is_login = input.len() >= HTTP_LOGIN_BYTES_MAX && !input.contains(&b' ');
            return if is_login { Err(FrontError::LoginMalformed) } else { Ok(None) };
        };
        let line = text_of(&input[..line_bytes])?;
        if is_request(line) {
            return Ok(None);
        }
        if line.is_empty() || line.contains(char::is_control) {
            return Err(FrontError::LoginMalformed);
        }
        Ok(Some(Self { text: line.to_owned(), bytes: line_bytes + 1 }))
    }
}

/// Whether a line begins a request in HTTP, or in Icecast 1's form of it.
fn is_request(line: &str) -> bool {
    let token = line.rsplit(' ').next().unwrap_or_default();
    token.starts_with("HTTP/") || token == "ICE/1.0" || audiocast_line(line).is_some()
}

/// Password and path in the first line of an Icecast 1 source.
fn audiocast_line(line: &str) -> Option<(&str, &str)> {
    let (password, path) = line.strip_prefix("SOURCE ")?.split_once(' ')?;
    (path.starts_with('/') && !path.contains(' ')).then_some((password, path))
}

/// A line's text without the carriage returns before its end; some clients send two.
fn text_of(line: &[u8]) -> Result<&str, FrontError> {
    let line = std::str::from_utf8(line).map_err(|_| FrontError::LoginMalformed)?;
    Ok(line.trim_end_matches('\r'))
}

/// The head that follows a login: `Ok(None)` while its empty line has not come. It is a source's, as if it had come by HTTP.
pub fn login_head(mount: &MountPath, input: &[u8]) -> Result<Option<RequestHead>, FrontError> {
    let Some((fields, bytes)) = described(input)? else { return Ok(None) };
    Ok(Some(RequestHead::source(mount.to_url_path(), fields, bytes, None)))
}

/// Reads an Icecast 1 source's head. `None`: it is none, for all that has come. Its password is for any user name.
pub(super) fn audiocast_head(input: &[u8]) -> Option<Result<Option<RequestHead>, FrontError>> {
    let line_bytes = input.iter().position(|byte| *byte == b'\n')?;
    let (password, path) = audiocast_line(text_of(&input[..line_bytes]).ok()?)?;
    let after = line_bytes + 1;
    let head = described(&input[after..]).map(|described| {
        let (fields, bytes) = described?;
        let password = Some(password.to_owned());
        Some(RequestHead::source(path.to_owned(), fields, after + bytes, password))
    });
    Some(head)
}

/// The lines up to the empty one as Icecast's fields, and their length with it. `None`: it has not come.
fn described(input: &[u8]) -> Result<Option<(Vec<Field>, usize)>, FrontError> {
    let mut fields = Vec::new();
    let mut read = 0;
    while let Some(line_bytes) = input[read..].iter().position(|byte| *byte == b'\n') {
        let line = input[read..read + line_bytes].trim_ascii();
        read += line_bytes + 1;
        if fields.len() >= HTTP_HEADERS_MAX || read > HTTP_HEAD_BYTES_MAX {
            return Err(FrontError::HeadTooLarge);
        }
        if line.is_empty() {
            return Ok(Some((fields, read)));
        }
        fields.extend(field(line)?);
    }
    if input.len() >= HTTP_HEAD_BYTES_MAX { Err(FrontError::HeadTooLarge) } else { Ok(None) }
}

/// One line, `None` if it describes nothing that Icecast knows.
fn field(line: &[u8]) -> Result<Option<Field>, FrontError> {
    let colon = line.iter().position(|byte| *byte == b':').ok_or(FrontError::LoginMalformed)?;
    let (name, value) =
        (text_of(&line[..colon])?.to_ascii_lowercase(), line[colon + 1..].trim_ascii());
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if name.is_empty() || !name.bytes().all(plain) || value.iter().any(u8::is_ascii_control) {
        return Err(FrontError::LoginMalformed);
    }
    let described = name.strip_prefix("icy-").or_else(|| name.strip_prefix("x-audiocast-"));
    let known = FIELDS.iter().find(|(short, _)| Some(*short) == described);
    let name = match known {
        Some((_, name)) => (*name).to_owned(),
        None if matches!(name.as_str(), "content-type" | "user-agent") => name,
        None => return Ok(None),
    };
    Ok(Some((name, value.to_vec())))
}

/// Which mount a login means, and with what credentials.
///
/// A mount that is named; else the one with the number that is given, 1 if none is; else, of number 1, the only mount there is.
/// Credentials without a user's name are for the mount's own.
pub(super) fn meaning(
    login: &str,
    placement: &Placement,
) -> Option<(Arc<MountRecord>, Credentials)> {
    let named = login.starts_with('/').then(|| login.split_once(':')).flatten();
    let named = named.and_then(|(path, rest)| Some((find_mount(path, placement)?, rest)));
    let (record, rest) = if let Some((mount, rest)) = named {
        (placement.mounts.get(&mount)?.record.clone(), rest)
    } else {
        let numbered = login.rsplit_once(":#");
        let numbered = numbered.and_then(|(rest, sid)| Some((rest, sid.parse().ok()?)));
        let (rest, sid) = numbered.unwrap_or((login, SID_DEFAULT));
        (numbered_mount(sid, placement)?, rest)
    };
    let user = &record.source_username;
    let password = rest.strip_prefix(user.as_str()).and_then(|rest| rest.strip_prefix(':'));
    let credentials = Credentials::new(user, password.unwrap_or(rest));
    Some((record, credentials))
}

fn numbered_mount(sid: u32, placement: &Placement) -> Option<Arc<MountRecord>> {
    let mut records = placement.mounts.values().map(|placed| &placed.record);
    let only = || {
        let mut all = placement.mounts.values();
        let only = all.next().filter(|_| sid == SID_DEFAULT)?;
        all.next().is_none().then_some(&only.record)
    };
    records.find(|record| record.shoutcast_sid == Some(sid)).or_else(only).cloned()
}

#[cfg(test)]
mod tests {
    use super::super::testing::placement_of;
    use super::*;

    fn fields(head: &RequestHead) -> Vec<(&str, &str)> {
        let text = |value| std::str::from_utf8(value).expect("text");
        head.fields().map(|(name, value)| (name, text(value))).collect()
    }

    #[test]
    fn a_login_is_a_line_however_it_ends_and_a_request_is_none() {
        for (input, want) in [
            (&b"hackme\r\nicy-name:x\r\n"[..], Some(("hackme", 8))),
            (b"hackme\n", Some(("hackme", 7))),
            (b"hackme\r\r\n", Some(("hackme", 9))),
            (b"my pass word\n", Some(("my pass word", 13))),
            (b"/live.mp3:hackme\r\n", Some(("/live.mp3:hackme", 18))),
            (b"!POKE\nicy-name:x\n\n", Some(("!POKE", 6))),
            (b"SOURCE hackme /m\n", None),
            (b"SOURCE /m ICE/1.0\r\n", None),
            (b"GET /admin.cgi?mode=updinfo&pass=x&song=y HTTP/1.0\r\n", None),
            (b"hackme", None),
            (b"", None),
        ] {
            let login = Login::parse(input).expect("no mistake");
            let got = login.as_ref().map(|login| (login.text.as_str(), login.bytes));
            assert_eq!(got, want, "{}", input.escape_ascii());
        }
        for input in [&b"\r\n"[..], b"\n", b"a\0b\n", b"\xff\n", &[b'x'; HTTP_LOGIN_BYTES_MAX]] {
            let refused = Login::parse(input);
            assert!(matches!(refused, Err(FrontError::LoginMalformed)), "{refused:?}");
        }
    }

    #[test]
    fn lines_after_the_login_become_icecasts_fields() {
        let mount = "/a b.mp3".parse().expect("a mount path");
        let lines = "icy-name:My Radio\r\nicy-genre: Jazz:Fusion\r\nicy-url:http://h/\r\nicy-pub:1\r\nicy-br:128\r\n\
            icy-irc:#x\r\ncontent-type:audio/aacp\r\n\r\n";
        let head = login_head(&mount, lines.as_bytes()).expect("no mistake").expect("whole");
        assert_eq!((head.method.as_str(), head.target.as_str()), ("SOURCE", "/a%20b.mp3"));
        assert_eq!(head.bytes, lines.len());
        assert_eq!(
            fields(&head),
            [
                ("ice-name", "My Radio"),
                ("ice-genre", "Jazz:Fusion"),
                ("ice-url", "http://h/"),
                ("ice-public", "1"),
                ("ice-bitrate", "128"),
                ("content-type", "audio/aacp"),
            ]
        );
        for cut in 0..lines.len() {
            let cut = login_head(&mount, &lines.as_bytes()[..cut]);
            assert!(matches!(cut, Ok(None)), "{cut:?}");
        }
        let bare = login_head(&mount, b"\n\xff\xfb").expect("no mistake").expect("whole");
        assert_eq!((bare.bytes, fields(&bare).len()), (1, 0));
        let many = "icy-name:x\n".repeat(HTTP_HEADERS_MAX + 1);
        for (why, lines) in [
            ("no colon", &b"icy-name\n"[..]),
            ("audio", b"\xff\xfb\x90:\n"),
            ("a name with a space", b"icy name:x\n"),
            ("a control character", b"icy-name:a\x01b\n"),
            ("no name", b":x\n"),
            ("too many", many.as_bytes()),
            ("too long", &[b'x'; HTTP_HEAD_BYTES_MAX]),
        ] {
            assert!(login_head(&mount, lines).is_err(), "{why}");
        }
    }

    #[test]
    fn an_icecast_1_source_is_read_like_any_other() {
        let text = "SOURCE hackme /live.mp3\nx-audiocast-name: A\nx-audiocast-public: 1\n\n";
        let input = [text.as_bytes(), b"\xff\xfb"].concat();
        let head = RequestHead::parse(&input).expect("no mistake").expect("whole");
        assert_eq!((head.method.as_str(), head.target.as_str()), ("SOURCE", "/live.mp3"));
        assert_eq!((head.bytes, head.bare_password()), (text.len(), Some("hackme")));
        assert_eq!(fields(&head), [("ice-name", "A"), ("ice-public", "1")]);
        for cut in 0..text.len() {
            let cut = RequestHead::parse(&text.as_bytes()[..cut]);
            assert!(matches!(cut, Ok(None)), "{cut:?}");
        }
        assert!(RequestHead::parse(b"SOURCE hackme /m\nno colon\n\n").is_err());
    }

    #[test]
    fn every_form_of_a_login_finds_its_mount() {
        let mut placement = placement_of(&["/live.mp3", "/two", "/caf\u{e9}"]);
        let mut number = |path: &str, sid| {
            let placed = placement.mounts.get_mut(&path.parse().expect("a path")).expect("there");
            Arc::make_mut(&mut placed.record).shoutcast_sid = Some(sid);
        };
        number("/live.mp3", 1);
        number("/two", 2);
        for (login, want) in [
            ("hackme", Some(("/live.mp3", "hackme"))),
            ("source:hackme", Some(("/live.mp3", "hackme"))),
            ("dj:hackme", Some(("/live.mp3", "dj:hackme"))),
            ("hackme:#2", Some(("/two", "hackme"))),
            ("source:hackme:#2", Some(("/two", "hackme"))),
            ("hackme:#3", None),
            ("hackme:#x", Some(("/live.mp3", "hackme:#x"))),
            ("/two:hackme", Some(("/two", "hackme"))),
            ("/two:source:hackme", Some(("/two", "hackme"))),
            ("/caf%C3%A9:hackme", Some(("/caf\u{e9}", "hackme"))),
            ("/no:hackme", Some(("/live.mp3", "/no:hackme"))),
        ] {
            let got = meaning(login, &placement);
            let want = want.map(|(path, password)| {
                (path.parse().expect("a path"), Credentials::new("source", password))
            });
            assert!(got.map(|(record, given)| (record.path.clone(), given)) == want, "{login}");
        }
        let only = placement_of(&["/only"]);
        assert!(meaning("hackme", &only).is_some() && meaning("hackme:#2", &only).is_none());
        assert!(meaning("hackme", &placement_of(&["/a", "/b"])).is_none(), "either is meant");
    }
}
