//! Short answers that the front writes by itself, as bytes. Pure.

use super::HttpVersion;

/// Seconds after which a client that got a 503 may come again.
const RETRY_AFTER_SECONDS: u32 = 2;

/// A whole answer: status, fields and body. The connection closes after it, unless it is written as one that keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    status: u16,
    fields: Vec<(&'static str, String)>,
    /// `None`: no `Content-Length` and no body (answers to HEAD, 204).
    body: Option<String>,
}

impl Reply {
    /// An answer of one sentence. 401 carries the challenge and 503 `Retry-After`.
    ///
    /// `Allow` and `Upgrade` are never sent: libshout would take them as an offer of PUT or TLS.
    pub(super) fn text(status: u16, sentence: &str) -> Self {
        let mut fields = vec![("Content-Type", "text/plain; charset=utf-8".to_owned())];
        match status {
            401 => fields.push(("WWW-Authenticate", "Basic realm=\"autoradio\"".to_owned())),
            503 => fields.push(("Retry-After", RETRY_AFTER_SECONDS.to_string())),
            _ => {}
        }
        Self { status, fields, body: Some(format!("{sentence}\n")) }
    }

    /// 200 with a JSON document.
    pub(super) fn json(document: &impl serde::Serialize) -> Self {
        // What is answered here has no maps with keys that JSON cannot hold.
        let body = serde_json::to_string(document).unwrap_or_default();
        let fields = vec![("Content-Type", "application/json".to_owned())];
        Self { status: 200, fields, body: Some(body) }
    }

    /// 200 with a document that tells of this moment only, its fields as Icecast sends them.
    pub(super) fn page(content_type: &str, body: String) -> Self {
        let fields = vec![
            ("Content-Type", content_type.to_owned()),
            ("Cache-Control", "no-cache, no-store".to_owned()),
            ("Expires", "Mon, 26 Jul 1997 05:00:00 GMT".to_owned()),
            ("Pragma", "no-cache".to_owned()),
            ("Access-Control-Allow-Origin", "*".to_owned()),
        ];
        Self { status: 200, fields, body: Some(body) }
    }

    /// 400 with a page that says why.
    pub(super) fn bad_request_page(html: String) -> Self {
        Self { status: 400, ..Self::page("text/html; charset=utf-8", html) }
    }

    /// An answer of fields only.
    pub(super) fn bare(status: u16, fields: Vec<(&'static str, String)>) -> Self {
        Self { status, fields, body: None }
    }

    /// The answer to a listener who is served elsewhere. It holds for this moment only.
    pub(super) fn redirect(location: String) -> Self {
        let fields = vec![
            ("Location", location),
            ("Cache-Control", "no-cache, no-store".to_owned()),
            ("Access-Control-Allow-Origin", "*".to_owned()),
        ];
        Self { status: 302, fields, body: Some(String::new()) }
    }

    /// 200 with nothing in it: the end of a source's upload, `OPTIONS *`.
    pub(super) fn empty() -> Self {
        Self { status: 200, fields: Vec::new(), body: Some(String::new()) }
    }

    /// The bytes, to go out in one write: several source clients read their answer only once.
    pub(super) fn to_bytes(&self, version: HttpVersion) -> Vec<u8> {
        self.bytes(version, "Connection: close\r\n\r\n")
    }

    /// The same for a connection that is kept, as HTTP/1.1 has it without a word (RFC 9112 §9.3).
    pub(super) fn to_kept_bytes(&self) -> Vec<u8> {
        self.bytes(HttpVersion::Http11, "\r\n")
    }

    fn bytes(&self, version: HttpVersion, end: &str) -> Vec<u8> {
        let mut text = format!("{version} {} {}\r\n", self.status, reason(self.status));
        for (name, value) in &self.fields {
            text.extend([name, ": ", value, "\r\n"]);
        }
        if let Some(body) = &self.body {
            text.extend(["Content-Length: ", &body.len().to_string(), "\r\n"]);
        }
        text.push_str(end);
        text.push_str(self.body.as_deref().unwrap_or_default());
        text.into_bytes()
    }
}

fn reason(status: u16) -> &'static str {
    http::StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or("Error")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_has_its_exact_length_and_offers_nothing_else() {
        let bytes = Reply::text(401, "no").to_bytes(HttpVersion::Http10);
        assert_eq!(
            String::from_utf8(bytes).expect("text"),
            "HTTP/1.0 401 Unauthorized\r\nContent-Type: text/plain; charset=utf-8\r\n\
             WWW-Authenticate: Basic realm=\"autoradio\"\r\nContent-Length: 3\r\n\
             Connection: close\r\n\r\nno\n"
        );
    }

    #[test]
    fn a_redirect_may_be_followed_by_a_page_of_another_site_and_kept_by_nobody() {
        let reply = Reply::redirect("http://node2.radio.test/_stream/m".to_owned());
        assert_eq!(
            String::from_utf8(reply.to_bytes(HttpVersion::Http11)).expect("text"),
            "HTTP/1.1 302 Found\r\nLocation: http://node2.radio.test/_stream/m\r\n\
             Cache-Control: no-cache, no-store\r\nAccess-Control-Allow-Origin: *\r\n\
             Content-Length: 0\r\nConnection: close\r\n\r\n"
        );
    }
}
