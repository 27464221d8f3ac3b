//! The gate of this node's Icecast: which sources it may let in, by the master's own knowledge.
//!
//! Icecast asks for every source, whichever way it came. Let in is only what this node holds now, in the epoch that the
//! asker means, while the node may go on as master: so no mount has two masters that accept it in one epoch.
//!
//! In: what Icecast tells of a source, the placement, the node's standing. Out: a verdict, and the mounts whose source
//! may not stay. Never here: sockets; `socket/evict.rs` has sources closed, `api` speaks with Icecast.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Deserialize;
use subtle::ConstantTimeEq;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{debug, info};

use super::auth::{Credentials, Verifier};
use crate::cluster::{IcecastSecrets, MountPath, MountRecord, NodeName, StandingReader};
use crate::placement::Placement;

/// Places that wait to be made free. Icecast asks about one source at a time, so there is hardly ever more than one.
const VACATIONS_WAITING_MAX: usize = 16;

/// What a front wants of a master's Icecast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To stream, if the mount is free.
    Source,
    /// To stream in place of whoever does.
    Takeover,
}

impl Purpose {
    /// What the user name begins with; the epoch that the front believes in follows.
    const PREFIXES: [(Self, &str); 2] = [(Self::Source, "epoch-"), (Self::Takeover, "takeover-")];

    /// The user name of a front that wants this in this epoch.
    pub(super) fn user(self, epoch: i64) -> String {
        let prefix = Self::PREFIXES.iter().find(|(purpose, _)| *purpose == self);
        format!("{}{epoch}", prefix.map_or("", |(_, prefix)| prefix))
    }

    /// The purpose that a user name tells, and the text of the epoch.
    fn of(user: &str) -> Option<(Self, &str)> {
        Self::PREFIXES
            .iter()
            .find_map(|(purpose, prefix)| Some((*purpose, user.strip_prefix(prefix)?)))
    }
}

/// A mount at this node's Icecast that has to be made free for a newer source.
pub(super) struct Vacation {
    /// The mount.
    pub(super) mount: MountPath,
    /// Told when whatever played there was told to end; dropped if that failed.
    pub(super) done: oneshot::Sender<()>,
}

/// What Icecast tells of a source that wants in, or of whoever sets a source's title.
#[derive(Clone, Deserialize)]
pub struct SourceClaim {
    /// The mount, as a path.
    pub mount: String,
    /// The user name that was given.
    pub user: String,
    /// The password that was given.
    pub pass: String,
    /// Where the source comes from, as Icecast sees it.
    #[serde(default)]
    pub ip: String,
    /// There when it is about a command for a source, a title most often; but also when a source wrote its mount in another
    /// form than Icecast's own, with `%20` for a space. So it rules nothing out.
    pub admin: Option<String>,
}

/// Why a source is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No such mount.
    #[error("there is no such mount")]
    MountUnknown,
    /// This node may not act as master now.
    #[error("this node has stepped down: its lease may have ended")]
    SteppedDown,
    /// Another node holds the mount, or nobody.
    #[error("this node does not hold the mount")]
    NotMaster,
    /// A front that is behind, or ahead, of this node.
    #[error("the tunnel means another epoch than the one this node holds")]
    Epoch,
    /// The mount is pulled from elsewhere.
    #[error("the mount is pulled from elsewhere and takes no source")]
    Pulled,
    /// Wrong name or password.
    #[error("wrong user name or password")]
    Credentials,
    /// Whatever plays there could not be told to end.
    #[error("the source before this one could not be closed")]
    Occupied,
    /// Too many passwords to check.
    #[error("too many passwords are being checked")]
    Busy,
}

impl Refusal {
    fn label(self) -> &'static str {
        match self {
            Self::MountUnknown => "mount_unknown",
            Self::SteppedDown => "stepped_down",
            Self::NotMaster => "not_master",
            Self::Epoch => "epoch",
            Self::Pulled => "pulled",
            Self::Credentials => "credentials",
            Self::Occupied => "occupied",
            Self::Busy => "busy",
        }
    }
}

/// How a source came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Through the front of some node, which believes in this epoch.
    Tunnel { purpose: Purpose, epoch: Option<i64> },
    /// Straight to Icecast, with the mount's own credentials.
    Direct,
}

impl Way {
    /// Only the cluster's own password makes a tunnel: a mount's user may have any name.
    fn of(claim: &SourceClaim, secrets: &IcecastSecrets) -> Self {
        let inner: bool = claim.pass.as_bytes().ct_eq(secrets.source_password.as_bytes()).into();
        match Purpose::of(&claim.user) {
            Some((purpose, epoch)) if inner => Self::Tunnel { purpose, epoch: epoch.parse().ok() },
            _ => Self::Direct,
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Tunnel { .. } => "tunnel",
            Self::Direct => "direct",
        }
    }
}

