//! What a host's programs have read from their connections, by `ss`.

use std::collections::BTreeMap;

use autoradio_lab::Host;

/// A connection of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    /// Its own end, which tells it from any other.
    pub(crate) local: String,
    /// The other end.
    pub(crate) peer: String,
    /// Bytes that have come.
    pub(crate) received: u64,
    /// Of these, what the program has read; the kernel may hold more for it.
    pub(crate) read: u64,
}

/// By program, its connection to a node's front; the busiest if it has several.
pub(crate) fn readings(host: &Host) -> BTreeMap<String, Reading> {
    let text = host.run("ss", &["-tinpHO", "state", "established"]).expect("ss answers");
    let mut readings = BTreeMap::<String, Reading>::new();
    for (program, reading) in text.lines().filter_map(parse) {
        let known = readings.entry(program).or_insert_with(|| reading.clone());
        if known.received < reading.received {
            *known = reading;
        }
    }
    readings
}

impl Reading {
    /// Whether this is the same connection as `before`, and so many bytes more have come and been read.
    pub(crate) fn goes_on(&self, before: &Self, bytes: u64) -> bool {
        self.local == before.local
            && self.received >= before.received + bytes
            && self.read >= before.read + bytes
    }
}

/// `Recv-Q Send-Q local:port peer:port users:(("program",pid=1,fd=3)) … bytes_received:1 …`
fn parse(line: &str) -> Option<(String, Reading)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [unread, _, local, peer, users, ..] = words[..] else { return None };
    let program = users.strip_prefix("users:((\"")?.split('"').next()?;
    let received = words.iter().find_map(|word| word.strip_prefix("bytes_received:"))?;
    let received: u64 = received.parse().ok()?;
    let read = received.saturating_sub(unread.parse().ok()?);
    let reading = Reading { local: local.to_owned(), peer: peer.to_owned(), received, read };
    peer.ends_with(":80").then(|| (program.to_owned(), reading))
}
