//! What a node does while it is not sure of its lease: it asks its peers, and says how it stands.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::standing::LeaseClock;
use super::{NodeName, NodeRecord, Snapshot, Standing};
use crate::clock;
use crate::peer::{self, Answers, judge};

/// How often peers are asked.
const ASK_EVERY: Duration = Duration::from_millis(250);
/// How long a node is alone before it closes each source once.
const ALONE_MAX: Duration = Duration::from_secs(10);
/// Peers asked at one time, spread over all there are. A cluster in which none of so many answers, or knows of a quorum,
/// has none.
const PEERS_ASKED_MAX: usize = 64;

/// Judges this node's standing.
pub(super) struct Outage {
    pub(super) own: NodeName,
    pub(super) snapshots: watch::Receiver<Arc<Snapshot>>,
    pub(super) clock: LeaseClock,
    /// Password between daemons.
    pub(super) password: String,
}

impl Outage {
    /// Runs until cancelled.
    pub(super) async fn run(self, cancel: CancellationToken) {
        cancel.run_until_cancelled(Box::pin(self.watch())).await;
    }

    async fn watch(self) {
        let mut told = Standing::Sure;
        // A node that has just joined has nothing to lose yet.
        let mut was_sure = false;
        let mut alone = Alone::default();
        // Rounds overlap: the slowest peer of one must not keep the next from being asked.
        let (mut rounds, mut newest_ns) = (JoinSet::new(), 0);
        let mut ticks = tokio::time::interval(ASK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    if self.clock.view().needs_peers(clock::boot_ns()) {
                        rounds.spawn(ask(self.peers(), self.password.clone()));
                    }
                }
                Some(Ok((asked_ns, answers))) = rounds.join_next() => {
                    self.take(&answers, asked_ns, &mut newest_ns);
                    tell_heard(&answers, told);
                }
            }
            let standing = self.clock.view().standing(clock::boot_ns());
            was_sure |= standing == Standing::Sure;
            if standing != std::mem::replace(&mut told, standing) && was_sure {
                tell(standing);
            }
            // A node that has no peers has nowhere to send its sources.
            let is_alone =
                standing == Standing::HoldingOver { alone: true } && !self.peers().is_empty();
            if alone.is_due(is_alone, clock::boot_ns()) {
                warn!(
                    "no peer answers: closing each source once, for its client to find the others"
                );
                self.clock.close_once();
            }
        }
    }

    /// Judges by the answers of one round, unless those of a later one are there. A proof is one at any time.
    fn take(&self, answers: &Answers, asked_ns: u64, newest_ns: &mut u64) {
        let view = self.clock.view();
        let verdict = judge(answers, view.silent_since_ns, view.sure_for);
        if asked_ns >= *newest_ns || verdict == Standing::SteppedDown {
            *newest_ns = asked_ns.max(*newest_ns);
            self.clock.change(|view| view.judged(verdict, asked_ns));
        }
    }

    /// The peers to be asked.
    fn peers(&self) -> Vec<Arc<NodeRecord>> {
        peer::spread(&self.snapshots.borrow(), &self.own, PEERS_ASKED_MAX)
    }
}

/// One round of questions, and when it began.
async fn ask(peers: Vec<Arc<NodeRecord>>, password: String) -> (u64, Answers) {
    let asked_ns = clock::boot_ns();
    (asked_ns, peer::ask_all(&peers, &password).await)
}

/// Since when a node is alone, and whether that has had its consequence.
#[derive(Debug, Default)]
struct Alone {
    since_ns: Option<u64>,
    done: bool,
}

impl Alone {
    /// Whether it is time, once in each period of being alone.
    fn is_due(&mut self, is_alone: bool, now_ns: u64) -> bool {
        if !is_alone {
            *self = Self::default();
            return false;
        }
        let since_ns = *self.since_ns.get_or_insert(now_ns);
        let due = !self.done && u128::from(now_ns - since_ns) >= ALONE_MAX.as_nanos();
        self.done |= due;
        due
    }
}

fn tell_heard(Answers { heard, mute }: &Answers, told: Standing) {
    if told == Standing::Sure {
        let with_quorum = heard.iter().filter(|heard| heard.state.quorum).count();
        info!(answers = heard.len(), mute, with_quorum, "etcd does not answer: peers are asked");
    }
}

fn tell(standing: Standing) {
    match standing {
        Standing::Sure => info!("sure of its lease: this node is master of what it holds"),
        Standing::Asking => warn!("not sure of its lease: sources wait, those that are here stay"),
        Standing::SteppedDown => {
            warn!("stepped down: others may hold its mounts, it closes its sources");
        }
        Standing::HoldingOver { alone } => {
            warn!(alone, "holding over: nobody can claim, mounts and their sources stay here");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn being_alone_has_its_consequence_once_in_each_period() {
        let mut alone = Alone::default();
        let s = |s: u64| s * 1_000_000_000;
        for (why, is_alone, at_s, want) in [
            ("it begins", true, 100, false),
            ("not yet", true, 109, false),
            ("now", true, 110, true),
            ("once", true, 111, false),
            ("once", true, 500, false),
            ("somebody answers", false, 501, false),
            ("it begins again", true, 502, false),
            ("and is due again", true, 512, true),
        ] {
            assert_eq!(alone.is_due(is_alone, s(at_s)), want, "{why}");
        }
    }
}
