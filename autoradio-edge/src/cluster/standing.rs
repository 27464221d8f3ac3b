//! Whether this node may go on as master of what it holds: a lease as the node's own clock sees it.
//!
//! [`LeaseView`] is the pure rule. [`StandingReader`] applies it at the moment of the question, so that a daemon which was
//! stopped for a while, or a machine that was suspended, never acts on what was true before.

use std::future::Future;
use std::time::Duration;

use tokio::sync::watch;

use crate::clock;

/// Least time by which a node gives up its lease before etcd does: clocks differ, and answers travel.
const MARGIN_MIN: Duration = Duration::from_millis(200);
/// Share of the lease's time that is kept as margin, if that is more.
const MARGIN_SHARE: u32 = 10;
/// How long before the lease may end peers are asked, so that their word is there when it counts: the slowest of them has
/// a second.
const ASK_AHEAD: Duration = Duration::from_millis(1_300);
/// How long the word of peers counts from when they were asked: longer than the slowest may take, so that the next word is
/// there.
const VERDICT_MAX: Duration = Duration::from_millis(1_500);
/// Time in which a node that lost its lease may come back with another before it closes its sources.
const RETURN_MAX: Duration = Duration::from_secs(2);
/// How often a sleeping reader looks at the clock: a suspended machine stands still for timers.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How a node stands towards its masterships.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// Its lease certainly lives: nobody else can hold its mounts.
    Sure,
    /// Its lease may have ended, and its peers have not said yet what that means: it takes no source and keeps those it
    /// has. Lasts for moments.
    #[default]
    Asking,
    /// Its lease may have ended, and somebody else may hold its mounts: it takes no source and closes those it has.
    SteppedDown,
    /// Its lease may have ended, but nobody can claim: it keeps its mounts and their sources.
    HoldingOver {
        /// No peer answers at all.
        alone: bool,
    },
}

impl Standing {
    /// Whether sources of mounts that this node holds may be accepted.
    pub fn may_accept(self) -> bool {
        matches!(self, Self::Sure | Self::HoldingOver { .. })
    }

    /// Whether sources that were accepted may stay.
    pub fn may_keep(self) -> bool {
        self != Self::SteppedDown
    }

    /// Every value that [`label`](Self::label) has.
    pub const LABELS: [&'static str; 5] =
        ["sure", "asking", "stepped-down", "holding-over", "alone"];

    /// One word for status and metrics.
    pub fn label(self) -> &'static str {
        let [sure, asking, stepped_down, holding_over, alone] = Self::LABELS;
        match self {
            Self::Sure => sure,
            Self::Asking => asking,
            Self::SteppedDown => stepped_down,
            Self::HoldingOver { alone: false } => holding_over,
            Self::HoldingOver { alone: true } => alone,
        }
    }
}

/// What is known of this node's lease, in nanoseconds of the boot-time clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LeaseView {
    /// Until when the lease surely lives.
    sure_until_ns: u64,
    /// How long the lease surely lives after etcd has extended it.
    pub(crate) sure_for: Duration,
    /// When the last question that etcd answered was sent.
    pub(crate) answered_ns: u64,
    /// When the first of all questions was sent that etcd has answered since without a break.
    pub(crate) reached_since_ns: u64,
    /// When the first question was sent that etcd has left without an answer since.
    pub(crate) silent_since_ns: Option<u64>,
    /// When etcd said that the lease is over; 0 before the first.
    lost_ns: Option<u64>,
    verdict: Standing,
    verdict_until_ns: u64,
}

impl LeaseView {
    /// No lease yet: nothing is accepted.
    pub(crate) fn none() -> Self {
        Self {
            sure_until_ns: 0,
            sure_for: Duration::ZERO,
            answered_ns: 0,
            reached_since_ns: 0,
            silent_since_ns: None,
            lost_ns: Some(0),
            verdict: Standing::Asking,
            verdict_until_ns: 0,
        }
    }

