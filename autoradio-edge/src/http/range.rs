//! Ranges of a stream, which has none. Pure.
//!
//! Apple's players ask for two bytes first, and play only what answers 206. But who got a 206 asks for no titles any more, so a request for a
//! range is answered 200 as if nothing had been asked, unless the mount says otherwise. The form is that of Icecast-KH: the stream is
//! as long as a 32-bit number can say.

use super::RequestHead;

/// Length that a stream says it has, in bytes.
const LENGTH: u64 = (1 << 30) - 1;

/// The part of a stream that is answered with 206.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamRange {
    first: u64,
    last: u64,
}

impl StreamRange {
    /// What `head` asks for, if it is one range of bytes that a stream can have (RFC 9110 §14.1.2).
    pub fn of(head: &RequestHead) -> Option<Self> {
        let (first, last) = head.field_text("Range")?.strip_prefix("bytes=")?.split_once('-')?;
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
    use super::super::testing::head_of;
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
            let got =
                StreamRange::of(&head_of(&format!("GET /m HTTP/1.1\r\nRange: {range}\r\n\r\n")));
            assert_eq!(got.map(|got| (got.first, got.last)), want, "{range}");
            assert_eq!(got.and_then(StreamRange::bytes), bytes, "{range}");
        }
        assert_eq!(StreamRange::of(&head_of("GET /m HTTP/1.1\r\n\r\n")), None);
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
