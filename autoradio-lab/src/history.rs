//! Who accepted which source in which epoch, read from daemons' logs. Pure.

use std::collections::{BTreeMap, BTreeSet};

/// One source that a master's node let in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Accept {
    /// When, as the log writes it: moments of one machine compare as texts.
    pub at: String,
    /// The mount.
    pub mount: String,
    /// Since which revision that node is its master, as it believed.
    pub epoch: i64,
    /// The node.
    pub node: String,
}

/// The words of the line that a daemon writes when it lets a source in.
const WORDS: &str = "source accepted";

/// All accepts in a daemon's log, in its order.
pub fn accepts(log: &str) -> Vec<Accept> {
    log.lines().filter(|line| line.contains(WORDS)).filter_map(accept).collect()
}

/// Mounts and epochs in which more than one node accepted a source, with these nodes. There must be
/// none: an epoch has one master.
pub fn shared_epochs(accepts: &[Accept]) -> Vec<(String, i64, Vec<String>)> {
    let mut nodes: BTreeMap<(&str, i64), BTreeSet<&str>> = BTreeMap::new();
    for accept in accepts {
        nodes.entry((&accept.mount, accept.epoch)).or_default().insert(&accept.node);
    }
    let shared = nodes.into_iter().filter(|(_, nodes)| nodes.len() > 1);
    shared
        .map(|((mount, epoch), nodes)| {
            (mount.to_owned(), epoch, nodes.into_iter().map(str::to_owned).collect())
        })
        .collect()
}

/// Accepts in an epoch after another node had accepted in a newer one. There must be none while every node can know of
/// the newer epoch: a master that was overtaken takes no source.
pub fn overtaken(accepts: &[Accept]) -> Vec<Accept> {
    let mut in_time: Vec<&Accept> = accepts.iter().collect();
    in_time.sort_by_key(|accept| &accept.at);
    let mut newest: BTreeMap<&str, i64> = BTreeMap::new();
    let mut late = Vec::new();
    for accept in in_time {
        let newest = newest.entry(&accept.mount).or_insert(accept.epoch);
        *newest = accept.epoch.max(*newest);
        if accept.epoch < *newest {
            late.push(accept.clone());
        }
    }
    late
}

fn accept(line: &str) -> Option<Accept> {
    let line = plain(line);
    let field = |name: &str| {
        let (_, rest) = line.split_once(&format!(" {name}="))?;
        Some(rest.split_whitespace().next()?.trim_matches('"').to_owned())
    };
    Some(Accept {
        at: line.split_whitespace().next()?.to_owned(),
        mount: field("mount")?,
        epoch: field("epoch")?.parse().ok()?,
        node: field("node")?,
    })
}

/// A line without the codes that colour it.
fn plain(line: &str) -> String {
    let mut parts = line.split('\u{1b}');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once('m').map_or(part, |(_, rest)| rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
2026-01-01T00:00:00Z  INFO autoradio_edge: serving node=node1
2026-01-01T00:00:01Z  INFO autoradio_edge::http: source accepted mount=/live.mp3 epoch=12 node=node1 user=\"a b\"
\u{1b}[2m2026-01-01T00:00:02Z\u{1b}[0m \u{1b}[32m INFO\u{1b}[0m source accepted \u{1b}[3mmount\u{1b}[0m\u{1b}[2m=\u{1b}[0m/live.mp3 \u{1b}[3mepoch\u{1b}[0m=13 node=node2
";

    fn accept_of(at: &str, epoch: i64, node: &str) -> Accept {
        let (at, mount) = (at.to_owned(), "/live.mp3".to_owned());
        Accept { at, mount, epoch, node: node.to_owned() }
    }

    #[test]
    fn accepts_are_read_with_and_without_colours() {
        let want = [
            accept_of("2026-01-01T00:00:01Z", 12, "node1"),
            accept_of("2026-01-01T00:00:02Z", 13, "node2"),
        ];
        assert_eq!(accepts(LOG), want);
    }

    #[test]
    fn an_epoch_of_two_masters_is_found() {
        let good =
            [accept_of("1", 1, "node1"), accept_of("2", 1, "node1"), accept_of("3", 2, "node2")];
        assert_eq!(shared_epochs(&good), []);
        let bad = [good.as_slice(), &[accept_of("4", 2, "node3")]].concat();
        let nodes = vec!["node2".to_owned(), "node3".to_owned()];
        assert_eq!(shared_epochs(&bad), [("/live.mp3".to_owned(), 2, nodes)]);
    }

    #[test]
    fn an_accept_of_an_overtaken_master_is_found_in_whatever_order_logs_are_read() {
        let late = accept_of("3", 1, "node1");
        let good = [accept_of("2", 2, "node2"), accept_of("1", 1, "node1")];
        assert_eq!(overtaken(&good), []);
        assert_eq!(overtaken(&[good.as_slice(), std::slice::from_ref(&late)].concat()), [late]);
    }
}