    /// etcd has extended the lease by `ttl`, asked at `sent_ns`: from then on it lives so long at least.
    #[must_use]
    pub(crate) fn answered(self, sent_ns: u64, ttl: Duration) -> Self {
        let sure_for = ttl.saturating_sub((ttl / MARGIN_SHARE).max(MARGIN_MIN));
        // A daemon that was stopped has left nothing unanswered, and yet knows nothing of that time.
        let unbroken = self.silent_since_ns.is_none() && self.standing(sent_ns) == Standing::Sure;
        Self {
            sure_until_ns: sent_ns.saturating_add(nanos(sure_for)),
            sure_for,
            answered_ns: sent_ns,
            reached_since_ns: if unbroken { self.reached_since_ns } else { sent_ns },
            lost_ns: None,
            ..Self::none()
        }
    }

    /// etcd has not answered what was asked at `sent_ns`.
    #[must_use]
    pub(crate) fn silent(self, sent_ns: u64) -> Self {
        Self { silent_since_ns: self.silent_since_ns.or(Some(sent_ns)), ..self }
    }

    /// etcd has said that the lease is over: only a new one makes this node sure again.
    #[must_use]
    pub(crate) fn lost(self, now_ns: u64) -> Self {
        let already_down = self.standing(now_ns) == Standing::SteppedDown;
        let lost_ns = if already_down { self.lost_ns.or(Some(0)) } else { Some(now_ns) };
        Self { sure_until_ns: 0, lost_ns, ..self }
    }

    /// What the answers of peers that were asked at `asked_ns` mean. Having stepped down stays: what peers can claim they may have claimed.
    #[must_use]
    pub(crate) fn judged(self, verdict: Standing, asked_ns: u64) -> Self {
        if self.verdict == Standing::SteppedDown {
            return self;
        }
        let forever = verdict == Standing::SteppedDown;
        let until = if forever { u64::MAX } else { asked_ns.saturating_add(nanos(VERDICT_MAX)) };
        Self { verdict, verdict_until_ns: until, ..self }
    }

    /// How the node stands at `now_ns`.
    pub(crate) fn standing(self, now_ns: u64) -> Standing {
        if now_ns < self.sure_until_ns {
            return Standing::Sure;
        }
        match self.lost_ns {
            Some(lost_ns) if now_ns < lost_ns.saturating_add(nanos(RETURN_MAX)) && lost_ns > 0 => {
                Standing::Asking
            }
            Some(_) => Standing::SteppedDown,
            None if now_ns < self.verdict_until_ns => self.verdict,
            None => Standing::Asking,
        }
    }

    /// Whether peers should be asked at `now_ns`: the lease is about to end, or may have ended.
    pub(crate) fn needs_peers(self, now_ns: u64) -> bool {
        let ends_soon = now_ns.saturating_add(nanos(ASK_AHEAD)) >= self.sure_until_ns;
        let answered = self.silent_since_ns.is_none() && now_ns < self.sure_until_ns;
        self.lost_ns.is_none() && ends_soon && !answered
    }

