//! Notes which process is our child, so that a daemon that comes after a killed one does not start a second.
//!
//! A process id alone could be a stranger's by then: the note holds the command line too, and a process counts as our
//! child only while `/proc/<pid>/cmdline` says the same.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A process, and the command line it was started with (arguments joined by NUL, the program first).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Note {
    /// Process id.
    pub(super) pid: i32,
    command: Vec<u8>,
}

impl Note {
    /// A note about a process that was just started.
    pub(super) fn new<'a>(
        pid: i32,
        program: &'a Path,
        args: impl Iterator<Item = &'a OsStr>,
    ) -> Self {
        let words: Vec<&[u8]> =
            std::iter::once(program.as_os_str()).chain(args).map(OsStrExt::as_bytes).collect();
        Self { pid, command: words.join(&0) }
    }

    /// Reads a note; `None` when there is none, or none that can be understood.
    pub(super) fn read(file: &Path) -> Option<Self> {
        Self::parse(&std::fs::read(file).ok()?)
    }

    /// Writes the note: process id, newline, command line.
    pub(super) fn write(&self, file: &Path) -> io::Result<()> {
        let mut bytes = format!("{}\n", self.pid).into_bytes();
        bytes.extend_from_slice(&self.command);
        std::fs::write(file, bytes)
    }

    /// Whether the noted process still runs and still is what the note says.
    pub(super) fn lives(&self) -> bool {
        // A process that ended and waits to be reaped has an empty command line, and so counts as gone.
        std::fs::read(format!("/proc/{}/cmdline", self.pid))
            .is_ok_and(|running| running.strip_suffix(&[0]) == Some(&self.command[..]))
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let pid: i32 = std::str::from_utf8(&bytes[..end]).ok()?.parse().ok()?;
        // Process 1 is nobody's child to end; zero and below would address groups.
        (pid > 1).then(|| Self { pid, command: bytes[end + 1..].to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_reads_back_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x.pid");
        let args = ["--a b", "line\nbreak"].map(OsStr::new);
        let note = Note::new(77, Path::new("/bin/x"), args.into_iter());
        note.write(&file).unwrap();
        assert_eq!(Note::read(&file), Some(note));
    }

    #[test]
    fn notes_that_name_no_process_are_not_believed() {
        for bytes in ["", "\n", "12", "x\n/bin/x", "0\n/bin/x", "1\n/sbin/init", "-5\n/bin/x"] {
            assert_eq!(Note::parse(bytes.as_bytes()), None, "{bytes:?}");
        }
    }

    #[test]
    fn a_stranger_with_the_childs_process_id_is_not_the_child() {
        let me = i32::try_from(std::process::id()).unwrap();
        let stranger = Note::new(me, Path::new("/usr/bin/etcd"), std::iter::empty());
        assert!(!stranger.lives());
    }
}
