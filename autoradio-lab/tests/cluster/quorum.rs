//! etcd without quorum: nothing can be changed, and nothing else stops.

use std::time::Duration;

use autoradio_lab::prober::Moment;
use autoradio_lab::{faults, media};

use crate::rig::{
    ETCD_PORTS, MOUNT, SOON, WHOLE, cluster, master, refusal, wait_standing, watched,
};

/// Several leases long; what holds then should hold for ten minutes too, since nothing else runs out.
/// `AUTORADIO_OUTAGE_S=600` tries it.
const OUTAGE_S: u32 = 15;

fn outage_s() -> u32 {
    let wanted = std::env::var("AUTORADIO_OUTAGE_S");
    wanted.map_or(OUTAGE_S, |seconds| seconds.parse().expect("seconds"))
}

#[test]
#[ignore = "needs root and namespaces: cargo xtask test"]
fn without_quorum_dns_sources_and_listeners_go_on_and_changes_fail_with_a_sentence() {
    let outage_s = outage_s();
    let (lab, mount) = cluster(3);
    let watch = watched(&lab, &mount);
    let master = master(&lab);
    watch.enter_through(lab.others(master)[0], SOON).unwrap();
    let (session, epoch) = (watch.last_session(), master.status().unwrap().epoch(MOUNT));
    let addresses: Vec<_> = lab.nodes().iter().map(|node| node.host().v4()).collect();

    for node in lab.nodes() {
        faults::cut_ports(node.host(), ETCD_PORTS).unwrap();
    }
    let url = format!("http://{}{MOUNT}", master.host().v4());
    let (mut listener, heard) = lab.client(2).listen(&url, outage_s).unwrap();
    wait_standing(&lab, master, &["holding-over"], SOON);
    let said = refusal(lab.node(1).radioctl_text(&["create-mount", "/never.mp3"]));
    assert!(said.contains("etcd") && said.contains(' '), "{said}");
    listener.wait(Duration::from_secs(outage_s.into()) + SOON).unwrap();
    let audio = media::probe(&heard).unwrap();
    assert!(audio.seconds > f64::from(outage_s) - 3.0, "{audio:?}: {}", listener.log_tail());
    assert_eq!(watch.source().on_air().map(|now| now.number), Some(session), "the source was lost");
    assert!(watch.dns().all_name(&addresses, &addresses), "a living node left DNS");

    let start = Moment::now();
    for node in lab.nodes() {
        faults::mend_ports(node.host(), ETCD_PORTS).unwrap();
    }
    lab.wait_whole(WHOLE).unwrap();
    wait_standing(&lab, master, &["sure"], WHOLE);
    // A name of its own for each try: one whose answer got lost may have been made all the same.
    let mut tries = 0;
    lab.wait_until("mounts can be made again", WHOLE, || {
        tries += 1;
        lab.node(1).create_mount(&format!("/after-{tries}.mp3")).is_ok()
    })
    .unwrap();
    lab.wait_until("it stays so", SOON, || Moment::now().ms_since(start) > 5_000).unwrap();
    assert_eq!(watch.source().on_air().map(|now| now.number), Some(session), "lost afterwards");
    assert_eq!(master.status().unwrap().epoch(MOUNT), epoch, "the master held over");
}
