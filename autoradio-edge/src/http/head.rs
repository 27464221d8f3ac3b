//! Request heads, from bytes to fields. Pure.
//!
//! Tolerant where real clients are odd (`ICE/1.0`, no `Host`, absolute-form targets, bytes past the head), strict
//! elsewhere: what does not parse is refused, not guessed at.

use std::fmt;

use autoradio_common::limits::{HTTP_HEAD_BYTES_MAX, HTTP_HEADERS_MAX};

use super::{FrontError, shoutcast};

/// Name and value of a field.
pub(super) type Field = (String, Vec<u8>);

/// The version a client speaks, which is the version of its answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpVersion {
    /// `HTTP/1.0` and `ICE/1.0`.
    Http10,
    /// `HTTP/1.1`.
    Http11,
}

impl fmt::Display for HttpVersion {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
        })
    }
}

/// One request head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHead {
    /// The method, as sent: `GET`, `SOURCE`, …
    pub method: String,
    /// The request target, as sent: path, absolute form or `*`.
    pub target: String,
    /// The version.
    pub version: HttpVersion,
    /// Length of the head in the input, its empty line included.
    pub bytes: usize,
    fields: Vec<Field>,
    /// A password that is for any user name: that of an Icecast 1 source.
    bare_password: Option<String>,
}

impl RequestHead {
    /// Reads a head from the front of `input`. `Ok(None)`: it is not complete yet.
    pub fn parse(input: &[u8]) -> Result<Option<Self>, FrontError> {
        let ice = ice_as_http(input);
        let text = ice.as_deref().unwrap_or(input);
        let mut fields = [httparse::EMPTY_HEADER; HTTP_HEADERS_MAX];
        let mut request = httparse::Request::new(&mut fields);
        let bytes = match request.parse(text) {
            Ok(httparse::Status::Complete(bytes)) => bytes - (text.len() - input.len()),
            Ok(httparse::Status::Partial) => return incomplete(input),
            // Until the line is whole this may become ICE/1.0, which the parser does not know.
            Err(httparse::Error::Version) if !input.contains(&b'\n') => return incomplete(input),
            Err(httparse::Error::TooManyHeaders) => return Err(FrontError::HeadTooLarge),
            Err(source) => {
                let malformed = || Err(FrontError::HeadMalformed { source });
                return shoutcast::audiocast_head(input).unwrap_or_else(malformed);
            }
        };
        if bytes > HTTP_HEAD_BYTES_MAX {
            return Err(FrontError::HeadTooLarge);
        }
        Ok(Some(Self {
            method: request.method.unwrap_or_default().to_owned(),
            target: request.path.unwrap_or_default().to_owned(),
            version: match request.version {
                Some(1) => HttpVersion::Http11,
                _ => HttpVersion::Http10,
            },
            bytes,
            fields: request
                .headers
                .iter()
                .map(|field| (field.name.to_owned(), field.value.to_vec()))
                .collect(),
            bare_password: None,
        }))
    }

    /// The head that a source which speaks no HTTP would have sent if it did.
    pub(super) fn source(
        target: String,
        fields: Vec<Field>,
        bytes: usize,
        bare_password: Option<String>,
    ) -> Self {
        let (method, version) = ("SOURCE".to_owned(), HttpVersion::Http10);
        Self { method, target, version, bytes, fields, bare_password }
    }

    /// The password of an Icecast 1 source, which gives no user name and is answered in its own form.
    pub(super) fn bare_password(&self) -> Option<&str> {
        self.bare_password.as_deref()
    }

    /// The first field of that name, whatever its case.
    pub fn field(&self, name: &str) -> Option<&[u8]> {
        self.fields().find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The first field of that name as text, if it is text.
    pub fn field_text(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.field(name)?).ok().map(str::trim)
    }

    /// Whether a field of that name lists `token`, whatever its case (`Transfer-Encoding: gzip, Chunked`).
    pub fn lists(&self, name: &str, token: &str) -> bool {
        self.fields()
            .filter(|(field, _)| field.eq_ignore_ascii_case(name))
            .filter_map(|(_, value)| std::str::from_utf8(value).ok())
            .flat_map(|value| value.split(','))
            .any(|part| part.trim().eq_ignore_ascii_case(token))
    }

    /// All fields in the order they came.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.fields.iter().map(|(name, value)| (name.as_str(), value.as_slice()))
    }
}

fn incomplete(input: &[u8]) -> Result<Option<RequestHead>, FrontError> {
    if input.len() >= HTTP_HEAD_BYTES_MAX {
        return Err(FrontError::HeadTooLarge);
    }
    Ok(None)
}

