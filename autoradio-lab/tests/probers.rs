//! The clients that measure, on one node: what they call lost is lost, what they call back is back.

use std::time::Duration;

use autoradio_lab::failover::Watch;
use autoradio_lab::prober::Moment;
use autoradio_lab::{Lab, faults};

const SOON: Duration = Duration::from_secs(10);

#[test]
#[ignore = "needs root and namespaces: cargo xtask test"]
fn a_lost_source_is_told_and_heard_again_and_a_cut_wire_is_noticed() {
    let lab = Lab::builder().nodes(1).clients(2).build().expect("a lab");
    lab.start_nodes().expect("the node is ready");
    let node = lab.node(1);
    let mount = node.create_mount("/live.mp3").expect("a mount");
    let watch = Watch::start(&lab, &mount).unwrap();
    watch.wait_steady(SOON).unwrap();
    let first = watch.last_session();

    let start = Moment::now();
    faults::kill(node.host(), "icecast2").unwrap();
    watch.wait_on_air(first, SOON).unwrap();
    let sessions = watch.source().sessions();
    let lost = sessions.iter().find(|one| one.number == first).and_then(|one| one.lost);
    let lost = lost.expect("the session has ended");
    assert!(lost.told, "the node closed the connection");
    assert!(lost.at.ms_since(start) < 1_000, "{lost:?}");

    let listeners = watch.listeners(&[node], first).unwrap();
    lab.wait_until("the new session is heard", SOON, || listeners.heard().is_some()).unwrap();
    let never = watch.listeners(&[node], u32::MAX).unwrap();
    lab.wait_until("the listeners lose patience", SOON, || Moment::now().ms_since(start) > 4_000)
        .unwrap();
    assert_eq!(never.heard(), None, "a session that never was has been heard");

    let address = node.host().v4();
    let cut = Moment::now();
    faults::cut(node.host()).unwrap();
    lab.wait_until("nothing is answered", SOON, || {
        let since = Moment::now().ms_since(cut);
        since > 500 && watch.dns().clean_ms(address, cut, &[]).is_some_and(|ms| ms < 200)
    })
    .unwrap();
    lab.wait_until("the source finds itself unheard", SOON, || watch.source().on_air().is_none())
        .unwrap();
    let ending = watch.source().sessions().last().and_then(|one| one.lost);
    assert!(!ending.expect("the session has ended").told, "nobody was there to tell");
}
