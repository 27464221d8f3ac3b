//! A node that the operator drains, and one that is told to stop.

use autoradio_lab::prober::Moment;
use autoradio_lab::{Host, Node};

use crate::rig::{BUSY_MS, MOUNT, SOON, WHOLE, cluster, master, watched};

/// The promise.
const OUT_OF_DNS_MS_MAX: u64 = 1_000;

#[test]
#[ignore = "needs root and namespaces: cargo xtask test"]
fn a_draining_node_leaves_dns_at_once_hands_its_mounts_over_and_redirects_listeners() {
    let (lab, mount) = cluster(3);
    let watch = watched(&lab, &mount);
    let drained = master(&lab);
    let name = drained.host().name();
    watch.enter_through(drained, SOON).unwrap();
    let commander = lab.others(drained)[0];
    let drain = || commander.radioctl_text(&["drain", name]).map(drop);
    let times = watch.measure(drained, SOON * 2, drain).unwrap();
    assert!(times.dns_clean_ms <= OUT_OF_DNS_MS_MAX, "{times:?}");
    assert!(times.source_told, "{times:?}");
    assert!(times.source_back_ms <= 2_000 + BUSY_MS, "{times:?}");
    assert_ne!(master(&lab).host().name(), name, "its mount went to another node");
    let redirect = redirect(lab.client(1).host(), drained);
    let elsewhere = |node: &&Node| {
        redirect == format!("302 http://{}.{}/_stream{MOUNT}", node.host().name(), lab.domain())
    };
    assert!(lab.others(drained).iter().any(elsewhere), "a listener was told {redirect:?}");

    commander.radioctl_text(&["undrain", name]).unwrap();
    watch.wait_steady(WHOLE).unwrap();
    let new = master(&lab).host().name();
    assert_ne!(new, name, "a node that comes back takes no live mount");

    let stopped = master(&lab);
    watch.enter_through(stopped, SOON).unwrap();
    let times = watch.measure(stopped, SOON * 2, || stopped.terminate()).unwrap();
    assert!(times.dns_clean_ms <= OUT_OF_DNS_MS_MAX, "{times:?}");
    assert!(times.source_told, "{times:?}");
    let start = Moment::now();
    let ended = stopped.wait_ended(SOON * 3).unwrap().expect("this process started it");
    assert!(ended.success(), "{ended} after {} ms", Moment::now().ms_since(start));
}

/// Status and location of what a listener at this node is answered.
fn redirect(client: &Host, node: &Node) -> String {
    let url = format!("http://{}{MOUNT}", node.host().v4());
    let form = "%{http_code} %{redirect_url}";
    let output = client.folder().join("refused").to_string_lossy().into_owned();
    client
        .run(
            "curl",
            &["--silent", "--max-time", "3", "--output", &output, "--write-out", form, &url],
        )
        .expect("a redirect ends at once")
}
