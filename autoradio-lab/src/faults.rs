//! What goes wrong: processes that die or hang, wires that are cut.
//!
//! Only processes inside a lab's own namespaces are ever signalled, each by its id.

use std::fs;
use std::ops::RangeInclusive;
use std::time::Duration;

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

use crate::host::Host;
use crate::topology::INTERFACE;
use crate::{LabError, clock, netns};

/// A hardware address that no host has: frames to it reach everyone and are taken by none.
const NOBODY: &str = "02:00:00:00:00:ff";

/// A routing table whose every way leads to [`NOBODY`]: by family, its network and its gateway.
const DEAD_TABLE: &str = "100";
const DEAD_ENDS: [(&str, [&str; 2]); 2] = [
    ("-4", ["198.18.0.0/15", "198.19.255.254"]),
    ("-6", ["fd72:6164:696f::/64", "fd72:6164:696f::ffff:ffff"]),
];

/// Bytes of a process name that the kernel keeps.
const PROCESS_NAME_BYTES_MAX: usize = 15;

/// Kills the host's processes of this name. Returns how many there were.
pub fn kill(host: &Host, process: &str) -> Result<usize, LabError> {
    signal(host, process, Signal::SIGKILL)
}

/// Kills all that runs on the host, as a power cut would; its files stay.
pub fn kill_everything(host: &Host, limit: Duration) -> Result<(), LabError> {
    kill_all(host.namespace(), limit)
}

/// Stops everything that runs on the host: it hangs, its sockets stay open, its kernel goes on.
pub fn stop_everything(host: &Host) {
    send(&netns::process_ids(host.namespace()), Signal::SIGSTOP);
}

/// Lets everything on the host go on.
pub fn cont_everything(host: &Host) {
    send(&netns::process_ids(host.namespace()), Signal::SIGCONT);
}

/// Stops the host's processes of this name: they hang, their sockets stay open.
pub fn stop(host: &Host, process: &str) -> Result<usize, LabError> {
    signal(host, process, Signal::SIGSTOP)
}

/// Lets stopped processes of this name go on.
pub fn cont(host: &Host, process: &str) -> Result<usize, LabError> {
    signal(host, process, Signal::SIGCONT)
}

/// Cuts the host's wire, on the bridge's side.
pub fn cut(host: &Host) -> Result<(), LabError> {
    netns::ip(host.bridge(), &["link", "set", host.name(), "down"])
}

/// Mends the host's wire.
pub fn heal(host: &Host) -> Result<(), LabError> {
    netns::ip(host.bridge(), &["link", "set", host.name(), "up"])
}

/// Parts each host in `left` from each in `right`, both ways: what they send each other is lost
/// without a word. Everyone else still reaches all of them.
pub fn partition(left: &[&Host], right: &[&Host]) -> Result<(), LabError> {
    each_way(left, right, |from, to| {
        for address in addresses(to) {
            let nobody = ["lladdr", NOBODY, "nud", "permanent", "dev", INTERFACE];
            let words = ["neighbour", "replace", &address];
            netns::ip(from.namespace(), &[words.as_slice(), &nobody].concat())?;
        }
        Ok(())
    })
}

/// Undoes [`partition`].
pub fn reunite(left: &[&Host], right: &[&Host]) -> Result<(), LabError> {
    each_way(left, right, |from, to| {
        for address in addresses(to) {
            netns::ip(from.namespace(), &["neighbour", "del", &address, "dev", INTERFACE])?;
        }
        Ok(())
    })
}

/// Loses without a word all that the host sends to or from these TCP ports of any host but itself.
/// Everything else still works.
pub fn cut_ports(host: &Host, ports: RangeInclusive<u16>) -> Result<(), LabError> {
    let namespace = host.namespace();
    for (family, [network, gateway]) in DEAD_ENDS {
        let to_nobody = ["lladdr", NOBODY, "nud", "permanent", "dev", INTERFACE];
        let neighbour = ["neighbour", "replace", gateway];
        netns::ip(namespace, &[neighbour.as_slice(), &to_nobody].concat())?;
        let route = ["route", "replace", network, "via", gateway, "dev", INTERFACE];
        let table = ["onlink", "table", DEAD_TABLE];
        netns::ip(namespace, &[[family].as_slice(), &route, &table].concat())?;
    }
    port_rules(host, "add", &ports)
}

