//! Carries what a child writes into our log, line by line.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use autoradio_common::limits::CHILD_LOG_LINE_BYTES_MAX;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, BufReader};
use tracing::{debug, warn};

/// Marks of a line that the operator should see: Icecast's, etcd's and liquidsoap's words for trouble.
const MARKS_OF_TROUBLE: [&str; 8] = [
    " WARN ",
    " EROR ",
    "ERROR",
    "\"level\":\"warn\"",
    "\"level\":\"error\"",
    "\"level\":\"fatal\"",
    "\"level\":\"panic\"",
    "panic:",
];

/// Lines of a child that are remembered: enough for what etcd says on its way out.
const LINES_KEPT: usize = 100;

/// The newest lines of a child: what it said before it ended.
#[derive(Clone, Debug, Default)]
pub(super) struct LastLines(Arc<Mutex<VecDeque<String>>>);

impl LastLines {
    /// The newest line, empty if there was none.
    pub(super) fn newest(&self) -> String {
        self.lines().back().cloned().unwrap_or_default()
    }

    /// Whether one of the lines has these words.
    pub(super) fn contain(&self, words: &str) -> bool {
        self.lines().iter().any(|line| line.contains(words))
    }

    fn add(&self, line: String) {
        let mut lines = self.lines();
        if lines.len() == LINES_KEPT {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    fn lines(&self) -> MutexGuard<'_, VecDeque<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Logs every line of `output` until it ends. Lines of trouble are warnings, all others are for debugging.
pub(super) async fn carry(child: &'static str, output: impl AsyncRead + Unpin, last: LastLines) {
    let mut reader = BufReader::new(output);
    while let Ok(Some(line)) = next_line(&mut reader).await {
        if line.is_empty() {
            continue;
        }
        if is_trouble(&line) {
            warn!(child, "{line}");
        } else {
            debug!(child, "{line}");
        }
        last.add(line);
    }
}

fn is_trouble(line: &str) -> bool {
    MARKS_OF_TROUBLE.iter().any(|mark| line.contains(mark))
}

/// Next line without its end, cut to [`CHILD_LOG_LINE_BYTES_MAX`]; `None` at the end of the output.
async fn next_line(reader: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    loop {
        let chunk = reader.fill_buf().await?;
        if chunk.is_empty() {
            return Ok((!line.is_empty()).then(|| printable(&line)));
        }
        let end = chunk.iter().position(|byte| *byte == b'\n');
        let taken = &chunk[..end.unwrap_or(chunk.len())];
        let room = CHILD_LOG_LINE_BYTES_MAX - line.len();
        line.extend_from_slice(&taken[..taken.len().min(room)]);
        let consumed = end.map_or(chunk.len(), |end| end + 1);
        reader.consume(consumed);
        if end.is_some() {
            return Ok(Some(printable(&line)));
        }
    }
}

/// A child's bytes as text that cannot move the cursor of whoever reads the log.
fn printable(line: &[u8]) -> String {
    String::from_utf8_lossy(line).chars().filter(|character| !character.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lines(bytes: &[u8]) -> Vec<String> {
        let mut reader = BufReader::with_capacity(16, bytes);
        let mut lines = Vec::new();
        while let Some(line) = next_line(&mut reader).await.unwrap() {
            lines.push(line);
        }
        lines
    }

    #[tokio::test]
    async fn output_is_cut_into_lines_wherever_its_pieces_break() {
        for (why, bytes, want) in [
            ("nothing", &b""[..], vec![]),
            ("the last line needs no end", b"one\ntwo", vec!["one", "two"]),
            (
                "a line longer than one read",
                b"0123456789abcdefghij\n",
                vec!["0123456789abcdefghij"],
            ),
            ("empty lines stay", b"a\n\nb\n", vec!["a", "", "b"]),
            ("control characters go", b"a\x1b[31mb\r\n", vec!["a[31mb"]),
        ] {
            assert_eq!(lines(bytes).await, want, "{why}");
        }
    }

    #[tokio::test]
    async fn a_line_without_end_is_cut_and_the_next_one_is_whole() {
        let mut bytes = vec![b'x'; 3 * CHILD_LOG_LINE_BYTES_MAX];
        bytes.extend_from_slice(b"\nnext\n");
        let lines = lines(&bytes).await;
        assert_eq!(lines[0].len(), CHILD_LOG_LINE_BYTES_MAX);
        assert_eq!(lines[1], "next");
    }

    #[test]
    fn only_lines_of_trouble_are_warnings() {
        for (line, want) in [
            ("[2026-01-01  00:00:00] EROR main/_parse could not parse", true),
            ("[2026-01-01  00:00:00] INFO main/main Icecast started", false),
            (r#"{"level":"fatal","msg":"listen tcp"}"#, true),
            (r#"{"level":"info","msg":"serving"}"#, false),
        ] {
            assert_eq!(is_trouble(line), want, "{line}");
        }
    }
}
