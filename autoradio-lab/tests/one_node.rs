//! One node that plays: every part real, from the source client to the listener.

use std::time::Duration;

use autoradio_lab::status::{CreatedMount, Status};
use autoradio_lab::{Lab, faults, media};

const MOUNT: &str = "/live.mp3";
const SOON: Duration = Duration::from_secs(10);
/// The promise: Icecast is back in two seconds.
const ICECAST_BACK: Duration = Duration::from_secs(2);
const LISTEN_SECONDS: u32 = 5;

fn playing_lab() -> (Lab, CreatedMount) {
    let lab = Lab::builder().nodes(1).clients(1).build().expect("a lab");
    lab.start_nodes().expect("the node is ready");
    let mount = lab.node(1).create_mount(MOUNT).expect("a mount");
    (lab, mount)
}

fn status(lab: &Lab) -> Status {
    lab.node(1).status().expect("the daemon tells its status")
}

/// Listens for a while and asserts that what came is MP3.
fn assert_plays(lab: &Lab) {
    let url = format!("http://{}{MOUNT}", lab.domain());
    let (mut listener, file) = lab.client(1).listen(&url, LISTEN_SECONDS).expect("curl starts");
    let limit = SOON + Duration::from_secs(LISTEN_SECONDS.into());
    listener.wait(limit).expect("curl ends");
    let audio = media::probe(&file).unwrap_or_else(|error| {
        panic!("{error}; the listener said: {}", listener.log_tail());
    });
    assert_eq!(audio.codec, "mp3");
    assert!(audio.seconds > f64::from(LISTEN_SECONDS) / 2.0, "{audio:?}");
}

#[test]
#[ignore = "needs root and namespaces: cargo xtask test"]
fn a_tone_reaches_a_listener_who_found_the_node_by_dns() {
    let (lab, mount) = playing_lab();
    let client = lab.client(1);
    assert_eq!(client.dig(lab.domain()).unwrap(), [lab.node(1).host().v4()]);

    let _source = client.stream_tone(&mount.source_url(lab.domain())).unwrap();
    lab.wait_until("the source is on air", SOON, || status(&lab).source_connected(MOUNT)).unwrap();
    assert_plays(&lab);

    let status = status(&lab);
    assert_eq!(status.xdp.mode, "native");
    assert!(status.dns.kernel_answers >= 1, "{:?}", status.dns);
    let told = status.dns.kernel_answers + status.dns.userspace_answers;
    assert_eq!(status.dns.answers, told, "{:?}", status.dns);
}

#[test]
#[ignore = "needs root and namespaces: cargo xtask test"]
fn a_killed_icecast_is_back_in_two_seconds_and_the_mount_plays_again() {
    let (lab, mount) = playing_lab();
    let node = lab.node(1).host();
    let _source = lab.client(1).stream_tone_again(&mount.source_url(lab.domain()), 40).unwrap();
    lab.wait_until("the source is on air", SOON, || status(&lab).source_connected(MOUNT)).unwrap();

    let old = faults::find(node, "icecast2");
    faults::kill(node, "icecast2").unwrap();
    lab.wait_until("Icecast is back and answers", ICECAST_BACK, || {
        let new = faults::find(node, "icecast2");
        let answers = node.run("curl", &["-s", "-o", "/dev/null", "http://127.0.0.1:8000/"]);
        !new.is_empty() && new != old && answers.is_ok()
    })
    .unwrap();
    lab.wait_until("the source is back", SOON, || status(&lab).source_connected(MOUNT)).unwrap();
    assert_plays(&lab);
}

#[test]
#[ignore = "needs root and namespaces: cargo xtask test"]
fn a_stopped_node_exits_cleanly_and_leaves_no_process() {
    let lab = Lab::builder().build().expect("a lab");
    lab.start_nodes().expect("the node is ready");
    let node = lab.node(1);
    let ended = node.stop(SOON).unwrap().expect("this process started it");
    assert!(ended.success(), "{ended}");
    for process in ["etcd", "icecast2"] {
        assert_eq!(faults::find(node.host(), process), [0_i32; 0], "{process} lives on");
    }
}