/// Undoes [`cut_ports`].
pub fn mend_ports(host: &Host, ports: RangeInclusive<u16>) -> Result<(), LabError> {
    port_rules(host, "del", &ports)
}

fn port_rules(host: &Host, verb: &str, ports: &RangeInclusive<u16>) -> Result<(), LabError> {
    let range = format!("{}-{}", ports.start(), ports.end());
    for (family, _) in DEAD_ENDS {
        for end in ["sport", "dport"] {
            let rule = ["rule", verb, "ipproto", "tcp", end, &range, "lookup", DEAD_TABLE];
            netns::ip(host.namespace(), &[[family].as_slice(), &rule].concat())?;
        }
    }
    Ok(())
}

fn each_way(
    left: &[&Host],
    right: &[&Host],
    mut work: impl FnMut(&Host, &Host) -> Result<(), LabError>,
) -> Result<(), LabError> {
    for (one, other) in left.iter().flat_map(|one| right.iter().map(move |other| (one, other))) {
        work(one, other)?;
        work(other, one)?;
    }
    Ok(())
}

fn addresses(host: &Host) -> [String; 2] {
    [host.v4().to_string(), host.v6().to_string()]
}

/// Signals the host's processes of this name. Returns how many; none is an error.
pub fn signal(host: &Host, process: &str, signal: Signal) -> Result<usize, LabError> {
    let found = find(host, process);
    if found.is_empty() {
        let (host, process) = (host.name().to_owned(), process.to_owned());
        return Err(LabError::Process { host, process });
    }
    send(&found, signal);
    Ok(found.len())
}

/// Ids of the host's processes of this name.
pub fn find(host: &Host, process: &str) -> Vec<i32> {
    let mut ids = netns::process_ids(host.namespace());
    ids.retain(|id| {
        let name = fs::read_to_string(format!("/proc/{id}/comm"));
        name.is_ok_and(|name| is_called(name.trim_end(), process))
    });
    ids
}

/// The kernel's letter for what a process does, such as `T` for stopped and `Z` for one that has
/// ended and not been waited for; `None` if there is no such process.
pub fn state(process_id: u32) -> Option<char> {
    state_in(&fs::read_to_string(format!("/proc/{process_id}/stat")).ok()?)
}

/// Whether a process is there and has not ended.
pub fn lives(process_id: u32) -> bool {
    state(process_id).is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

/// Source: proc(5). The name before the letter is in parentheses, and may hold some itself.
fn state_in(stat: &str) -> Option<char> {
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Whether the kernel's name of a process, which may be cut, is that of `process`.
fn is_called(kernel_name: &str, process: &str) -> bool {
    let cut = kernel_name.len() == PROCESS_NAME_BYTES_MAX && process.starts_with(kernel_name);
    kernel_name == process || cut
}

/// Kills every process in a namespace, until none is left.
pub(crate) fn kill_all(namespace: &str, limit: Duration) -> Result<(), LabError> {
    let what = format!("the processes of {namespace} end");
    // Again and again: a supervisor may start a child between our look and our signal.
    clock::wait_uninterrupted(&what, limit, || {
        let ids = netns::process_ids(namespace);
        send(&ids, Signal::SIGKILL);
        ids.is_empty()
    })
}

fn send(ids: &[i32], what: Signal) {
    for id in ids {
        // A process that has just ended is as good as one that got the signal.
        signal::kill(Pid::from_raw(*id), what).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_state_is_read_past_any_name() {
        assert_eq!(state_in("7 (sleep) T 1 7 7 0 -1"), Some('T'));
        assert_eq!(state_in("7 (a) R (b) Z 1 7 7 0 -1"), Some('Z'));
        assert_eq!(state_in(""), None);
    }

    #[test]
    fn a_process_is_found_by_its_whole_name_even_if_the_kernel_cut_it() {
        for (why, kernel_name, process, want) in [
            ("same", "icecast2", "icecast2", true),
            ("only a beginning", "etcd", "etcdctl", false),
            ("cut by the kernel", "a-very-long-pro", "a-very-long-program", true),
        ] {
            assert_eq!(is_called(kernel_name, process), want, "{why}");
        }
    }
}
