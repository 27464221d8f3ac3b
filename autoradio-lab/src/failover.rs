//! Measures a failover from the outside, as broadcasters and listeners have it.

use std::time::Duration;

use crate::prober::{DnsProber, ListenerProber, Moment, SourceProber, Target};
use crate::status::CreatedMount;
use crate::{Client, Lab, LabError, Node, clock};

/// Clients who watch one mount of a lab: one asks DNS, one is its source. Listeners come with a fault.
#[derive(Debug)]
pub struct Watch<'a> {
    lab: &'a Lab,
    path: String,
    dns: DnsProber,
    source: SourceProber,
}

/// What a fault cost, in milliseconds after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// When the last answer of any node came that names the lost one.
    pub dns_clean_ms: u64,
    /// When the source was accepted for the session that lasts.
    pub source_back_ms: u64,
    /// When a new listener had heard 0.2 s of what the source sends since.
    pub listener_back_ms: u64,
    /// Whether the source was told that its session had ended, and did not have to find out.
    pub source_told: bool,
}

impl<'a> Watch<'a> {
    /// Starts asking, and streaming to the mount.
    pub fn start(lab: &'a Lab, mount: &CreatedMount) -> Result<Self, LabError> {
        let addresses: Vec<_> = lab.nodes().iter().map(|node| node.host().v4()).collect();
        let client = lab.client(1);
        Ok(Self {
            lab,
            path: mount.path.clone(),
            dns: DnsProber::start(client, &addresses, lab.domain())?,
            source: SourceProber::start(client, &addresses, mount)?,
        })
    }

    /// The client that asks DNS.
    pub fn dns(&self) -> &DnsProber {
        &self.dns
    }

    /// The client that is the mount's source.
    pub fn source(&self) -> &SourceProber {
        &self.source
    }

    /// Waits until the cluster is whole, all DNS answers together name every node, and the source is
    /// on air.
    pub fn wait_steady(&self, limit: Duration) -> Result<(), LabError> {
        self.lab.wait_whole(limit)?;
        let all: Vec<_> = self.lab.nodes().iter().map(|node| node.host().v4()).collect();
        clock::wait_until("every node's answers name every node", limit, || {
            self.dns.all_name(&all, &all)
        })?;
        self.wait_on_air(0, limit)
    }

    /// Has the source connect again, to this node.
    pub fn enter_through(&self, node: &Node, limit: Duration) -> Result<(), LabError> {
        let before = self.last_session();
        self.source.use_nodes(&[node.host().v4()]);
        self.source.redial();
        self.wait_on_air(before, limit)
    }

    /// Does `fault`, which loses the node `lost`, and waits until nobody notices it any more.
    pub fn measure(
        &self,
        lost: &Node,
        limit: Duration,
        fault: impl FnOnce() -> Result<(), LabError>,
    ) -> Result<Times, LabError> {
        let living = self.lab.others(lost);
        let addresses: Vec<_> = living.iter().map(|node| node.host().v4()).collect();
        self.source.use_nodes(&addresses);
        let session = self.last_session();
        let start = Moment::now();
        fault()?;
        let listeners = self.listeners(&living, session)?;
        let mut clean = None;
        clock::wait_until("DNS is clean", limit, || {
            clean = self.dns.clean_ms(lost.host().v4(), start, &addresses);
            clean.is_some()
        })?;
        self.wait_on_air(session, limit)?;
        let mut heard = None;
        clock::wait_until("a new listener hears the source", limit, || {
            heard = listeners.heard();
            heard.is_some()
        })?;
        let told = |what: &str| LabError::Deadline { what: what.to_owned(), limit };
        let on_air = self.source.on_air().ok_or_else(|| told("the source stays on air"))?;
        let sessions = self.source.sessions();
        let before = sessions.iter().find(|one| one.number == session);
        Ok(Times {
            dns_clean_ms: clean.ok_or_else(|| told("DNS is clean"))?,
            source_back_ms: on_air.accepted.ms_since(start),
            listener_back_ms: heard.ok_or_else(|| told("a listener hears"))?.at.ms_since(start),
            source_told: before.and_then(|one| one.lost).is_some_and(|loss| loss.told),
        })
    }

    /// Does `fault`, which no source should notice. Returns for how many milliseconds in all there was
    /// none, within `watched` and until it is back.
    pub fn interruption_ms(
        &self,
        watched: Duration,
        limit: Duration,
        fault: impl FnOnce() -> Result<(), LabError>,
    ) -> Result<u64, LabError> {
        let session = self.last_session();
        let start = Moment::now();
        fault()?;
        let over = || u128::from(Moment::now().ms_since(start)) >= watched.as_millis();
        clock::wait_until("the time to watch is over", watched + limit, over)?;
        self.wait_on_air(0, limit)?;
        let sessions = self.source.sessions();
        let since = sessions.iter().zip(sessions.iter().skip(1));
        let gaps = since
            .filter(|(before, _)| before.number >= session)
            .filter_map(|(a, b)| Some(b.accepted.ms_since(a.lost?.at)));
        Ok(gaps.sum())
    }

    /// Listeners who come until one hears a session after number `session`.
    pub fn listeners(&self, nodes: &[&Node], session: u32) -> Result<ListenerProber, LabError> {
        let targets: Vec<Target> = nodes.iter().map(|node| Target::of(node)).collect();
        ListenerProber::start(self.last_client(), &targets, &self.path, session)
    }

    /// Number of the newest session; 0 before the first.
    pub fn last_session(&self) -> u32 {
        self.source.sessions().last().map_or(0, |session| session.number)
    }

    /// Waits until a session with a number above `session` is on air.
    pub fn wait_on_air(&self, session: u32, limit: Duration) -> Result<(), LabError> {
        let on_air = || self.source.on_air().is_some_and(|now| now.number > session);
        clock::wait_until("the source is on air", limit, on_air).map_err(|error| match error {
            LabError::Deadline { limit, .. } => {
                let refusal = self.source.last_refusal();
                LabError::Deadline { what: format!("the source is on air ({refusal})"), limit }
            }
            other => other,
        })
    }

    fn last_client(&self) -> &Client {
        self.lab.client(self.lab.clients().len())
    }
}
