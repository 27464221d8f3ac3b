//! Knot DNS: as many workers as it has cores, nothing written back, no rate limit (it has none by default). Pure.

use std::net::Ipv4Addr;
use std::path::Path;

use super::peer::Peer;
use super::zone;

pub(super) fn peer(folder: &Path, address: Ipv4Addr, workers: usize) -> Peer {
    let config = folder.join("knot.conf").display().to_string();
    Peer {
        program: "knotd",
        args: vec!["--config".to_owned(), config],
        files: vec![
            ("knot.conf", settings(folder, address, workers)),
            ("zone.txt", zone::master_file()),
        ],
    }
}

fn settings(folder: &Path, address: Ipv4Addr, workers: usize) -> String {
    let (folder, name) = (folder.display(), zone::NAME);
    format!(
        "server:\n    \
             rundir: {folder}\n    \
             listen: {address}@53\n    \
             udp-workers: {workers}\n    \
             tcp-workers: 1\n    \
             background-workers: 1\n\
         database:\n    \
             storage: {folder}\n\
         log:\n  \
           - target: stderr\n    \
             any: warning\n\
         zone:\n  \
           - domain: {name}\n    \
             storage: {folder}\n    \
             file: zone.txt\n    \
             zonefile-sync: -1\n    \
             journal-content: none\n"
    )
}
