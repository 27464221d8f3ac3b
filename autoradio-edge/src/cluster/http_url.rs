//! Plain `http://` URLs that an operator gives: streams to pull, programs to ask. Pure.

use std::str::FromStr;

use http::Uri;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// Longest URL, in bytes.
const URL_BYTES_MAX: usize = 1_024;

/// An `http://` URL in its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpUrl {
    /// Name or address of the host, an IPv6 address without its brackets.
    pub host: String,
    /// Port, 80 unless given.
    pub port: u16,
    /// Path and query, as they stand in a request line: at least `/`.
    pub target: String,
    /// User name and password, if given before the host.
    pub credentials: Option<(String, String)>,
}

/// Why a text is no such URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{url:?} cannot be used: {reason}; give one like http://host:8000/path")]
pub struct HttpUrlError {
    url: String,
    reason: &'static str,
}

impl FromStr for HttpUrl {
    type Err = HttpUrlError;

    fn from_str(url: &str) -> Result<Self, HttpUrlError> {
        let error = |reason| HttpUrlError { url: url.to_owned(), reason };
        if url.len() > URL_BYTES_MAX {
            return Err(error("it has more than 1024 bytes"));
        }
        let uri: Uri = url.parse().map_err(|_| error("it is no URL"))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => return Err(error("https is not spoken here")),
            _ => return Err(error("it does not begin with http://")),
        }
        let authority = uri.authority().ok_or_else(|| error("it names no host"))?;
        let (user, place) = match authority.as_str().rsplit_once('@') {
            Some((user, place)) => (Some(user), place),
            None => (None, authority.as_str()),
        };
        let host = authority.host();
        let port = match place.strip_prefix(host).unwrap_or_default() {
            "" => 80,
            port => match port.trim_start_matches(':').parse() {
                Ok(port @ 1..) => port,
                _ => return Err(error("its port is none")),
            },
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(error("it names no host"));
        }
        let decoded = |text: &str| percent_decode_str(text).decode_utf8().map(Into::into);
        let credentials = user.map(|user| {
            let (user, password) = user.split_once(':').unwrap_or((user, ""));
            Ok((decoded(user)?, decoded(password)?))
        });
        let credentials = credentials
            .transpose()
            .map_err(|_: std::str::Utf8Error| error("its password is no UTF-8"))?;
        let target = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        Ok(Self { host: host.to_owned(), port, target: target.to_owned(), credentials })
    }
}

impl HttpUrl {
    /// The URL as it may be shown to anybody.
    pub fn without_password(&self) -> String {
        let user = self.credentials.as_ref();
        let user =
            user.map(|(user, _)| format!("{}@", utf8_percent_encode(user, NON_ALPHANUMERIC)));
        format!("http://{}{}{}", user.unwrap_or_default(), self.authority(), self.target)
    }

    /// Host and port as they stand in a `Host` field.
    pub fn authority(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_comes_apart_into_what_a_request_needs() {
        for (url, host, port, target, credentials) in [
            ("http://h/x.mp3?a=1", "h", 80, "/x.mp3?a=1", None),
            ("http://h:8000", "h", 8000, "/", None),
            ("http://[2001:db8::1]:81/", "2001:db8::1", 81, "/", None),
            ("http://jo:p%40ss@h/m", "h", 80, "/m", Some(("jo", "p@ss"))),
        ] {
            let parsed: HttpUrl = url.parse().expect(url);
            let credentials = credentials.map(|(user, pass)| (user.to_owned(), pass.to_owned()));
            let (host, target) = (host.to_owned(), target.to_owned());
            assert_eq!(parsed, HttpUrl { host, port, target, credentials }, "{url}");
        }
        let v6: HttpUrl = "http://[::1]/".parse().expect("valid");
        assert_eq!(v6.authority(), "[::1]:80");
    }

    #[test]
    fn what_cannot_be_asked_is_refused_with_the_reason() {
        let long = format!("http://h/{}", "x".repeat(URL_BYTES_MAX));
        for (url, want) in [
            ("https://h/", "https is not"),
            ("ftp://h/", "begin with http"),
            ("/live.mp3", "begin with http"),
            ("h", "begin with http"),
            ("http://", "cannot be used"),
            ("http://h:0/", "port"),
            ("http://h:99999/", "port"),
            ("http://h/a b", "no URL"),
            ("http://%ff@h/", "UTF-8"),
            (&long, "1024 bytes"),
        ] {
            let error = url.parse::<HttpUrl>().expect_err(url).to_string();
            assert!(error.contains(want), "{url}: {error}");
        }
    }
}
