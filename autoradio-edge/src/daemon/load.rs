//! Samples what this node carries, every second, for its report to the cluster.

mod report;

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tracing::{info, warn};

use crate::clock;
use crate::cluster::{LoadRecord, MountPath, SourceRecord};
use crate::http::{FrontStats, FrontView};
use crate::icecast::IcecastDoor;
use crate::placement::Placement;
use report::{Counted, Rate};

/// How often the load is sampled.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);

/// What the load is read from, and where it goes.
pub(super) struct Sampler {
    /// Its byte counter tells what the node sends; without one the front's own counts.
    pub(super) interface: Option<String>,
    pub(super) stats: Arc<FrontStats>,
    /// This node's Icecast where it serves listeners itself.
    pub(super) icecast: Option<IcecastDoor>,
    pub(super) placements: watch::Receiver<Arc<Placement>>,
    pub(super) load: watch::Sender<Arc<LoadRecord>>,
}

impl Sampler {
    /// Samples until cancelled.
    pub(super) async fn run(self) {
        let began = Began { at: clock::now(), unix_s: clock::unix_s() };
        let mut rate = Rate::default();
        let mut icecast_answers = true;
        let mut ticks = tokio::time::interval(SAMPLE_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for sequence in 1.. {
            ticks.tick().await;
            let Some(in_icecast) = self.icecast_listeners(&mut icecast_answers).await else {
                continue;
            };
            let view = self.stats.view();
            let counted = Counted {
                bits_per_second: rate.read(clock::boot_ms(), self.bytes_sent(&view)),
                mounts: listeners(&view, in_icecast),
                sources: self.sources(began),
            };
            self.load.send_replace(Arc::new(counted.report(sequence)));
        }
    }

    /// Listeners that Icecast serves itself; `None` while it does not say: the last report stays.
    async fn icecast_listeners(&self, answered: &mut bool) -> Option<Vec<(MountPath, u64)>> {
        let Some(door) = &self.icecast else { return Some(Vec::new()) };
        let nodes = node_addresses(&self.placements.borrow());
        let listeners = door.listeners(|address| nodes.contains(address)).await;
        match &listeners {
            Err(error) if *answered => warn!(%error, "the load of this node is not known"),
            Ok(_) if !*answered => info!("the load of this node is known again"),
            _ => {}
        }
        *answered = listeners.is_ok();
        listeners.ok()
    }

    fn bytes_sent(&self, view: &FrontView) -> u64 {
        let counter = self.interface.as_ref().and_then(|interface| {
            let path: PathBuf =
                ["/sys/class/net", interface, "statistics/tx_bytes"].iter().collect();
            std::fs::read_to_string(path).ok()?.trim().parse().ok()
        });
        counter.unwrap_or(view.bytes_out)
    }

    fn sources(&self, began: Began) -> Vec<(MountPath, SourceRecord)> {
        let record = |(path, since, content_type): (MountPath, Instant, String)| {
            let since_unix_s = began.unix_s + since.saturating_duration_since(began.at).as_secs();
            (path, SourceRecord { since_unix_s, content_type })
        };
        self.stats.sources().into_iter().map(record).collect()
    }
}

/// When sampling began, on both clocks: what comes later is told without looking at the wall clock again, which may jump.
#[derive(Clone, Copy)]
struct Began {
    at: Instant,
    unix_s: u64,
}

/// The front's listeners and Icecast's own, by mount.
fn listeners(view: &FrontView, in_icecast: Vec<(MountPath, u64)>) -> Vec<(MountPath, u64)> {
    let mut mounts: BTreeMap<MountPath, u64> = in_icecast.into_iter().collect();
    for mount in &view.mounts {
        *mounts.entry(mount.path.clone()).or_default() += mount.listeners;
    }
    mounts.into_iter().collect()
}

/// Where relays come from: they are no listeners.
fn node_addresses(placement: &Placement) -> HashSet<IpAddr> {
    let records = placement.nodes.values().map(|node| &node.record);
    records
        .flat_map(|record| record.addresses.iter().copied().chain([record.peer_address]))
        .collect()
}
