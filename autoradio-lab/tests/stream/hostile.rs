//! Clients that mean no good, as many as descriptors allow: those who play notice nothing, and the daemon's memory stays within
//! bounds.

use std::fs;

use autoradio_lab::prober::{Counts, Crowd, Format, Hostiles, Manner, Party};
use autoradio_lab::{Lab, faults, node};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::rig::{SOON, Station, addresses};

const MOUNT: &str = "/live.mp3";
const PLAYERS: usize = 60;
/// Of each manner but silence.
const EACH: usize = 200;
/// Connections that say nothing, where descriptors allow.
const SILENT_MAX: usize = 20_000;
/// Descriptors that this process, and the daemon, need for all else.
const RESERVE: usize = 2_500;
/// Longest gap of those who play.
const GAP_MS_MAX: u64 = 1_000;
/// The daemon's limit for a head, and what a busy machine may add.
const HEAD_MS_MAX: u64 = 15_000 + 3_000;
/// What each connection may cost the daemon, in bytes; a head that is not whole may be 16 KiB.
const CONNECTION_BYTES_MAX: u64 = 20 * 1024;
/// What all that is there once may cost.
const FIXED_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// Connections that say nothing: as many as this process can open.
fn silent() -> usize {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
    let possible = usize::try_from(most).unwrap_or(usize::MAX).saturating_sub(RESERVE);
    possible.min(SILENT_MAX)
}

/// Resident memory of the daemon, in bytes (proc(5), `VmRSS`).
fn memory_bytes(lab: &Lab) -> u64 {
    let id = faults::find(lab.node(1).host(), node::DAEMON)[0];
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    resident.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

struct Siege {
    lab: Lab,
    players: Crowd,
    peak_bytes: u64,
    _station: Station,
}

impl Siege {
    fn start() -> Self {
        // Else one address would have no more than a thousand.
        let args = ["--connections-per-address", "0"];
        let lab = Lab::builder().clients(2).args(&args).build().expect("a lab");
        lab.start_nodes().expect("the node is ready");
        let station = Station::start(&lab, MOUNT, Format::Mp3);
        let party = Party::new(lab.node(1), MOUNT, Format::Mp3, PLAYERS);
        let players = Crowd::start(lab.client(1), &[party]).unwrap();
        let all = addresses(lab.nodes());
        lab.wait_until("all play", SOON, || players.hearing(&all) == PLAYERS).unwrap();
        players.mark();
        Self { lab, players, peak_bytes: 0, _station: station }
    }

    fn send(&self, manner: Manner, count: usize) -> Hostiles {
        let node = self.lab.node(1).host().v4();
        Hostiles::start(self.lab.client(2), node, MOUNT, (manner, count)).unwrap()
    }

    /// Waits until what they have come to is so, and notes the daemon's memory meanwhile.
    fn wait(&mut self, what: &str, hostiles: &Hostiles, holds: impl Fn(&Counts) -> bool) {
        let (lab, peak_bytes) = (&self.lab, &mut self.peak_bytes);
        lab.wait_until(what, SOON * 3, || {
            *peak_bytes = memory_bytes(lab).max(*peak_bytes);
            holds(&hostiles.counts())
        })
        .unwrap_or_else(|error| panic!("{error}: {:?}", hostiles.counts()));
    }

    fn assert_unmoved(&self, when: &str) {
        let tally = self.players.tally(&addresses(self.lab.nodes()));
        eprintln!("{when}: {tally}");
        assert_eq!(tally.gaps_ms.len(), PLAYERS, "{when}: {tally}");
        assert!(tally.is_whole(), "{when}: {tally}");
        assert!(tally.gap_ms(100) <= GAP_MS_MAX, "{when}: {tally}");
    }
}

#[test]
#[ignore = "needs root and namespaces: cargo xtask test"]
fn those_who_play_notice_nothing_of_clients_that_mean_no_good() {
    let silent = silent();
    let mut siege = Siege::start();
    let before = memory_bytes(&siege.lab);
    let deaf = siege.send(Manner::Deaf, EACH);
    let half_closed = siege.send(Manner::HalfClosed, EACH);
    let half_heads = siege.send(Manner::HalfHead, EACH);
    let huge = siege.send(Manner::HugeHead, EACH);
    let slow = siege.send(Manner::SlowHead, EACH);
    siege.wait("half a head is no head", &half_heads, |it| it.closed == EACH);
    siege.wait("a huge head is refused", &huge, |it| it.closed == EACH && it.bytes_read > 0);
    // Who will say no more may still listen.
    let enough = (EACH * 128 * 1024) as u64;
    siege.wait("half-closed listeners hear", &half_closed, |it| it.bytes_read > enough);
    assert_eq!(half_closed.counts().closed, 0, "{:?}", half_closed.counts());
    siege.assert_unmoved("deaf, half-closed, slow and huge ones");

    let crowd = siege.send(Manner::Silent, silent);
    siege.wait("all who say nothing have come", &crowd, |it| it.opened + it.failed == silent);
    let came = crowd.counts();
    assert!(came.failed * 100 <= silent, "{came:?}");
    siege.assert_unmoved("the silent have come");
    siege.wait("slow heads are cut", &slow, |it| it.closed == EACH && it.bytes_read > 0);
    siege.wait("the silent are cut", &crowd, |it| it.open() == 0);
    for counts in [slow.counts(), crowd.counts()] {
        assert!(counts.closed_after_ms_max <= HEAD_MS_MAX, "{counts:?}");
    }
    assert_eq!(crowd.counts().bytes_read, 0, "who says nothing is told nothing");
    siege.assert_unmoved("the silent have gone");
    assert_eq!(deaf.counts().opened, EACH);

    let connections = (silent + 5 * EACH) as u64;
    let grown = siege.peak_bytes.saturating_sub(before);
    eprintln!(
        "{silent} silent: memory {before} bytes, {grown} more at most for {connections} connections"
    );
    assert!(grown <= FIXED_BYTES_MAX + connections * CONNECTION_BYTES_MAX, "{grown} bytes");
}
