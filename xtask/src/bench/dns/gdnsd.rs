//! gdnsd: as many threads as it has cores, and the plugin that does what autoradio does: weighted addresses. Pure.

use std::net::Ipv4Addr;
use std::path::Path;

use super::peer::Peer;
use super::zone;

/// Equal weights, so that every answer has every address: all servers then send as much.
const WEIGHT: u32 = 100;

pub(super) fn peer(folder: &Path, address: Ipv4Addr, workers: usize) -> Peer {
    let zone_file = zone::head() + "@ IN DYNA weighted!radio\n";
    Peer {
        program: "gdnsd",
        args: ["-c", &folder.display().to_string(), "start"].map(str::to_owned).into(),
        files: vec![("config", settings(folder, address, workers)), (ZONE_FILE, zone_file)],
    }
}

/// gdnsd reads a zone's name from its file's.
const ZONE_FILE: &str = "zones/radio.example.com";

fn settings(folder: &Path, address: Ipv4Addr, workers: usize) -> String {
    let folder = folder.display();
    let members = zone::addresses();
    let members = members.iter().enumerate();
    let members =
        members.map(|(index, member)| format!("      m{index} => [ {member}, {WEIGHT} ]\n"));
    format!(
        "options => {{\n  \
           listen => {address}\n  \
           udp_threads => {workers}\n  \
           tcp_threads => 1\n  \
           run_dir => {folder}/run\n  \
           state_dir => {folder}/state\n\
         }}\n\
         plugins => {{\n  \
           weighted => {{\n    \
             multi => true\n    \
             service_types => up\n    \
             radio => {{\n{}    }}\n  }}\n}}\n",
        members.collect::<String>()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_zones_file_is_named_after_the_zone_and_every_address_has_its_weight() {
        let peer = peer(Path::new("/x"), Ipv4Addr::LOCALHOST, 1);
        let [(_, config), (zone_file, _)] = &peer.files[..] else { panic!("{peer:?}") };
        assert_eq!(zone_file.strip_prefix("zones/"), Some(zone::NAME));
        for address in zone::addresses() {
            assert!(config.contains(&format!("[ {address}, 100 ]")), "{config}");
        }
    }
}