/// The input with its `ICE/1.0` replaced by `HTTP/1.0` (one byte more), `None` if it has none.
fn ice_as_http(input: &[u8]) -> Option<Vec<u8>> {
    const ICE: &[u8] = b" ICE/1.0";
    let start = input.iter().position(|byte| !b"\r\n".contains(byte))?;
    let line_bytes = input[start..].iter().position(|byte| *byte == b'\n')?;
    let line = input[start..start + line_bytes].trim_ascii_end();
    let before = line.strip_suffix(ICE)?;
    let token_end = start + line.len();
    let after = &input[token_end..];
    Some([&input[..start], before, b" HTTP/1.0", after].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    const AUTH: &str = "Authorization: Basic c291cmNlOmhhY2ttZQ==\r\n";

    fn parse(text: &str) -> RequestHead {
        RequestHead::parse(text.as_bytes()).expect(text).expect("complete")
    }

    #[test]
    fn every_recorded_head_of_a_source_is_read() {
        let ffmpeg = format!(
            "PUT /m HTTP/1.1\r\nUser-Agent: Lavf/59.27.100\r\nAccept: */*\r\nExpect: 100-continue\r\n\
             Connection: close\r\nHost: h:80\r\nContent-Type: audio/mpeg\r\nIcy-MetaData: 1\r\n\
             Ice-Public: 0\r\n{AUTH}\r\n"
        );
        let libshout = format!(
            "SOURCE /m HTTP/1.0\r\nHost: h:80\r\n{AUTH}User-Agent: libshout/2.4.6\r\n\
             Content-Type: application/ogg\r\nice-public: 0\r\nice-name: no name\r\n\
             Prefer: return=minimal\r\n\r\n"
        );
        for (who, text, method, target, version) in [
            (
                "libshout's first connection",
                "OPTIONS * HTTP/1.1\r\nHost: h:80\r\nUser-Agent: libshout/2.4.6\r\n\
                 Connection: Upgrade\r\nUpgrade: TLS/1.0, HTTP/1.1\r\n\r\n",
                "OPTIONS",
                "*",
                HttpVersion::Http11,
            ),
            (
                "libshout's second connection",
                "GET /admin/!POKE HTTP/1.1\r\nHost: h:80\r\nUser-Agent: libshout/2.4.6\r\n\r\n",
                "GET",
                "/admin/!POKE",
                HttpVersion::Http11,
            ),
            (
                "libshout's third connection",
                "SOURCE /m HTTP/1.0\r\nHost: h:80\r\nContent-Length: 0\r\n\
                 Connection: Keep-Alive\r\n\r\n",
                "SOURCE",
                "/m",
                HttpVersion::Http10,
            ),
            ("libshout's fourth connection", &libshout, "SOURCE", "/m", HttpVersion::Http10),
            ("ffmpeg", &ffmpeg, "PUT", "/m", HttpVersion::Http11),
            (
                "liquidsoap without Host",
                "SOURCE /m HTTP/1.0\r\nContent-Type: audio/mpeg\r\nice-name:x\r\n\r\n",
                "SOURCE",
                "/m",
                HttpVersion::Http10,
            ),
            (
                "an ICE/1.0 token",
                "SOURCE /m ICE/1.0\r\nContent-Type: audio/mpeg\r\n\r\n",
                "SOURCE",
                "/m",
                HttpVersion::Http10,
            ),
            (
                "an absolute-form target",
                "GET http://radio.example.com/m HTTP/1.1\r\n\r\n",
                "GET",
                "http://radio.example.com/m",
                HttpVersion::Http11,
            ),
            (
                "bare line feeds",
                "GET /m HTTP/1.0\nIcy-MetaData: 1\n\n",
                "GET",
                "/m",
                HttpVersion::Http10,
            ),
        ] {
            let head = parse(text);
            assert_eq!(
                (head.method.as_str(), head.target.as_str(), head.version),
                (method, target, version),
                "{who}"
            );
            assert_eq!(head.bytes, text.len(), "{who}");
        }
    }

    #[test]
    fn audio_in_the_same_segment_as_the_head_is_left_past_its_end() {
        for token in ["HTTP/1.1", "ICE/1.0"] {
            let head = format!("SOURCE /m {token}\r\nContent-Type: audio/mpeg\r\n\r\n");
            let mut bytes = head.clone().into_bytes();
            bytes.extend([0xff, 0xfb, 0x90, 0x64, b'\r', b'\n']);
            let parsed = RequestHead::parse(&bytes).expect(token).expect("complete");
            assert_eq!(parsed.bytes, head.len(), "{token}");
        }
    }

    #[test]
    fn a_head_cut_anywhere_is_incomplete_not_wrong() {
        let text = "SOURCE /m ICE/1.0\r\nContent-Type: audio/mpeg\r\n\r\n";
        for cut in 0..text.len() {
            let parsed = RequestHead::parse(&text.as_bytes()[..cut]);
            assert!(matches!(parsed, Ok(None)), "cut at {cut}: {parsed:?}");
        }
    }

    #[test]
    fn bytes_that_are_no_head_are_malformed() {
        for (why, text) in [
            ("SHOUTcast password line", &b"hackme\r\n"[..]),
            ("SHOUTcast password line, bare", b"hackme\n"),
            ("icy poke", b"!POKE\nicy-name:x\n\n"),
            ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
            ("no version", b"GET /\r\n\r\n"),
            ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
            ("control byte in a field", b"GET / HTTP/1.1\r\na: \x01\r\n\r\n"),
        ] {
            let parsed = RequestHead::parse(text);
            assert!(matches!(parsed, Err(FrontError::HeadMalformed { .. })), "{why}: {parsed:?}");
        }
    }

    #[test]
    fn heads_over_the_limits_are_too_large() {
        let long = format!("GET / HTTP/1.1\r\na: {}\r\n\r\n", "x".repeat(HTTP_HEAD_BYTES_MAX));
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(HTTP_HEADERS_MAX + 1));
        for text in [&long, &long[..HTTP_HEAD_BYTES_MAX], &many] {
            let parsed = RequestHead::parse(text.as_bytes());
            assert!(matches!(parsed, Err(FrontError::HeadTooLarge)));
        }
    }

    #[test]
    fn fields_are_found_whatever_their_case() {
        let head =
            parse("GET / HTTP/1.1\r\nicy-METADATA:1\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n");
        assert_eq!(head.field_text("Icy-MetaData"), Some("1"));
        assert!(head.lists("transfer-encoding", "chunked"));
        assert!(!head.lists("transfer-encoding", "gz"));
        assert_eq!(head.field("Host"), None);
    }
}
