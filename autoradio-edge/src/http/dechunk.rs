//! Bodies of sources, from bytes on the wire to audio: chunked (RFC 9112 §7.1), counted, or until the client closes. Pure.

use autoradio_common::limits::HTTP_CHUNK_LINE_BYTES_MAX;

use super::{FrontError, RequestHead};

/// Most hexadecimal digits of a chunk size: larger sizes would not fit a `u64`.
const SIZE_DIGITS_MAX: u8 = 15;

/// Takes a body apart as its bytes come, whatever pieces they come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Audio until the client closes.
    UntilClose,
    /// So many bytes more.
    Counted(u64),
    /// Chunks.
    Chunked(Dechunker),
}

impl Body {
    /// What the fields of `head` say about the body that follows.
    ///
    /// `Content-Length` counts with PUT and POST only: with SOURCE, which is no HTTP method, libshout sends 0 and streams.
    /// Chunked wins over a length (RFC 9112 §6.3).
    pub fn of(head: &RequestHead) -> Result<Self, FrontError> {
        if head.lists("Transfer-Encoding", "chunked") {
            return Ok(Self::Chunked(Dechunker::default()));
        }
        if head.method == "SOURCE" || head.field("Content-Length").is_none() {
            return Ok(Self::UntilClose);
        }
        head.field_text("Content-Length")
            .and_then(|text| text.parse().ok())
            .map(Self::Counted)
            .ok_or(FrontError::LengthMalformed)
    }

    /// Appends the audio in `input` to `audio`. Bytes past the end of the body are dropped.
    pub fn push(&mut self, input: &[u8], audio: &mut Vec<u8>) -> Result<(), FrontError> {
        match self {
            Self::UntilClose => audio.extend_from_slice(input),
            Self::Counted(left) => {
                let take = usize::try_from(*left).map_or(input.len(), |left| left.min(input.len()));
                audio.extend_from_slice(&input[..take]);
                *left -= take as u64;
            }
            Self::Chunked(dechunker) => dechunker.push(input, audio)?,
        }
        Ok(())
    }

    /// Whether the body has said that it is over.
    pub fn ended(&self) -> bool {
        match self {
            Self::UntilClose => false,
            Self::Counted(left) => *left == 0,
            Self::Chunked(dechunker) => dechunker.state == State::End,
        }
    }
}

/// Incremental decoder of chunked bodies. Extensions and trailers are read over; a bare LF ends a line too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dechunker {
    state: State,
    /// Bytes of extension or trailer since the last limit check.
    line_bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In the digits of a chunk size.
    Size { value: u64, digits: u8 },
    /// In an extension, up to the end of its line.
    Extension { value: u64 },
    /// In a chunk.
    Data { left: u64 },
    /// Between a chunk and the next size.
    DataEnd,
    /// In the trailer; `empty` while the current line has no byte.
    Trailer { empty: bool },
    /// Past the last line.
    End,
}

impl Default for State {
    fn default() -> Self {
        Self::Size { value: 0, digits: 0 }
    }
}

impl Dechunker {
    fn push(&mut self, mut input: &[u8], audio: &mut Vec<u8>) -> Result<(), FrontError> {
        while let Some((&byte, rest)) = input.split_first() {
            if let State::Data { left } = self.state {
                let take = usize::try_from(left).map_or(input.len(), |left| left.min(input.len()));
                audio.extend_from_slice(&input[..take]);
                input = &input[take..];
                self.state = match left - take as u64 {
                    0 => State::DataEnd,
                    left => State::Data { left },
                };
                continue;
            }
            self.state = self.after(byte)?;
            input = rest;
        }
        Ok(())
    }

    /// The state after one byte outside of chunks.
    fn after(&mut self, byte: u8) -> Result<State, FrontError> {
        match (self.state, byte) {
            (State::Size { value, digits }, _) if byte.is_ascii_hexdigit() => {
                let digit = char::from(byte).to_digit(16).map_or(0, u64::from);
                if digits == SIZE_DIGITS_MAX {
                    return Err(FrontError::ChunkMalformed);
                }
                Ok(State::Size { value: value << 4 | digit, digits: digits + 1 })
            }
            (State::Size { digits: 0, .. }, _) => Err(FrontError::ChunkMalformed),
            (State::Size { value, .. } | State::Extension { value }, b'\n') => {
                self.line_bytes = 0;
                Ok(match value {
                    0 => State::Trailer { empty: true },
                    left => State::Data { left },
                })
            }
            (State::Size { value, .. }, b'\r' | b';' | b' ' | b'\t')
            | (State::Extension { value }, _) => {
                self.count_line_byte()?;
                Ok(State::Extension { value })
            }
            (State::DataEnd, b'\r') => Ok(State::DataEnd),
            (State::DataEnd, b'\n') => Ok(State::default()),
            (State::Trailer { empty: true }, b'\n') | (State::End, _) => Ok(State::End),
            (State::Trailer { empty }, _) => {
                self.count_line_byte()?;
                let empty = byte == b'\n' || (empty && byte == b'\r');
                Ok(State::Trailer { empty })
            }
            _ => Err(FrontError::ChunkMalformed),
        }
    }