/// Judges sources at this node's Icecast, and remembers which it has let in.
pub struct SourceGate {
    node: NodeName,
    secrets: IcecastSecrets,
    placements: watch::Receiver<Arc<Placement>>,
    standing: StandingReader,
    verifier: Verifier,
    /// Mounts with a source that was let in, and the epoch it was let into.
    inside: Mutex<BTreeMap<MountPath, i64>>,
    /// Mounts to be made free.
    vacating: mpsc::Sender<Vacation>,
    vacations: Mutex<Option<mpsc::Receiver<Vacation>>>,
}

/// What was let in.
struct Admitted {
    mount: MountPath,
    epoch: i64,
    /// It is a source, as far as can be told, and not one that is known already.
    news: bool,
}

impl SourceGate {
    /// The gate of the Icecast of `node`.
    pub fn new(
        node: NodeName,
        secrets: IcecastSecrets,
        placements: watch::Receiver<Arc<Placement>>,
        standing: StandingReader,
    ) -> Self {
        // Icecast waits for one answer at a time, so checks that strangers can ask for must be few.
        let (verifier, inside) = (Verifier::scarce(), Mutex::default());
        let (vacating, vacations) = mpsc::channel(VACATIONS_WAITING_MAX);
        let vacations = Mutex::new(Some(vacations));
        Self { node, secrets, placements, standing, verifier, inside, vacating, vacations }
    }

    /// Whether Icecast may let this source in, or carry out its command.
    ///
    /// Logs what it lets in as `source accepted`: all nodes' lines together are the history of who accepted what.
    pub async fn admit(&self, claim: &SourceClaim) -> Result<(), Refusal> {
        let way = Way::of(claim, &self.secrets);
        let verdict = self.judge(claim, way).await;
        let label = verdict.as_ref().map_or_else(|refusal| refusal.label(), |_| "accepted");
        metrics::counter!("autoradio_http_source_verdicts_total", "verdict" => label).increment(1);
        match verdict {
            Ok(Admitted { mount, epoch, news: true }) => {
                let (node, ip, user) = (&self.node, &claim.ip, way.label());
                info!(%mount, epoch, %node, user, ip, "source accepted");
                Ok(())
            }
            Ok(_) => Ok(()),
            Err(reason) => {
                debug!(mount = claim.mount, %reason, user = way.label(), "source not accepted");
                Err(reason)
            }
        }
    }

    async fn judge(&self, claim: &SourceClaim, way: Way) -> Result<Admitted, Refusal> {
        let mount: MountPath = claim.mount.parse().map_err(|_| Refusal::MountUnknown)?;
        let placed = self.placements.borrow().mounts.get(&mount).cloned();
        let record = placed.ok_or(Refusal::MountUnknown)?.record;
        // A relay is no source that asks: only those who would push it out come here.
        if record.relay_url.is_some() && claim.admin.is_none() {
            return Err(Refusal::Pulled);
        }
        if way == Way::Direct {
            self.check_password(claim, &record).await?;
        }
        if let Way::Tunnel { purpose: Purpose::Takeover, .. } = way {
            // Before anything is closed: a front that is behind may not end a newer source.
            self.epoch_meant(&mount, way)?;
            self.vacate(&mount).await?;
        }
        // What follows is one step for `take_lost`: nothing can be let in behind its back.
        let mut inside = self.inside();
        let epoch = self.epoch_meant(&mount, way)?;
        let news = match way {
            Way::Tunnel { .. } => {
                inside.insert(mount.clone(), epoch);
                true
            }
            // Maybe a title. To remember a source that is none costs nothing; to forget one would let it stay for good.
            Way::Direct => {
                let before = inside.insert(mount.clone(), epoch);
                claim.admin.is_none() || before != Some(epoch)
            }
        };
        Ok(Admitted { mount, epoch, news })
    }

    /// The epoch in which this node may let the asker in now.
    fn epoch_meant(&self, mount: &MountPath, way: Way) -> Result<i64, Refusal> {
        if !self.standing.now().may_accept() {
            return Err(Refusal::SteppedDown);
        }
        let held = self.epoch_held(mount)?;
        match way {
            Way::Tunnel { epoch, .. } if epoch != Some(held) => Err(Refusal::Epoch),
            _ => Ok(held),
        }
    }

    /// Has whatever plays on the mount closed, a relay too, and waits until Icecast was told.
    async fn vacate(&self, mount: &MountPath) -> Result<(), Refusal> {
        let (done, told) = oneshot::channel();
        let vacation = Vacation { mount: mount.clone(), done };
        self.vacating.send(vacation).await.map_err(|_| Refusal::Occupied)?;
        told.await.map_err(|_| Refusal::Occupied)
    }

