//! Follows the cluster: snapshot → placement → zone → kernel and userspace.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use autoradio_common::cookie::CookieKeys;
use tokio::sync::watch;
use tracing::{error, info, warn};

use super::kernel::{SharedKernel, lock, set_cookies};
use crate::clock;
use crate::cluster::{ClusterHandle, LoadRecord, NodeName, NodeRecord, Snapshot, is_news};
use crate::config::{Config, DnsSelect};
use crate::dns::{Policy, Responder, Select, Zone, ZoneSettings, compile, same_zone};
use crate::placement::{Ledger, Placement, Placer};

/// How often the kernel program's lease is pushed ahead, ten times before it ends, and how often weights move.
const TICK: Duration = Duration::from_secs(1);

/// What turns snapshots into what sinks act on.
pub(super) struct Follower {
    pub(super) own: Arc<NodeRecord>,
    pub(super) snapshots: watch::Receiver<Arc<Snapshot>>,
    /// What this node carries, sampled about once a second: newer than what stands in etcd, and known without it.
    pub(super) load: watch::Receiver<Arc<LoadRecord>>,
    /// The newest of it that was worth a placement.
    pub(super) load_in_force: Arc<LoadRecord>,
    pub(super) placements: watch::Sender<Arc<Placement>>,
    pub(super) placer: Placer,
    pub(super) ledger: Arc<Mutex<Ledger>>,
    pub(super) zone_settings: ZoneSettings,
    pub(super) responder: Arc<Responder>,
    pub(super) kernel: SharedKernel,
    /// What holds for replies besides the zone.
    pub(super) policy: Policy,
    pub(super) cookies: watch::Receiver<CookieKeys>,
    /// The placement whose zone is in force; `None` before the first, and while the kernel lacks the newest.
    pub(super) compiled: Option<Arc<Placement>>,
    /// What the kernel said when it last refused a zone, or a lease; `None` once it takes them again.
    pub(super) zone_refused: Option<String>,
    pub(super) lease_refused: Option<String>,
}

impl Follower {
    /// One that has placed the snapshot of this moment, and where its placements are told. The kernel learns of it by
    /// [`act`](Self::act).
    pub(super) fn new(
        config: &Config,
        own: Arc<NodeRecord>,
        cluster: &ClusterHandle,
        load: watch::Receiver<Arc<LoadRecord>>,
        kernel: SharedKernel,
    ) -> (Self, watch::Receiver<Arc<Placement>>) {
        let ledger = Arc::new(Mutex::new(Ledger::new(config.heartbeat)));
        let (mut placer, load_in_force) = (Placer::default(), load.borrow().clone());
        let snapshot = cluster.snapshots.borrow().clone();
        let first = Arc::new(place(&mut placer, &snapshot, (&own, &load_in_force), &ledger));
        let zone = Arc::new(compile(&first, &config.zone));
        let (sender, placements) = watch::channel(first);
        let mut cookies = cluster.cookies.clone();
        let policy = policy(config, *cookies.borrow_and_update());
        set_cookies(&kernel, policy.cookies);
        let follower = Self {
            own,
            snapshots: cluster.snapshots.clone(),
            load,
            load_in_force,
            placements: sender,
            placer,
            ledger,
            zone_settings: config.zone.clone(),
            responder: Responder::new(zone, policy.clone()),
            kernel,
            policy,
            cookies,
            compiled: None,
            zone_refused: None,
            lease_refused: None,
        };
        (follower, placements)
    }

