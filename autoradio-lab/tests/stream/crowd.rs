//! A thousand listeners on three nodes, while sources, Icecasts, etcd and nodes are lost: none of those whose own node lives is
//! cut off, and every one of them hears whole frames as they were sent, in order, each once.
//!
//! A gap is the longest time in which a listener got no byte, between one fault and the next; so the 99th percentile is
//! that of listeners, of whom each counts with its worst.

use std::net::Ipv4Addr;
use std::time::Duration;

use autoradio_lab::prober::{Crowd, Format, Party};
use autoradio_lab::{Lab, LabError, Node, faults};

use crate::rig::{SOON, Station, WHOLE, addresses, pass};

/// Of each mount on each node: 1 008 in all.
const LISTENERS: usize = 112;
const STATIONS: [(&str, Format); 3] =
    [("/live.mp3", Format::Mp3), ("/live.aac", Format::Aac), ("/live.ogg", Format::Ogg)];

/// The promise for what is planned, and for what concerns no stream.
const PLANNED_GAP_MS_MAX: u64 = 1_000;
/// The promise for a killed master.
const KILLED_GAP_MS_MAX: u64 = 4_000;
/// How long is watched at least what should happen to nobody.
const WATCHED: Duration = Duration::from_secs(3);

struct Show {
    lab: Lab,
    stations: Vec<Station>,
    crowd: Crowd,
}

impl Show {
    fn start() -> Self {
        let lab = Lab::builder().nodes(3).clients(2).build().expect("a lab");
        lab.start_nodes().expect("all nodes are ready");
        let stations = STATIONS.map(|(path, format)| Station::start(&lab, path, format));
        let party = |node| STATIONS.map(|(path, format)| Party::new(node, path, format, LISTENERS));
        let parties: Vec<Party> = lab.nodes().iter().flat_map(party).collect();
        let crowd = Crowd::start(lab.client(2), &parties).unwrap();
        let show = Self { lab, stations: stations.into(), crowd };
        show.wait_heard(&addresses(show.lab.nodes()));
        show
    }

    /// Waits until all listeners of these nodes hear what their sources send now.
    fn wait_heard(&self, nodes: &[Ipv4Addr]) {
        let hear = |station: &Station| {
            let session = station.source.on_air().map_or(u32::MAX, |session| session.number);
            self.crowd.hearing_session(nodes, &station.path, session)
        };
        let all = nodes.len() * LISTENERS;
        self.lab
            .wait_until("all hear what is sent now", SOON * 3, || {
                self.stations.iter().all(|station| hear(station) == all)
            })
            .unwrap_or_else(|error| {
                let hear: Vec<_> = self.stations.iter().map(hear).collect();
                panic!("{error}: {hear:?} of {all} each, {}", self.crowd.tally(nodes))
            });
    }

    /// Does `fault`, which takes their source from the mounts of `hit`, and watches the listeners of `nodes` until it is over.
    /// Panics if one of them is lost or hears anything wrong, or their gaps are longer.
    fn watch(
        &self,
        what: &str,
        nodes: &[&Node],
        (hit, gap_ms_max): (&[&Station], u64),
        fault: impl FnOnce() -> Result<(), LabError>,
    ) {
        let nodes = addresses(nodes.iter().copied());
        let before: Vec<u32> = hit.iter().map(|station| station.session()).collect();
        let hit_paths: Vec<_> = hit.iter().map(|station| station.path.as_str()).collect();
        self.crowd.mark();
        fault().unwrap();
        pass(&self.lab, WATCHED);
        for (station, session) in hit.iter().zip(before) {
            station.wait_on_air(&self.lab, session);
        }
        self.wait_heard(&nodes);
        let tally = self.crowd.tally(&nodes);
        eprintln!("{what} (source of {hit_paths:?}): {tally}");
        assert_eq!(tally.listeners, nodes.len() * LISTENERS * STATIONS.len(), "{what}");
        assert!(tally.is_whole(), "{what}: {tally}");
        assert!(tally.gap_ms(99) <= gap_ms_max, "{what}: {tally}");
    }

    /// The stations of which this node is master.
    fn of_master(&self, node: &Node) -> Vec<&Station> {
        let master = |station: &&Station| {
            let master = self.lab.wait_master(&station.path, SOON).unwrap();
            master.host().name() == node.host().name()
        };
        self.stations.iter().filter(master).collect()
    }
}

#[test]
#[ignore = "needs root and namespaces: cargo xtask test"]
fn a_thousand_listeners_are_never_cut_off_and_hear_whole_frames_in_order() {
    let show = Show::start();
    let all: Vec<&Node> = show.lab.nodes().iter().collect();
    let nobody = (&[][..], PLANNED_GAP_MS_MAX);
    show.watch("nothing happens", &all, nobody, || Ok(()));

    let leader = show.lab.etcd_leader().expect("one leads");
    let what = format!("etcd's leader on {} is killed", leader.host().name());
    show.watch(&what, &all, nobody, || faults::kill(leader.host(), "etcd").map(drop));
    show.lab.wait_whole(WHOLE).unwrap();

    for node in &all {
        let what = format!("Icecast on {} is killed", node.host().name());
        let hit = show.of_master(node);
        show.watch(&what, &all, (&hit, KILLED_GAP_MS_MAX), || {
            faults::kill(node.host(), "icecast2").map(drop)
        });
    }

    for node in &all {
        let name = node.host().name();
        let commander = show.lab.others(node)[0];
        let hit = show.of_master(node);
        show.watch(&format!("{name} is drained"), &all, (&hit, PLANNED_GAP_MS_MAX), || {
            commander.radioctl_text(&["drain", name]).map(drop)
        });
        commander.radioctl_text(&["undrain", name]).unwrap();
        let back = || node.status().is_ok_and(|status| !status.draining);
        show.lab.wait_until("it takes part again", SOON, back).unwrap();
    }

    let killed = all.iter().max_by_key(|node| show.of_master(node).len()).unwrap();
    let living = show.lab.others(killed);
    let what = format!("{} is killed, the others' listeners", killed.host().name());
    for station in &show.stations {
        station.source.use_nodes(&addresses(living.iter().copied()));
    }
    let hit = show.of_master(killed);
    show.watch(&what, &living, (&hit, KILLED_GAP_MS_MAX), || killed.kill(SOON));
}
