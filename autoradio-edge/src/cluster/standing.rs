//! Whether this node may go on as master of what it holds.

use tokio::sync::watch;

/// How a node stands towards its masterships.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Its lease certainly lives: nobody else can hold its mounts.
    Sure,
    /// Its lease may have ended, and somebody else may hold its mounts: it takes no source.
    SteppedDown,
    /// Its lease may have ended, but nobody can claim: it keeps its mounts and their sources.
    HoldingOver {
        /// No peer answers at all.
        alone: bool,
    },
}

impl Standing {
    /// Whether sources of mounts that this node holds may be accepted and kept.
    pub fn may_accept(self) -> bool {
        self != Self::SteppedDown
    }
}

/// Tells the standing of this node now, and when it changes.
#[derive(Clone, Debug)]
pub struct StandingReader {
    receiver: watch::Receiver<Standing>,
}

impl StandingReader {
    /// A reader of a standing that `receiver` brings.
    pub fn new(receiver: watch::Receiver<Standing>) -> Self {
        Self { receiver }
    }

    /// A standing that never changes, for a front without a cluster.
    pub fn always(standing: Standing) -> Self {
        Self { receiver: watch::channel(standing).1 }
    }

    /// The standing now.
    pub fn now(&self) -> Standing {
        *self.receiver.borrow()
    }

    /// Returns when the standing has changed; never, if it will not any more.
    pub async fn changed(&mut self) {
        if self.receiver.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