    /// Runs until the snapshots end.
    ///
    /// The kernel's lease is renewed by the same loop that brings it new zones: if this one stops, the other must too.
    pub(super) async fn run(mut self) {
        let mut ticks = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                changed = self.snapshots.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.act();
                }
                Ok(()) = self.load.changed() => {
                    // Otherwise the tick is soon enough: not every second of steady streams is a change of placement.
                    if self.is_news(&self.load.borrow().clone()) {
                        self.act();
                    }
                }
                Ok(()) = self.cookies.changed() => self.change_cookies(),
                _ = ticks.tick() => {
                    self.act();
                    self.renew_lease();
                }
            }
        }
    }

    /// Brings kernel and userspace new secrets at once: a client may meet either with its next query.
    fn change_cookies(&mut self) {
        self.policy.cookies = *self.cookies.borrow_and_update();
        set_cookies(&self.kernel, self.policy.cookies);
        self.responder.set_policy(self.policy.clone());
    }

    fn is_news(&self, load: &LoadRecord) -> bool {
        is_news(&self.load_in_force, load, self.own.capacity)
    }

    /// Brings everything to where the newest snapshot is.
    pub(super) fn act(&mut self) {
        let snapshot = self.snapshots.borrow_and_update().clone();
        let failed_open = self.placer.is_failing_open();
        let newest = self.load.borrow_and_update().clone();
        if self.is_news(&newest) {
            self.load_in_force = newest;
        }
        let known = (&self.own, &self.load_in_force);
        let placement = Arc::new(place(&mut self.placer, &snapshot, known, &self.ledger));
        if self.placer.is_failing_open() != failed_open {
            report_fail_open(!failed_open);
        }
        self.publish_zone(&placement);
        // Most ticks change nothing, and whoever follows placements need not hear of them.
        self.placements.send_if_modified(|before| {
            let changed = before.revision != placement.revision || **before != *placement;
            if !before.nodes.keys().eq(placement.nodes.keys()) {
                let (came, went) = (absent(&placement, before), absent(before, &placement));
                info!(
                    ?came,
                    ?went,
                    nodes = placement.nodes.len(),
                    "the nodes in force have changed"
                );
            }
            *before = placement;
            changed
        });
    }

    /// A zone that says the same again is not worth a swap in the kernel.
    fn publish_zone(&mut self, placement: &Arc<Placement>) {
        if self.compiled.as_ref().is_some_and(|compiled| same_zone(compiled, placement)) {
            return;
        }
        let zone = Arc::new(compile(placement, &self.zone_settings));
        self.responder.publish(zone.clone());
        self.compiled = self.publish_in_kernel(&zone).then(|| placement.clone());
    }

    fn publish_in_kernel(&mut self, zone: &Zone) -> bool {
        let Some(kernel) = &self.kernel else { return true };
        // It waits for the program's readers, which other tasks on this thread need not.
        let published = tokio::task::block_in_place(|| lock(kernel).publish(zone));
        let refused = published.err().map(|error| error.to_string());
        if is_told_first(&mut self.zone_refused, refused.as_ref()) {
            if let Some(error) = &refused {
                error!(%error, "the kernel program lacks the newest zone: userspace answers");
            } else {
                info!("the kernel program has the newest zone again");
            }
        }
        self.zone_refused.is_none()
    }

    fn renew_lease(&mut self) {
        let Some(kernel) = &self.kernel else { return };
        let refused = lock(kernel).renew_lease().err().map(|error| error.to_string());
        if is_told_first(&mut self.lease_refused, refused.as_ref()) {
            if let Some(error) = &refused {
                error!(%error, "the lease of the kernel program could not be renewed");
            } else {
                info!("the lease of the kernel program is renewed again");
            }
        }
    }
}

/// Notes what was refused now, if anything; whether that is another than before, which is asked every second.
fn is_told_first(known: &mut Option<String>, now: Option<&String>) -> bool {
    let differs = known.as_ref() != now;
    *known = now.cloned();
    differs
}

/// What holds for replies besides the zone.
fn policy(config: &Config, cookies: CookieKeys) -> Policy {
    let select = match config.dns_select {
        DnsSelect::Random => Select::Random,
        DnsSelect::Sticky => Select::Sticky,
    };
    Policy { node: config.name.to_string(), select, cookies, rate: config.dns_rate }
}

/// Places a snapshot now, with what was assigned since the reports in it. What this node knows of itself, its record and its
/// load, it knows better than etcd.
pub(super) fn place(
    placer: &mut Placer,
    snapshot: &Snapshot,
    (own, load): (&Arc<NodeRecord>, &Arc<LoadRecord>),
    ledger: &Mutex<Ledger>,
) -> Placement {
    let now_ms = clock::boot_ms();
    // Cheap: what does not change is shared.
    let mut snapshot = snapshot.or_alone(own);
    snapshot.loads.insert(own.name.clone(), load.clone());
    let ledger = {
        let mut ledger = ledger.lock().unwrap_or_else(PoisonError::into_inner);
        ledger.note_reports(&snapshot.loads, now_ms);
        // A copy, so that no listener waits while a large cluster is placed.
        ledger.clone()
    };
    placer.place(&snapshot, now_ms, &ledger)
}

/// Names of the nodes in `one` that `other` lacks.
fn absent<'a>(one: &'a Placement, other: &Placement) -> Vec<&'a str> {
    let names = one.nodes.keys().filter(|name| !other.nodes.contains_key(*name));
    names.map(NodeName::as_str).collect()
}

