//! What the stream's tests share.

use std::net::Ipv4Addr;
use std::time::Duration;

use autoradio_lab::prober::{Format, Moment, SourceProber};
use autoradio_lab::{Lab, Node, Running};

pub(crate) const SOON: Duration = Duration::from_secs(10);
/// Longest time until a cluster that was hurt is whole again.
pub(crate) const WHOLE: Duration = Duration::from_secs(60);

/// A mount whose source numbers its frames.
pub(crate) struct Station {
    pub(crate) path: String,
    pub(crate) source: SourceProber,
}

impl Station {
    /// Creates the mount and goes on air through the nodes.
    pub(crate) fn start(lab: &Lab, path: &str, format: Format) -> Self {
        let mount = lab.node(1).create_mount(path).expect("a mount");
        let nodes = addresses(lab.nodes().iter());
        let source = SourceProber::start_as(lab.client(1), &nodes, &mount, format).unwrap();
        let station = Self { path: mount.path, source };
        station.wait_on_air(lab, 0);
        station
    }

    /// Number of the newest session.
    pub(crate) fn session(&self) -> u32 {
        self.source.sessions().last().map_or(0, |session| session.number)
    }

    /// Waits until a session with a number above `session` is on air.
    pub(crate) fn wait_on_air(&self, lab: &Lab, session: u32) {
        let on_air = || self.source.on_air().is_some_and(|now| now.number > session);
        lab.wait_until(&format!("{} is on air", self.path), SOON * 2, on_air)
            .unwrap_or_else(|error| panic!("{error}: {}", self.source.last_refusal()));
    }
}

/// Waits until the front of one of the nodes has a source of the mount; `source` is the program that should be it.
pub(crate) fn wait_connected(lab: &Lab, mount: &str, source: &Running) {
    let at = |node: &Node| node.status().is_ok_and(|status| status.source_connected(mount));
    let connected = || lab.nodes().iter().any(at);
    lab.wait_until(&format!("{mount} has a source"), SOON * 3, connected)
        .unwrap_or_else(|error| panic!("{error}: {}", source.log_tail()));
}

pub(crate) fn addresses<'a>(nodes: impl IntoIterator<Item = &'a Node>) -> Vec<Ipv4Addr> {
    nodes.into_iter().map(|node| node.host().v4()).collect()
}

/// Lets so much time pass.
pub(crate) fn pass(lab: &Lab, time: Duration) {
    let start = Moment::now();
    let over = || u128::from(Moment::now().ms_since(start)) >= time.as_millis();
    lab.wait_until("the time to watch is over", time * 2, over).unwrap();
}