    /// How long the standing stays as it is at `now_ns`, if nobody says anything.
    fn unchanged_for(self, now_ns: u64) -> Duration {
        let returned = self.lost_ns.map_or(0, |lost_ns| lost_ns.saturating_add(nanos(RETURN_MAX)));
        let ends = [self.sure_until_ns, self.verdict_until_ns, returned];
        let next = ends.into_iter().filter(|end| *end > now_ns).min();
        next.map_or(Duration::MAX, |end| Duration::from_nanos(end - now_ns))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The lease as it is written by who renews it and by who asks peers.
#[derive(Clone, Debug)]
pub(super) struct LeaseClock {
    view: watch::Sender<LeaseView>,
    close_once: watch::Sender<u64>,
}

impl LeaseClock {
    /// A clock that shows no lease.
    pub(super) fn new() -> Self {
        let (view, close_once) = (watch::channel(LeaseView::none()).0, watch::channel(0).0);
        Self { view, close_once }
    }

    /// The view now.
    pub(super) fn view(&self) -> LeaseView {
        *self.view.borrow()
    }

    /// Replaces the view by what `change` makes of it.
    pub(super) fn change(&self, change: impl FnOnce(LeaseView) -> LeaseView) {
        self.view.send_modify(|view| *view = change(*view));
    }

    /// Has each source closed once.
    pub(super) fn close_once(&self) {
        self.close_once.send_modify(|times| *times += 1);
    }

    /// Who may read it.
    pub(super) fn reader(&self) -> StandingReader {
        StandingReader {
            told: Told::ByLease(self.view.subscribe()),
            seen: Standing::SteppedDown,
            close_once: self.close_once.subscribe(),
        }
    }
}

/// Tells the standing of this node now, and when it changes.
#[derive(Debug)]
pub struct StandingReader {
    told: Told,
    seen: Standing,
    close_once: watch::Receiver<u64>,
}

#[derive(Clone, Debug)]
enum Told {
    Directly(watch::Receiver<Standing>),
    ByLease(watch::Receiver<LeaseView>),
}

/// A clone has seen the standing of its own first moment.
impl Clone for StandingReader {
    fn clone(&self) -> Self {
        let (told, close_once) = (self.told.clone(), self.close_once.clone());
        Self { told, seen: self.now(), close_once }
    }
}

impl StandingReader {
    /// A reader of a standing that `receiver` brings.
    pub fn new(receiver: watch::Receiver<Standing>) -> Self {
        let seen = *receiver.borrow();
        Self { told: Told::Directly(receiver), seen, close_once: watch::channel(0).1 }
    }

    /// A standing that never changes, for a front without a cluster.
    pub fn always(standing: Standing) -> Self {
        Self::new(watch::channel(standing).1)
    }

    /// Lets every change of `close_once` ask for the sources to be closed once, instead of the cluster.
    #[must_use]
    pub fn with_close_once(self, close_once: watch::Receiver<u64>) -> Self {
        Self { close_once, ..self }
    }

    /// The standing now, by the clock of this moment.
    pub fn now(&self) -> Standing {
        match &self.told {
            Told::Directly(receiver) => *receiver.borrow(),
            Told::ByLease(receiver) => receiver.borrow().standing(clock::boot_ns()),
        }
    }

    /// Returns when the standing is another than at the last return (or when the reader was made or cloned); never, if
    /// it will not change any more. Deadlines that pass count too.
    pub async fn changed(&mut self) {
        loop {
            let now = self.now();
            if now != self.seen {
                self.seen = now;
                return;
            }
            match &mut self.told {
                Told::Directly(receiver) => {
                    if receiver.changed().await.is_err() {
                        std::future::pending::<()>().await;
                    }
                }
                Told::ByLease(receiver) => {
                    let quiet = receiver.borrow().unchanged_for(clock::boot_ns()).min(LOOK_EVERY);
                    tokio::select! {
                        Ok(()) = receiver.changed() => {}
                        // Also when nobody writes any more: the lease ends all the same.
                        () = tokio::time::sleep(quiet) => {}
                    }
                }
            }
        }
    }

    /// Completes when every source that is connected at the call should be closed once: no peer answers this node, and
    /// its clients may find the others. Who comes back here afterwards is kept; call it anew for each source.
    pub fn close_once(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut close_once = self.close_once.clone();
        close_once.mark_unchanged();
        async move {
            if close_once.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(3);
    const HOLDING_OVER: Standing = Standing::HoldingOver { alone: false };

    fn ms(ms: u64) -> u64 {
        ms * 1_000_000
    }

    fn answered_at(sent_ms: u64) -> LeaseView {
        LeaseView::none().answered(ms(sent_ms), TTL)
    }

    #[test]
    fn a_node_is_sure_until_a_margin_before_its_lease_can_end() {
        for (why, ttl_ms, at_ms, want) in [
            ("a tenth of three seconds", 3_000, 12_699, Standing::Sure),
            ("a tenth of three seconds", 3_000, 12_700, Standing::Asking),
            ("at least 200 ms", 1_000, 10_799, Standing::Sure),
            ("at least 200 ms", 1_000, 10_800, Standing::Asking),
            ("a lease shorter than its margin", 100, 10_000, Standing::Asking),
        ] {
            let view = LeaseView::none().answered(ms(10_000), Duration::from_millis(ttl_ms));
            assert_eq!(view.standing(ms(at_ms)), want, "{why}: {at_ms}");
        }
    }

    #[test]
    fn without_a_lease_nothing_is_accepted() {
        assert_eq!(LeaseView::none().standing(0), Standing::SteppedDown);
        assert_eq!(LeaseView::none().standing(ms(60_000)), Standing::SteppedDown);
    }

    #[test]
    fn the_word_of_peers_counts_past_the_lease_and_ages() {
        let view = answered_at(10_000).silent(ms(11_000)).judged(HOLDING_OVER, ms(12_500));
        assert_eq!(view.standing(ms(12_600)), Standing::Sure, "the lease comes first");
        assert_eq!(view.standing(ms(12_800)), HOLDING_OVER);
        assert_eq!(view.standing(ms(14_000)), Standing::Asking, "an old word is none");
        let alone = view.judged(Standing::HoldingOver { alone: true }, ms(13_900));
        assert_eq!(alone.standing(ms(14_000)), Standing::HoldingOver { alone: true });
    }

    #[test]
    fn only_etcd_ends_having_stepped_down() {
        let view = answered_at(10_000).silent(ms(11_000)).judged(Standing::SteppedDown, ms(12_700));
        let view = view.judged(HOLDING_OVER, ms(12_900));
        assert_eq!(view.standing(ms(600_000)), Standing::SteppedDown);
        let back = answered_at(600_000);
        assert_eq!(back.standing(ms(600_001)), Standing::Sure);
        assert_eq!(back.standing(ms(603_000)), Standing::Asking, "peers are asked anew");
    }

    #[test]
    fn a_lost_lease_leaves_a_moment_to_come_back() {
        let lost = answered_at(10_000).lost(ms(10_100));
        assert_eq!(lost.standing(ms(10_100)), Standing::Asking);
        assert_eq!(lost.standing(ms(12_100)), Standing::SteppedDown);
        assert_eq!(lost.lost(ms(12_200)).standing(ms(12_200)), Standing::SteppedDown);
        assert_eq!(answered_at(11_000).standing(ms(11_000)), Standing::Sure);
        assert!(!lost.needs_peers(ms(11_000)), "etcd has spoken");
    }

    #[test]
    fn etcd_is_reached_since_the_first_answer_after_the_last_break() {
        let next = |view: LeaseView, sent_ms| view.answered(ms(sent_ms), TTL).reached_since_ns;
        let view = answered_at(10_000);
        for (why, view, sent_ms, want_ms) in [
            ("the first", LeaseView::none(), 10_000, 10_000),
            ("one after the other", view, 11_000, 10_000),
            ("nobody noticed a break", view, 12_699, 10_000),
            ("the daemon was stopped, say", view, 12_700, 12_700),
            ("one was not answered", view.silent(ms(11_000)), 11_500, 11_500),
            ("the lease was lost", view.lost(ms(11_000)), 11_500, 11_500),
        ] {
            assert_eq!(next(view, sent_ms), ms(want_ms), "{why}");
        }
    }

    #[test]
    fn peers_are_asked_shortly_before_an_unanswered_lease_ends() {
        let view = answered_at(10_000);
        assert!(!view.needs_peers(ms(12_600)), "nothing was left unanswered");
        assert!(view.needs_peers(ms(12_700)), "the daemon was stopped, say");
        let silent = view.silent(ms(11_000)).silent(ms(12_000));
        assert_eq!(silent.silent_since_ns, Some(ms(11_000)), "the first counts");
        assert!(!silent.needs_peers(ms(11_399)));
        assert!(silent.needs_peers(ms(11_400)));
    }

    #[tokio::test]
    async fn a_reader_wakes_when_the_lease_ends_though_nobody_speaks() {
        let clock = LeaseClock::new();
        let mut reader = clock.reader();
        clock.change(|view| view.answered(clock::boot_ns(), Duration::from_millis(400)));
        reader.changed().await;
        assert_eq!(reader.now(), Standing::Sure);
        let waiting = tokio::time::timeout(Duration::from_secs(20), reader.changed());
        waiting.await.expect("the deadline wakes the reader");
        assert_eq!(reader.now(), Standing::Asking);
    }

    #[tokio::test]
    async fn a_source_is_closed_once_and_not_again_when_it_returns() {
        let clock = LeaseClock::new();
        let reader = clock.reader();
        let first = reader.close_once();
        clock.close_once();
        tokio::time::timeout(Duration::from_secs(20), first).await.expect("closed");
        let mut returned = Box::pin(reader.close_once());
        let still_open = std::future::poll_fn(|context| {
            std::task::Poll::Ready(returned.as_mut().poll(context).is_pending())
        });
        assert!(still_open.await);
    }
}
