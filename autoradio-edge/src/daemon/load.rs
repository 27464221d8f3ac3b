//! Samples what this node carries, every second, for its report to the cluster.

mod peaks;
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
use crate::cluster::{LoadRecord, MountPath, SourceRecord, StreamsRecord};
use crate::http::{FrontStats, FrontView};
use crate::icecast::{IcecastDoor, RelayCounts};
use crate::placement::Placement;
use peaks::Peaks;
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
    /// The streams that this node's Icecast has.
    pub(super) streams: watch::Receiver<Arc<StreamsRecord>>,
    pub(super) load: watch::Sender<Arc<LoadRecord>>,
}

impl Sampler {
    /// Samples until cancelled.
    pub(super) async fn run(self) {
        let began = Began { at: clock::now(), unix_s: clock::unix_s() };
        let mut rate = Rate::default();
        let (mut in_icecast, mut peaks) = (InIcecast::default(), Peaks::default());
        let mut ticks = tokio::time::interval(SAMPLE_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for sequence in 1.. {
            ticks.tick().await;
            self.ask_icecast(&mut in_icecast).await;
            let view = self.stats.view();
            let mounts = listeners(&view, &in_icecast.listeners);
            let counted = Counted {
                bits_per_second: rate.read(clock::boot_ms(), self.bytes_sent(&view)),
                unique: unique(&view, &in_icecast.listeners),
                peaks: self.peaks(&mut peaks),
                mounts,
                sources: self.sources(began),
            };
            self.load.send_replace(Arc::new(counted.report(sequence)));
        }
    }

    /// Brings the listeners that Icecast serves itself up to date. While it does not say, the last ones stay, and everything
    /// else is still reported.
    async fn ask_icecast(&self, known: &mut InIcecast) {
        let Some(door) = &self.icecast else { return };
        let nodes = node_addresses(&self.placements.borrow());
        let asked = door.listeners(|address| nodes.contains(address), &mut known.relays).await;
        let (answered, silent) = (asked.is_ok(), known.silent);
        match asked {
            Ok(listeners) => known.listeners = listeners,
            Err(error) if !silent => warn!(%error, "Icecast's listeners are reported as they were"),
            Err(_) => {}
        }
        if answered && silent {
            info!("Icecast tells its listeners again");
        }
        known.silent = !answered;
    }

    /// The most listeners of each stream here, over all nodes.
    fn peaks(&self, peaks: &mut Peaks) -> Vec<(MountPath, u64)> {
        let (placement, streams) =
            (self.placements.borrow().clone(), self.streams.borrow().clone());
        peaks.note(&streams, |mount| placement.listeners(mount))
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

/// What Icecast said last.
#[derive(Default)]
struct InIcecast {
    listeners: Vec<(MountPath, u64)>,
    relays: RelayCounts,
    /// It did not answer the last time.
    silent: bool,
}

/// The front's listeners and Icecast's own, by mount.
fn listeners(view: &FrontView, in_icecast: &[(MountPath, u64)]) -> Vec<(MountPath, u64)> {
    let mut mounts: BTreeMap<MountPath, u64> = in_icecast.iter().cloned().collect();
    for mount in &view.mounts {
        *mounts.entry(mount.path.clone()).or_default() += mount.listeners;
    }
    mounts.into_iter().collect()
}

/// Different listeners, where they are fewer. Those of Icecast's own are not told apart.
fn unique(view: &FrontView, in_icecast: &[(MountPath, u64)]) -> Vec<(MountPath, u64)> {
    let here = |mount: &MountPath| {
        in_icecast.iter().find(|(path, _)| path == mount).map_or(0, |(_, count)| *count)
    };
    let fewer = view.mounts.iter().filter(|mount| mount.listeners_unique < mount.listeners);
    fewer.map(|mount| (mount.path.clone(), mount.listeners_unique + here(&mount.path))).collect()
}

/// Where relays come from: they are no listeners.
fn node_addresses(placement: &Placement) -> HashSet<IpAddr> {
    let records = placement.nodes.values().map(|node| &node.record);
    records
        .flat_map(|record| record.addresses.iter().copied().chain([record.peer_address]))
        .collect()
}