fn report_fail_open(failing_open: bool) {
    metrics::gauge!("autoradio_placement_fail_open").set(f64::from(u8::from(failing_open)));
    if failing_open {
        warn!("too little of the cluster is left to choose from: all its nodes weigh the same");
    } else {
        info!("nodes are weighed by their headroom again");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::tests::{one_node_snapshot, record};

    /// A follower of two idle nodes without a kernel program, and the way to bring it snapshots.
    fn follower() -> (Follower, watch::Sender<Arc<Snapshot>>) {
        let mut snapshot = one_node_snapshot();
        let (own, second) = (record("node1", "198.18.0.1"), record("node2", "198.18.0.2"));
        snapshot.nodes.insert(second.name.clone(), second);
        let zone_settings = ZoneSettings::new("radio.example.com", 3, &[]).expect("settings");
        let zone = Arc::new(compile(&Placement::default(), &zone_settings));
        let (sender, snapshots) = watch::channel(Arc::new(snapshot));
        let follower = Follower {
            own,
            snapshots,
            load: watch::channel(Arc::new(LoadRecord::idle())).1,
            load_in_force: Arc::new(LoadRecord::idle()),
            placements: watch::channel(Arc::default()).0,
            placer: Placer::default(),
            ledger: Arc::default(),
            zone_settings,
            responder: Responder::new(zone, Policy::named("node1".to_owned())),
            kernel: None,
            policy: Policy::default(),
            cookies: watch::channel(CookieKeys::default()).1,
            compiled: None,
            zone_refused: None,
            lease_refused: None,
        };
        (follower, sender)
    }

    /// Brings the follower a changed snapshot; whether it made a zone of it, and whether it told of a placement.
    fn follow(
        follower: &mut Follower,
        sender: &watch::Sender<Arc<Snapshot>>,
        change: impl FnOnce(&mut Snapshot),
    ) -> (bool, bool) {
        let zone_before = follower.compiled.clone().expect("a zone");
        let told = follower.placements.subscribe();
        sender.send_modify(|snapshot| change(Arc::make_mut(snapshot)));
        follower.act();
        let zone_after = follower.compiled.as_ref().expect("a zone");
        (!Arc::ptr_eq(&zone_before, zone_after), told.has_changed().expect("a sender"))
    }

    #[test]
    fn a_refusal_is_told_once_and_so_is_its_end() {
        let (mut known, refused) = (None, Some("no room".to_owned()));
        let other = Some("no right".to_owned());
        let mut is_new = |now: &Option<String>| is_told_first(&mut known, now.as_ref());
        assert!(!is_new(&None), "as it should be");
        assert_eq!([is_new(&refused), is_new(&refused)], [true, false]);
        assert_eq!([is_new(&other), is_new(&other)], [true, false]);
        assert_eq!([is_new(&None), is_new(&None)], [true, false]);
    }

    #[test]
    fn a_zone_is_made_only_of_what_changes_it_and_then_at_once() {
        let (mut follower, sender) = follower();
        follower.act();
        let name = |text: &str| text.parse().expect("name");
        let report = |listeners: u64| {
            let load = LoadRecord { sequence: listeners, listeners, ..LoadRecord::idle() };
            move |snapshot: &mut Snapshot| {
                snapshot.revision += 1;
                snapshot.loads.insert(name("node2"), Arc::new(load));
            }
        };
        assert_eq!(follow(&mut follower, &sender, |_| {}), (false, false), "nothing new");
        assert_eq!(follow(&mut follower, &sender, report(1)), (false, true), "a listener");
        assert_eq!(follow(&mut follower, &sender, report(500)), (false, true), "damped");
        assert_eq!(follow(&mut follower, &sender, report(1_000)), (true, true), "full");
        let drain = |snapshot: &mut Snapshot| snapshot.draining.extend([name("node1")]);
        assert_eq!(follow(&mut follower, &sender, drain), (true, true), "nobody has room");
        let before = follower.placements.borrow().clone();
        let leave = |snapshot: &mut Snapshot| drop(snapshot.nodes.remove(&name("node2")));
        let alone = {
            let mut snapshot = (**sender.borrow()).clone();
            leave(&mut snapshot);
            snapshot
        };
        let after = place(
            &mut Placer::default(),
            &alone,
            (&follower.own, &follower.load_in_force),
            &follower.ledger,
        );
        assert_eq!((absent(&before, &after), absent(&after, &before)), (vec!["node2"], vec![]));
        let weights = |follower: &Follower| -> Vec<u32> {
            follower.placements.borrow().nodes.values().map(|node| node.weight).collect()
        };
        assert_eq!(weights(&follower), [0, crate::placement::WEIGHT_FULL]);
    }

    #[test]
    fn this_node_knows_its_own_load_while_etcd_tells_an_old_one() {
        let (mut follower, sender) = follower();
        let (sampler, load) = watch::channel(Arc::new(LoadRecord::idle()));
        follower.load = load;
        follower.act();
        let name = follower.own.name.clone();
        let carry = |follower: &mut Follower, listeners: u64| {
            sampler.send_modify(|load| {
                let load = Arc::make_mut(load);
                (load.sequence, load.listeners) = (load.sequence + 1, listeners);
            });
            follower.act();
            let placement = follower.placements.borrow().clone();
            let node = &placement.nodes[&name];
            (node.full, node.load.as_ref().expect("a load").listeners)
        };
        assert_eq!(carry(&mut follower, 1_000), (true, 1_000), "no word from etcd");
        let told = follower.placements.subscribe();
        assert_eq!(carry(&mut follower, 1_009), (true, 1_000), "hardly a change");
        assert!(!told.has_changed().expect("a sender"), "nobody is woken for it");
        let old = LoadRecord { listeners: 1_000, ..LoadRecord::idle() };
        sender.send_modify(|snapshot| {
            let snapshot = Arc::make_mut(snapshot);
            snapshot.loads.insert("node1".parse().expect("name"), Arc::new(old));
        });
        assert_eq!(carry(&mut follower, 500), (false, 500), "etcd still has it full");
    }
}
