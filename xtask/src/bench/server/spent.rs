//! What programs and their children have spent, and what memory they hold: from `/proc` (proc(5)).

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result};

/// Length of a tick in `/proc/PID/stat`, in seconds (`USER_HZ` is 100).
const TICK_S: f64 = 0.01;
const PAGE_BYTES: u64 = 4_096;

/// At one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::bench) struct Spent {
    /// User and system time, in ticks.
    ticks: u64,
    /// Resident memory, in bytes, of the processes and those of their children that are the same program.
    pub(in crate::bench) rss_bytes: u64,
    /// What the kernel holds for TCP sockets, of the whole machine, in bytes.
    pub(in crate::bench) socket_bytes: u64,
}

impl Spent {
    /// Of these processes and all that descend from them.
    pub(super) fn of(roots: &[u32]) -> Result<Self> {
        let processes = processes()?;
        let names: Vec<&str> =
            roots.iter().filter_map(|id| Some(processes.get(id)?.name.as_str())).collect();
        let mut spent = Self { socket_bytes: socket_bytes()?, ..Self::default() };
        for (id, process) in &processes {
            if descends(*id, roots, &processes) {
                spent.ticks += process.ticks;
                if names.contains(&process.name.as_str()) {
                    spent.rss_bytes += rss_bytes(*id);
                }
            }
        }
        Ok(spent)
    }

    /// Seconds of CPU since an earlier look.
    pub(in crate::bench) fn cpu_s_since(self, earlier: Self) -> f64 {
        let ticks = self.ticks.saturating_sub(earlier.ticks);
        u32::try_from(ticks).map_or(f64::MAX, f64::from) * TICK_S
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Process {
    name: String,
    parent: u32,
    ticks: u64,
}

fn processes() -> Result<BTreeMap<u32, Process>> {
    let entries = fs::read_dir("/proc").context("reading /proc")?.flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    // One that ends meanwhile is none of the servers.
    let process = |id| Some((id, parse(&fs::read_to_string(format!("/proc/{id}/stat")).ok()?)?));
    Ok(ids.filter_map(process).collect())
}

/// After the name in brackets: state, parent, …, user time (14), system time (15).
fn parse(stat: &str) -> Option<Process> {
    let (before, after_name) = stat.rsplit_once(')')?;
    let (_, name) = before.split_once('(')?;
    let words: Vec<&str> = after_name.split_whitespace().collect();
    let number = |field: usize| words.get(field - 3)?.parse::<u64>().ok();
    Some(Process {
        name: name.to_owned(),
        parent: words.get(1)?.parse().ok()?,
        ticks: number(14)? + number(15)?,
    })
}

/// Counted page by page: what `stat` says lags behind by up to 64 pages for each core. 0 for one that has ended.
fn rss_bytes(id: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{id}/smaps_rollup")).unwrap_or_default();
    rss_kib(&text).unwrap_or_default() * 1_024
}

/// The line `Rss:  1234 kB`.
fn rss_kib(rollup: &str) -> Option<u64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

fn descends(id: u32, roots: &[u32], processes: &BTreeMap<u32, Process>) -> bool {
    let parent = |id: &u32| processes.get(id).map(|process| process.parent).filter(|id| *id != 0);
    std::iter::successors(Some(id), parent).any(|id| roots.contains(&id))
}

fn socket_bytes() -> Result<u64> {
    let text = fs::read_to_string("/proc/net/sockstat").context("reading /proc/net/sockstat")?;
    tcp_pages(&text).map(|pages| pages * PAGE_BYTES).context("sockstat is not as known")
}

/// `TCP: inuse 8 orphan 0 tw 0 alloc 9 mem 2`, the last in pages.
fn tcp_pages(sockstat: &str) -> Option<u64> {
    let line = sockstat.lines().find(|line| line.starts_with("TCP:"))?;
    line.rsplit_once("mem ")?.1.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_a_strange_name_is_read() {
        let stat = "7 (a) b) S 3 7 7 0 -1 4194560 900 0 0 0 120 34 5 6 20 0 3 0 100 9000000 250 18";
        let name = "a) b".to_owned();
        let want = Process { name, parent: 3, ticks: 154 };
        assert_eq!(parse(stat), Some(want));
        assert_eq!(parse("7 (a) S 3"), None);
    }

    #[test]
    fn children_of_children_count_and_others_do_not() {
        let process = |parent| Process { name: String::new(), parent, ticks: 1 };
        let all =
            BTreeMap::from([(1, process(0)), (2, process(1)), (3, process(2)), (4, process(1))]);
        let of_two: Vec<u32> = all.keys().copied().filter(|id| descends(*id, &[2], &all)).collect();
        assert_eq!(of_two, [2, 3]);
    }

    #[test]
    fn resident_memory_is_told_in_kib() {
        let text =
            "00400000-7ffd [rollup]\nRss:               42304 kB\nPss:               40000 kB\n";
        assert_eq!(rss_kib(text), Some(42_304));
    }

    #[test]
    fn the_kernels_memory_is_told_in_pages() {
        let text =
            "sockets: used 200\nTCP: inuse 8 orphan 0 tw 0 alloc 9 mem 21\nUDP: inuse 1 mem 3\n";
        assert_eq!(tcp_pages(text), Some(21));
    }
}
