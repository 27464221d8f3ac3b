//! Counts what became of messages: by a batch, so that no message costs a look-up of its metric.

use metrics::{Counter, counter};

use super::policy::Transport;
use super::zone::rcode;

/// The metric that counts replies of userspace.
pub const REPLIES_TOTAL: &str = "autoradio_dns_replies_total";
/// The metric that counts replies of userspace that the rate limit changed.
pub const LIMITED_TOTAL: &str = "autoradio_dns_rate_limited_total";

/// Every code that is replied, and its name.
const RCODES: [(u16, &str); 7] = [
    (rcode::NO_ERROR, "NoError"),
    (rcode::FORM_ERR, "FormErr"),
    (rcode::NX_DOMAIN, "NXDomain"),
    (rcode::NOT_IMP, "NotImp"),
    (rcode::REFUSED, "Refused"),
    (rcode::BAD_VERS, "BadVers"),
    (rcode::BAD_COOKIE, "BadCookie"),
];

/// What became of the messages of one batch.
#[derive(Debug, Default)]
pub(super) struct Tally {
    replies: [u64; RCODES.len()],
    /// Replies that went out truncated, over the rate.
    pub(super) slipped: u64,
    /// Replies not given, over the rate.
    pub(super) dropped: u64,
}

impl Tally {
    /// Counts one reply with this code.
    pub(super) fn reply(&mut self, rcode: u16) {
        let index = RCODES.iter().position(|(known, _)| *known == rcode);
        self.replies[index.unwrap_or_default()] += 1;
    }
}

/// The metrics of one transport, looked up once.
pub(super) struct Counters {
    replies: [Counter; RCODES.len()],
    slipped: Counter,
    dropped: Counter,
}

impl Counters {
    /// Those of `via`.
    pub(super) fn of(via: Transport) -> Self {
        let transport = match via {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
        };
        let replies = RCODES
            .map(|(_, name)| counter!(REPLIES_TOTAL, "rcode" => name, "transport" => transport));
        let limited = |fate: &'static str| counter!(LIMITED_TOTAL, "fate" => fate);
        Self { replies, slipped: limited("slipped"), dropped: limited("dropped") }
    }

    /// Adds a batch and empties it; the number of its replies.
    pub(super) fn add(&self, tally: &mut Tally) -> u64 {
        let Tally { replies, slipped, dropped } = std::mem::take(tally);
        let limited = [(&self.slipped, slipped), (&self.dropped, dropped)];
        for (counter, count) in self.replies.iter().zip(replies).chain(limited) {
            if count > 0 {
                counter.increment(count);
            }
        }
        replies.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_added_once() {
        let (counters, mut tally) = (Counters::of(Transport::Udp), Tally::default());
        for (code, _) in RCODES {
            tally.reply(code);
        }
        tally.dropped = 3;
        assert_eq!(counters.add(&mut tally), 7);
        assert_eq!(counters.add(&mut tally), 0);
        assert_eq!(tally.dropped, 0);
    }
}