    fn count_line_byte(&mut self) -> Result<(), FrontError> {
        self.line_bytes += 1;
        if self.line_bytes > HTTP_CHUNK_LINE_BYTES_MAX {
            return Err(FrontError::ChunkMalformed);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn dechunk(pieces: &[&[u8]]) -> Result<(Vec<u8>, bool), FrontError> {
        let mut body = Body::Chunked(Dechunker::default());
        let mut audio = Vec::new();
        for piece in pieces {
            body.push(piece, &mut audio)?;
        }
        Ok((audio, body.ended()))
    }

    #[test]
    fn chunks_become_the_bytes_they_carry() {
        for (why, input, want, ended) in [
            ("one chunk", "5\r\nhello\r\n", "hello", false),
            ("two and the end", "2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", "abc", true),
            ("upper case hex", "A\r\n0123456789\r\n", "0123456789", false),
            ("extension", "3;a=\"b\"\r\nabc\r\n0\r\n\r\n", "abc", true),
            ("trailer", "1\r\na\r\n0\r\nx: y\r\nz: w\r\n\r\n", "a", true),
            ("bare line feeds", "1\na\n0\n\n", "a", true),
            ("bytes after the end", "1\r\na\r\n0\r\n\r\nGET /", "a", true),
            ("a chunk that looks like a size", "4\r\n5\r\n\n\r\n", "5\r\n\n", false),
        ] {
            let got = dechunk(&[input.as_bytes()]).expect(why);
            assert_eq!(got, (want.as_bytes().to_vec(), ended), "{why}");
        }
    }

    #[test]
    fn bodies_that_break_the_chunk_form_are_refused() {
        let long_extension = format!("1;{}\r\n", "x".repeat(HTTP_CHUNK_LINE_BYTES_MAX));
        let long_trailer = format!("0\r\n{}", "x: y\r\n".repeat(HTTP_CHUNK_LINE_BYTES_MAX));
        for (why, input) in [
            ("no digit", "\r\n"),
            ("not hex", "xyz\r\n"),
            ("a negative size", "-1\r\n"),
            ("size over 60 bits", "1000000000000000\r\n"),
            ("no line end after a chunk", "1\r\nab"),
            ("endless extension", long_extension.as_str()),
            ("endless trailer", long_trailer.as_str()),
        ] {
            let got = dechunk(&[input.as_bytes()]);
            assert!(matches!(got, Err(FrontError::ChunkMalformed)), "{why}");
        }
    }

    #[test]
    fn the_head_says_how_the_body_ends() {
        for (why, text, want) in [
            ("ffmpeg's PUT", "PUT /m HTTP/1.1\r\nExpect: 100-continue\r\n\r\n", Body::UntilClose),
            ("a file", "PUT /m HTTP/1.1\r\nContent-Length: 10\r\n\r\n", Body::Counted(10)),
            (
                "libshout's SOURCE",
                "SOURCE /m HTTP/1.0\r\nContent-Length: 0\r\n\r\n",
                Body::UntilClose,
            ),
            (
                "both, chunked wins",
                "PUT /m HTTP/1.1\r\nContent-Length: 10\r\nTransfer-Encoding: chunked\r\n\r\n",
                Body::Chunked(Dechunker::default()),
            ),
        ] {
            let head = RequestHead::parse(text.as_bytes()).expect(why).expect(why);
            assert_eq!(Body::of(&head).expect(why), want, "{why}");
        }
        let text = b"PUT /m HTTP/1.1\r\nContent-Length: -1\r\n\r\n";
        let head = RequestHead::parse(text).expect("head").expect("complete");
        assert!(matches!(Body::of(&head), Err(FrontError::LengthMalformed)));
    }

    #[test]
    fn a_counted_body_ends_at_its_count() {
        let (mut body, mut audio) = (Body::Counted(4), Vec::new());
        body.push(b"abc", &mut audio).expect("fits");
        assert!(!body.ended());
        body.push(b"def", &mut audio).expect("fits");
        assert!(body.ended());
        assert_eq!(audio, b"abcd");
    }

    proptest! {
        #[test]
        fn any_split_of_any_chunks_gives_the_same_audio(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..8),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let mut wire = Vec::new();
            for chunk in &chunks {
                wire.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
                wire.extend(chunk);
                wire.extend(b"\r\n");
            }
            wire.extend(b"0\r\n\r\n");
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(wire.len())).collect();
            cuts.extend([0, wire.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|w| &wire[w[0]..w[1]]).collect();
            let (audio, ended) = dechunk(&pieces).expect("valid");
            prop_assert_eq!(audio, chunks.concat());
            prop_assert!(ended);
        }

        #[test]
        fn no_bytes_make_it_panic(input in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = dechunk(&[&input]);
        }
    }
}
