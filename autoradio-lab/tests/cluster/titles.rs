//! Titles and dead sessions of sources, through whichever node the client happens to speak with.

use autoradio_lab::prober::{Moment, SourceProber};
use autoradio_lab::status::CreatedMount;
use autoradio_lab::{Lab, Node, command};

use crate::rig::{BUSY_MS, MOUNT, SOON, WHOLE, cluster, master, watched};

const TITLE: &str = "Night Boat to Cairo";

#[test]
#[ignore = "needs root and namespaces: cargo xtask test"]
fn a_title_outlives_its_master_and_a_source_takes_over_through_another_node() {
    let (lab, mount) = cluster(3);
    let watch = watched(&lab, &mount);
    let first = master(&lab);
    let others = lab.others(first);
    watch.enter_through(others[0], SOON).unwrap();
    set_title(&lab, others[1], &mount);
    wait_title(&lab, first);

    let session = watch.last_session();
    watch.measure(first, SOON * 2, || first.kill(SOON)).unwrap();
    let second = lab.wait_master_seen_by(MOUNT, &others, SOON).unwrap();
    wait_title(&lab, second);
    first.start().unwrap();
    watch.wait_steady(WHOLE).unwrap();
    assert!(watch.last_session() > session);

    let living = watch.last_session();
    let entered = watch.source().on_air().expect("it is on air").node;
    let another = lab.nodes().iter().find(|node| node.host().v4() != entered).unwrap();
    let start = Moment::now();
    let rival = SourceProber::start(lab.client(2), &[another.host().v4()], &mount).unwrap();
    lab.wait_until("the rival has the mount", SOON, || {
        let lost =
            |one: &autoradio_lab::prober::Session| one.number == living && one.lost.is_some();
        !rival.sessions().is_empty() && watch.source().sessions().iter().any(lost)
    })
    .unwrap_or_else(|error| panic!("{error}: {}", rival.last_refusal()));
    let waited = rival.sessions()[0].accepted.ms_since(start);
    assert!(waited <= 2_000 + BUSY_MS, "the dead session was in the way for {waited} ms");
}

/// As a source's client does, from a client's host.
fn set_title(lab: &Lab, node: &Node, mount: &CreatedMount) {
    // Spelled out: curl would make a plus of a space, which Icecast takes for one.
    let (at, song) = (node.host().v4(), TITLE.replace(' ', "%20"));
    let url = format!("http://{at}/admin/metadata?mode=updinfo&mount={MOUNT}&song={song}");
    let user = format!("{}:{}", mount.source_username, mount.source_password);
    let args = ["--silent", "--show-error", "--fail", "--max-time", "5", "--user", &user, &url];
    let said = lab.client(1).host().run("curl", &args).expect("the title is taken");
    assert!(said.contains("<return>1</return>"), "Icecast said {said}");
}

/// Waits until the node's Icecast tells listeners the title.
fn wait_title(lab: &Lab, node: &Node) {
    let what = format!("listeners of {} are told the title", node.host().name());
    lab.wait_until(&what, SOON, || {
        let mut curl = node.host().command("curl");
        curl.args(["--silent", "--max-time", "2", "--header", "Icy-MetaData: 1"]);
        curl.arg(format!("http://127.0.0.1:8000{MOUNT}"));
        // It listens until its time is over, which curl calls a failure.
        let heard = command::output(curl).unwrap().stdout;
        String::from_utf8_lossy(&heard).contains(TITLE)
    })
    .unwrap();
}
