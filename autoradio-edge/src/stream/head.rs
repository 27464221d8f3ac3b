//! The head that listeners get, made of the one that Icecast gave. Pure.
//!
//! Old players match fields byte by byte (`icy-name:` without a space), so what Icecast has written stays as it is.

use std::fmt::Write;

use super::icy::METAINT;

/// Fields that hold for one connection or one moment, and are written anew or left out.
const OWN_FIELDS: [&str; 3] = ["Date", "icy-metaint", "Content-Length"];

/// What Icecast says of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamHead {
    /// The media type, as sent.
    pub content_type: String,
    /// Bytes of audio between two metadata blocks of the upstream connection; `None` if there are none.
    pub(super) metaint: Option<usize>,
    /// All lines that listeners get too, line ends included.
    lines: Vec<u8>,
}

impl StreamHead {
    /// Of a whole head, from the status line to the empty line.
    pub(super) fn of(head: &[u8]) -> Self {
        let mut lines = Vec::with_capacity(head.len());
        let (mut content_type, mut metaint) = (None, None);
        for line in head.split_inclusive(|byte| *byte == b'\n').skip(1) {
            let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
            let name = String::from_utf8_lossy(&line[..colon]);
            let value = String::from_utf8_lossy(&line[colon + 1..]).trim().to_owned();
            if name.eq_ignore_ascii_case("Content-Type") {
                content_type = Some(value);
            } else if name.eq_ignore_ascii_case("icy-metaint") {
                metaint = value.parse().ok().filter(|bytes| *bytes > 0);
            }
            if !OWN_FIELDS.iter().any(|own| own.eq_ignore_ascii_case(&name)) {
                lines.extend_from_slice(line);
            }
        }
        // Icecast's own guess for a source that does not say.
        let content_type = content_type.unwrap_or_else(|| "audio/mpeg".to_owned());
        Self { content_type, metaint, lines }
    }

    /// Whether listeners can have titles between the audio.
    pub fn has_titles(&self) -> bool {
        self.metaint.is_some()
    }

    /// The head for a listener, titles announced or not, at the moment `date` (RFC 9110 §5.6.7).
    pub fn to_bytes(&self, titles: bool, date: &str) -> Vec<u8> {
        let mut head = b"HTTP/1.0 200 OK\r\n".to_vec();
        head.extend_from_slice(&self.lines);
        let mut own = format!("Date: {date}\r\n");
        if titles {
            let _ = write!(own, "icy-metaint:{METAINT}\r\n");
        }
        own.push_str("\r\n");
        head.extend_from_slice(own.as_bytes());
        head
    }

    /// Whether a listener of one stream can go on with the other.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        essence(&self.content_type).eq_ignore_ascii_case(essence(&other.content_type))
    }
}

/// A media type without its parameters.
fn essence(media_type: &str) -> &str {
    media_type.split(';').next().unwrap_or_default().trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ICECAST: &str = "HTTP/1.0 200 OK\r\nServer: Icecast 2.4.4\r\nConnection: Close\r\n\
        Date: Wed, 01 Jan 2020 00:00:00 GMT\r\nContent-Type: audio/mpeg\r\nCache-Control: no-cache, no-store\r\n\
        Expires: Mon, 26 Jul 1997 05:00:00 GMT\r\nPragma: no-cache\r\nicy-br:128\r\nicy-name:Caf\u{e9}\r\n\
        icy-pub:0\r\nicy-metaint:8192\r\n\r\n";

    #[test]
    fn icecasts_fields_stay_as_they_are_and_titles_are_announced_to_who_asked() {
        let head = StreamHead::of(ICECAST.as_bytes());
        assert_eq!((head.content_type.as_str(), head.metaint), ("audio/mpeg", Some(8_192)));
        for (titles, tail) in [(true, "icy-metaint:16000\r\n\r\n"), (false, "\r\n")] {
            let text = head.to_bytes(titles, "Thu, 02 Jan 2020 00:00:00 GMT");
            let text = String::from_utf8(text).expect("text");
            let want = ICECAST
                .replace("Date: Wed, 01 Jan 2020 00:00:00 GMT\r\n", "")
                .replace("icy-metaint:8192\r\n\r\n", "Date: Thu, 02 Jan 2020 00:00:00 GMT\r\n");
            assert_eq!(text, format!("{want}{tail}"));
        }
    }

    #[test]
    fn streams_are_alike_whatever_the_case_and_parameters_of_their_types() {
        let of = |line: &str| StreamHead::of(format!("HTTP/1.0 200 OK\r\n{line}\r\n").as_bytes());
        let ogg = of("Content-Type: application/ogg; codecs=vorbis\r\n");
        assert!(ogg.is_like(&of("content-type:Application/Ogg\r\n")));
        assert!(!ogg.is_like(&of("Content-Type: audio/aac\r\n")));
        assert!(of("").is_like(&of("Content-Type: audio/mpeg\r\n")), "Icecast's own guess");
        assert!(!ogg.has_titles());
    }
}
