//! Ranges of a stream, which has none. Pure.
//!
//! Apple's players ask for two bytes first, and play only what answers 206. But who got a 206 asks for no titles any more, so a request for a
//! range is answered 200 as if nothing had been asked, unless the mount says otherwise. The form is that of Icecast-KH.

/// Length that a stream says it has, in bytes.
const LENGTH: u64 = (1 << 30) - 1;

/// The part of a stream that is answered with 206.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamRange {
    first: u64,
    last: u64,
}

impl StreamRange {
    /// What a `Range` field asks for, if it is one range of bytes that a stream can have (RFC 9110 §14.1.2).
    pub fn parse(field: &str) -> Option<Self> {
        let (first, last) = field.strip_prefix("bytes=")?.split_once('-')?;
        let first: u64 = first.trim().parse().ok()?;
        let last = match last.trim() {
            "" => LENGTH - 1,
            last => last.parse::<u64>().ok()?.min(LENGTH - 1),
        };
        (first <= last).then_some(Self { first, last })
    }

    /// How many bytes answer it, `None` for a stream that goes on: nobody counts to its end.
    pub fn bytes(self) -> Option<u64> {
        (self.last < LENGTH - 1).then_some(self.last - self.first + 1)
    }

    /// The part that begins where it does and goes on.
    #[must_use]
    pub fn to_the_end(self) -> Self {
        Self { last: LENGTH - 1, ..self }
    }

    /// The part of it that begins where it does and has so many bytes, at least one: a server may send less than was asked for
    /// (RFC 9110 §15.3.7).
    #[must_use]
    pub fn of_bytes(self, bytes: usize) -> Self {
        let last = self.first.saturating_add(bytes as u64).saturating_sub(1);
        Self { last: last.clamp(self.first, self.last), ..self }
    }

    /// The head of a stream with its status line and fields for this range.
    pub fn rewrite(self, head: &[u8]) -> Vec<u8> {
        let line_end = head.iter().position(|byte| *byte == b'\n').map_or(head.len(), |at| at + 1);
        let (line, rest) = head.split_at(line_end);
        let version = line.split(|byte| *byte == b' ').next().unwrap_or(b"HTTP/1.0");
        let mut out = [version, b" 206 Partial Content\r\nAccept-Ranges: bytes\r\n"].concat();
        let Self { first, last } = self;
        out.extend(format!("Content-Range: bytes {first}-{last}/{LENGTH}\r\n").bytes());
        if let Some(bytes) = self.bytes() {
            out.extend(format!("Content-Length: {bytes}\r\n").bytes());
        }
        out.extend_from_slice(rest);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_a_stream_can_have_are_told_from_all_others() {
        for (range, want, bytes) in [
            ("bytes=0-1", Some((0, 1)), Some(2)),
            ("bytes=0-", Some((0, LENGTH - 1)), None),
            ("bytes=0-1073741822", Some((0, LENGTH - 1)), None),
            ("bytes=0-99999999999", Some((0, LENGTH - 1)), None),
            ("bytes=7-9", Some((7, 9)), Some(3)),
            ("bytes=-500", None, None),
            ("bytes=9-7", None, None),
            ("bytes=0-1,4-5", None, None),
            ("bytes=1073741823-", None, None),
            ("items=0-1", None, None),
        ] {
            let got = StreamRange::parse(range);
            assert_eq!(got.map(|got| (got.first, got.last)), want, "{range}");
            assert_eq!(got.and_then(StreamRange::bytes), bytes, "{range}");
        }
    }

    #[test]
    fn less_than_was_asked_for_is_still_a_part_of_it() {
        let asked = StreamRange { first: 7, last: 16 };
        for (bytes, last) in [(1, 7), (10, 16), (11, 16), (0, 7)] {
            assert_eq!(asked.of_bytes(bytes), StreamRange { first: 7, last }, "{bytes}");
        }
    }

    #[test]
    fn the_answer_has_the_form_of_icecast_kh_and_keeps_all_other_fields() {
        let head = b"HTTP/1.0 200 OK\r\nContent-Type: audio/mpeg\r\nicy-name:x\r\n\r\n";
        let rest = "Content-Type: audio/mpeg\r\nicy-name:x\r\n\r\n";
        let text = |range: StreamRange| String::from_utf8(range.rewrite(head)).expect("text");
        assert_eq!(
            text(StreamRange { first: 0, last: 1 }),
            format!(
                "HTTP/1.0 206 Partial Content\r\nAccept-Ranges: bytes\r\n\
                 Content-Range: bytes 0-1/1073741823\r\nContent-Length: 2\r\n{rest}"
            )
        );
        assert_eq!(
            text(StreamRange { first: 0, last: LENGTH - 1 }),
            format!(
                "HTTP/1.0 206 Partial Content\r\nAccept-Ranges: bytes\r\n\
                 Content-Range: bytes 0-1073741822/1073741823\r\n{rest}"
            )
        );
    }
}
