//! NSD: as many server processes as it has cores, each with a socket of its own; minimal answers as everybody else's, no rate limit. Pure.

use std::net::Ipv4Addr;
use std::path::Path;

use super::peer::Peer;
use super::zone;

pub(super) fn peer(folder: &Path, address: Ipv4Addr, workers: usize) -> Peer {
    let config = folder.join("nsd.conf").display().to_string();
    Peer {
        program: "nsd",
        args: ["-d", "-c", &config].map(str::to_owned).into(),
        files: vec![
            ("nsd.conf", settings(folder, address, workers)),
            ("zone.txt", zone::master_file()),
        ],
    }
}

fn settings(folder: &Path, address: Ipv4Addr, workers: usize) -> String {
    let (folder, name) = (folder.display(), zone::NAME);
    format!(
        "server:\n    \
             server-count: {workers}\n    \
             reuseport: yes\n    \
             ip-address: {address}\n    \
             port: 53\n    \
             username: \"\"\n    \
             chroot: \"\"\n    \
             database: \"\"\n    \
             zonesdir: \"{folder}\"\n    \
             pidfile: \"{folder}/nsd.pid\"\n    \
             xfrdfile: \"{folder}/xfrd.state\"\n    \
             zonelistfile: \"{folder}/zone.list\"\n    \
             minimal-responses: yes\n    \
             rrl-ratelimit: 0\n\
         remote-control:\n    \
             control-enable: no\n\
         zone:\n    \
             name: {name}\n    \
             zonefile: zone.txt\n"
    )
}
