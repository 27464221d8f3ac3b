//! Wall clocks that jump: time that counts is monotonic.

use std::time::Duration;

use autoradio_lab::prober::Moment;
use autoradio_lab::{Lab, Node, media, wall_clock};

use crate::rig::{LEASE_MS, MOUNT, SOON, master, started, watched};

const DAY_S: i64 = 24 * 3_600;
/// What follows from a jump follows within a lease.
const AFTER_JUMP_MS: u64 = 2 * LEASE_MS;
/// How long the listener listens: over both jumps, and what is waited for between them.
const LISTENS_S: u32 = 20;
/// Words of the daemons' log that tell of a lease in doubt, or of a new one.
const DOUBTS: [&str; 5] =
    ["not sure of its lease", "stepped down", "holding over", "has no lease", "joined the cluster"];

#[test]
#[ignore = "needs root and namespaces: cargo xtask test"]
fn jumps_of_the_wall_clock_change_nothing() {
    let (lab, mount) = started(Lab::builder().nodes(3).clients(2).own_wall_clocks(true));
    let watch = watched(&lab, &mount);
    let master = master(&lab);
    watch.enter_through(master, SOON).unwrap();
    let (session, epoch) = (watch.last_session(), master.status().unwrap().epoch(MOUNT));
    let addresses: Vec<_> = lab.nodes().iter().map(|node| node.host().v4()).collect();
    let before: Vec<String> = lab.nodes().iter().map(|node| node.log().unwrap()).collect();
    let url = format!("http://{}{MOUNT}", master.host().v4());
    let (mut listener, heard) = lab.client(2).listen(&url, LISTENS_S).unwrap();

    for (number, seconds) in [DAY_S, -2 * DAY_S].into_iter().enumerate() {
        let (start, earliest) = (Moment::now(), moved(master, seconds));
        wall_clock::jump(master.host(), seconds).unwrap();
        assert_reached(&lab, master, &format!("/{number}.mp3"), (&earliest, seconds));
        let over = || Moment::now().ms_since(start) > AFTER_JUMP_MS;
        lab.wait_until("some leases' time goes by", SOON, over).unwrap();
        let on_air = watch.source().on_air().map(|now| now.number);
        assert_eq!(on_air, Some(session), "the source was lost after {seconds} s");
        assert_eq!(lab.wait_master(MOUNT, SOON).unwrap().host().name(), master.host().name());
        assert_eq!(master.status().unwrap().epoch(MOUNT), epoch, "after {seconds} s");
        assert!(watch.dns().all_name(&addresses, &addresses), "a node left DNS: {seconds} s");
    }

    listener.wait(Duration::from_secs(LISTENS_S.into()) + SOON).unwrap();
    let audio = media::probe(&heard).unwrap();
    assert!(audio.seconds > f64::from(LISTENS_S) - 3.0, "{audio:?}: {}", listener.log_tail());
    for (node, before) in lab.nodes().iter().zip(before) {
        let log = node.log().unwrap();
        let since = &log[before.len()..];
        let doubt = since.lines().find(|line| DOUBTS.iter().any(|doubt| line.contains(doubt)));
        assert_eq!(doubt, None, "on {}", node.host().name());
    }
}

/// The daemon's clock has jumped: what it logs of a source that comes now is dated so.
fn assert_reached(lab: &Lab, node: &Node, path: &str, (earliest, seconds): (&str, i64)) {
    let mount = node.create_mount(path).unwrap();
    let url = mount.source_url(&node.host().v4().to_string());
    let _source = lab.client(2).stream_tone_again(&url, 20).unwrap();
    lab.wait_until("the log is dated by the clock that jumped", SOON, || {
        let (log, latest) = (node.log().unwrap(), moved(node, seconds));
        let mut dates = log.lines().filter(|line| line.contains(path)).filter_map(date_of);
        dates.any(|date| earliest <= date && date <= latest.as_str())
    })
    .unwrap();
}

/// The first word of a line, without what colours it.
fn date_of(line: &str) -> Option<&str> {
    line.split(|letter: char| letter == '\u{1b}' || letter.is_whitespace())
        .find(|word| word.ends_with('Z'))
        .map(|word| word.trim_start_matches("[2m"))
}

/// The real time and so many seconds, as logs write it; one that is earlier is a smaller text.
fn moved(node: &Node, seconds: i64) -> String {
    let words = ["--utc", &format!("--date={seconds:+} seconds"), "+%FT%T"];
    node.host().run("date", &words).unwrap().trim().to_owned()
}