    /// The mounts that have to be made free, for the one who does it: `None` the second time.
    pub(super) fn take_vacations(&self) -> Option<mpsc::Receiver<Vacation>> {
        self.vacations.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    async fn check_password(
        &self,
        claim: &SourceClaim,
        record: &MountRecord,
    ) -> Result<(), Refusal> {
        let given = Credentials::new(&claim.user, &claim.pass);
        let right = self.verifier.knows(given, record).await.map_err(|_| Refusal::Busy)?;
        right.then_some(()).ok_or(Refusal::Credentials)
    }

    /// The epoch in which this node holds the mount, as far as it knows.
    fn epoch_held(&self, mount: &MountPath) -> Result<i64, Refusal> {
        let placement = self.placements.borrow();
        let placed = placement.mounts.get(mount).ok_or(Refusal::MountUnknown)?;
        let held = placed.master.as_ref().filter(|master| master.node == self.node);
        held.map(|master| master.epoch).ok_or(Refusal::NotMaster)
    }

    /// Mounts whose source was let in and may not stay: lost to another node or epoch, deleted, or all of them when
    /// this node has stepped down. Each is told once.
    pub(super) fn take_lost(&self) -> Vec<MountPath> {
        let mut inside = self.inside();
        let all = !self.standing.now().may_keep();
        let lost =
            |(mount, epoch): &(&MountPath, &i64)| all || self.epoch_held(mount) != Ok(**epoch);
        let lost: Vec<MountPath> =
            inside.iter().filter(lost).map(|(mount, _)| mount.clone()).collect();
        for mount in &lost {
            inside.remove(mount);
        }
        lost
    }

    /// Mounts with a source that was let in, all of them: each source is to be closed once.
    pub(super) fn take_all(&self) -> Vec<MountPath> {
        std::mem::take(&mut *self.inside()).into_keys().collect()
    }

    /// Whether a source of the mount was let in, and not told as lost since.
    pub(super) fn has_let_in(&self, mount: &MountPath) -> bool {
        self.inside().contains_key(mount)
    }

    /// A panic elsewhere cannot leave the map half-written, so a poisoned lock is as good as any.
    fn inside(&self) -> MutexGuard<'_, BTreeMap<MountPath, i64>> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use autoradio_common::limits::HTTP_DIRECT_CHECKS_BURST;

    use super::super::testing::{placement_of, secrets};
    use super::*;
    use crate::cluster::{Master, Standing};

    struct Rig {
        gate: SourceGate,
        placements: watch::Sender<Arc<Placement>>,
        standing: watch::Sender<Standing>,
    }

    fn held_by(node: &str, epoch: i64) -> Arc<Placement> {
        let mut placement = placement_of(&["/m", "/other"]);
        let master = Master { node: node.parse().expect("a node name"), epoch };
        let path: MountPath = "/m".parse().expect("a mount path");
        placement.mounts.get_mut(&path).expect("the mount").master = Some(master);
        Arc::new(placement)
    }

    fn rig() -> Rig {
        let (placements, placed) = watch::channel(held_by("a", 7));
        let (standing, stands) = watch::channel(Standing::Sure);
        let node = "a".parse().expect("a node name");
        let gate = SourceGate::new(node, secrets(), placed, StandingReader::new(stands));
        Rig { gate, placements, standing }
    }

    fn claim(mount: &str, user: &str, pass: &str) -> SourceClaim {
        let [mount, user, pass] = [mount, user, pass].map(str::to_owned);
        SourceClaim { mount, user, pass, ip: String::new(), admin: None }
    }

    #[tokio::test]
    async fn only_the_holder_lets_in_and_only_what_means_its_epoch() {
        for (why, mount, user, pass, want) in [
            ("a tunnel of this epoch", "/m", "epoch-7", "inner", Ok(())),
            ("the mount's own source", "/m", "source", "hackme", Ok(())),
            ("a front that is behind", "/m", "epoch-6", "inner", Err(Refusal::Epoch)),
            ("a front that is ahead", "/m", "epoch-8", "inner", Err(Refusal::Epoch)),
            ("no epoch at all", "/m", "epoch-x", "inner", Err(Refusal::Epoch)),
            ("a late takeover", "/m", "takeover-6", "inner", Err(Refusal::Epoch)),
            ("a guessed tunnel", "/m", "epoch-7", "hackme", Err(Refusal::Credentials)),
            ("the plain inner password", "/m", "source", "inner", Err(Refusal::Credentials)),
            ("nobody's mount", "/other", "epoch-7", "inner", Err(Refusal::NotMaster)),
            ("no mount", "/no", "epoch-7", "inner", Err(Refusal::MountUnknown)),
            ("no path", "no", "epoch-7", "inner", Err(Refusal::MountUnknown)),
        ] {
            let rig = rig();
            assert_eq!(rig.gate.admit(&claim(mount, user, pass)).await, want, "{why}");
            assert_eq!(rig.gate.inside().len(), usize::from(want.is_ok()), "{why}");
        }
    }

    #[tokio::test]
    async fn a_mount_that_is_pulled_takes_no_source() {
        let rig = rig();
        let mut placement = Placement::clone(&held_by("a", 7));
        let path: MountPath = "/m".parse().expect("a mount path");
        let placed = placement.mounts.get_mut(&path).expect("the mount");
        Arc::make_mut(&mut placed.record).relay_url = Some("http://h/x".to_owned());
        rig.placements.send_replace(Arc::new(placement));
        for (user, pass) in [("epoch-7", "inner"), ("source", "hackme")] {
            assert_eq!(rig.gate.admit(&claim("/m", user, pass)).await, Err(Refusal::Pulled));
        }
    }

    #[tokio::test]
    async fn a_slave_and_a_node_that_stepped_down_let_nobody_in() {
        for (user, pass) in [("epoch-7", "inner"), ("source", "hackme")] {
            let rig = rig();
            rig.standing.send_replace(Standing::SteppedDown);
            let refused = rig.gate.admit(&claim("/m", user, pass)).await;
            assert_eq!(refused, Err(Refusal::SteppedDown));
            rig.standing.send_replace(Standing::HoldingOver { alone: true });
            assert_eq!(rig.gate.admit(&claim("/m", user, pass)).await, Ok(()));
            rig.placements.send_replace(held_by("b", 7));
            assert_eq!(rig.gate.admit(&claim("/m", user, pass)).await, Err(Refusal::NotMaster));
        }
    }

    #[tokio::test]
    async fn a_source_is_told_as_lost_once_when_its_mount_epoch_or_standing_goes() {
        type Change = fn(&Rig);
        let changes: [(&str, Change, usize); 4] = [
            ("nothing", |_| {}, 0),
            ("another master", |rig| drop(rig.placements.send_replace(held_by("b", 7))), 1),
            ("another epoch", |rig| drop(rig.placements.send_replace(held_by("a", 8))), 1),
            ("standing", |rig| _ = rig.standing.send_replace(Standing::SteppedDown), 1),
        ];
        for (why, change, want) in changes {
            let rig = rig();
            rig.gate.admit(&claim("/m", "epoch-7", "inner")).await.expect(why);
            change(&rig);
            assert_eq!(rig.gate.take_lost().len(), want, "{why}");
            assert_eq!(rig.gate.take_lost().len(), 0, "{why}: once");
        }
    }

    #[tokio::test]
    async fn a_source_that_icecast_takes_for_a_command_is_remembered_all_the_same() {
        for (user, pass) in [("epoch-7", "inner"), ("source", "hackme")] {
            let rig = rig();
            let source = SourceClaim { admin: Some("1".into()), ..claim("/m", user, pass) };
            assert_eq!(rig.gate.admit(&source).await, Ok(()));
            assert_eq!(rig.gate.inside().len(), 1, "{user}");
        }
    }

    #[tokio::test]
    async fn a_takeover_is_let_in_once_the_place_was_made_free_and_only_then() {
        for (freed, want) in [(true, Ok(())), (false, Err(Refusal::Occupied))] {
            let rig = rig();
            let mut vacations = rig.gate.take_vacations().expect("the first time");
            let late = rig.gate.admit(&claim("/m", "takeover-6", "inner")).await;
            assert_eq!(late, Err(Refusal::Epoch));
            assert!(vacations.try_recv().is_err(), "nobody is closed for one that is behind");
            let taken = claim("/m", "takeover-7", "inner");
            let freeing = async {
                let Vacation { mount, done } = vacations.recv().await.expect("asked");
                assert_eq!(mount.as_str(), "/m");
                assert!(rig.gate.inside().is_empty(), "not before");
                if freed {
                    done.send(()).expect("awaited");
                }
            };
            assert_eq!(tokio::join!(rig.gate.admit(&taken), freeing).0, want);
        }
    }

    #[tokio::test]
    async fn wrong_passwords_are_few_and_a_right_one_is_known_at_once_among_them() {
        let rig = rig();
        let right = claim("/m", "source", "hackme");
        assert_eq!(rig.gate.admit(&right).await, Ok(()));
        let mut verdicts = Vec::new();
        for _ in 0..2 * HTTP_DIRECT_CHECKS_BURST {
            verdicts.push(rig.gate.admit(&claim("/m", "source", "wrong")).await);
        }
        assert!(verdicts.contains(&Err(Refusal::Credentials)), "{verdicts:?}");
        assert!(verdicts.contains(&Err(Refusal::Busy)), "{verdicts:?}");
        assert_eq!(rig.gate.admit(&right).await, Ok(()));
    }
}
