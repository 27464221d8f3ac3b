//! What all servers answer with: the zone and the policy in force, and the buckets of the rate limit.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::{ArcSwap, Guard};
use autoradio_common::rate::Rate;

use super::limiter::Limiter;
use super::policy::{Asked, Policy, Transport, client_prefix};
use super::reply::Replied;
use super::respond::respond;
use super::tally::{Counters, Tally};
use super::zone::Zone;

/// What the servers answer with: a zone and a policy, each swapped whole when it changes.
#[derive(Debug)]
pub struct Responder {
    zone: ArcSwap<Zone>,
    policy: ArcSwap<Policy>,
    limiter: Limiter,
    replies: AtomicU64,
}

impl Responder {
    /// A responder that answers from `zone` as `policy` says.
    pub fn new(zone: Arc<Zone>, policy: Policy) -> Arc<Self> {
        let (zone, policy) = (ArcSwap::new(zone), ArcSwap::from_pointee(policy));
        let limiter = Limiter::new(rand::random());
        Arc::new(Self { zone, policy, limiter, replies: AtomicU64::new(0) })
    }

    /// Puts a new zone in force for every batch of messages from now on.
    pub fn publish(&self, zone: Arc<Zone>) {
        self.zone.store(zone);
    }

    /// Puts a new policy in force for every batch of messages from now on.
    pub fn set_policy(&self, policy: Policy) {
        self.policy.store(Arc::new(policy));
    }

    /// Replies given since the start.
    pub fn replies(&self) -> u64 {
        self.replies.load(Ordering::Relaxed)
    }

    /// What holds for one batch of messages: `unix_s` for cookies, `now_ns` of the boot-time clock for rates.
    pub(super) fn moment(&self, unix_s: u64, now_ns: u64) -> Moment<'_> {
        Moment {
            zone: self.zone.load(),
            policy: self.policy.load(),
            limiter: &self.limiter,
            // Cookies take the time modulo 2³² (RFC 9018 §4.3).
            unix_s: unix_s as u32,
            now_ns,
        }
    }

    /// Counts a batch, and empties it.
    pub(super) fn count(&self, counters: &Counters, tally: &mut Tally) {
        self.replies.fetch_add(counters.add(tally), Ordering::Relaxed);
    }
}

/// What holds for one batch of messages.
pub(super) struct Moment<'a> {
    zone: Guard<Arc<Zone>>,
    policy: Guard<Arc<Policy>>,
    limiter: &'a Limiter,
    unix_s: u32,
    now_ns: u64,
}

impl Moment<'_> {
    /// Answers one message into `out`; `false`: nothing may be sent.
    pub(super) fn answer(
        &self,
        message: &[u8],
        (client, via): (IpAddr, Transport),
        tally: &mut Tally,
        out: &mut Vec<u8>,
    ) -> bool {
        let (policy, draw, unix_s) = (&self.policy, rand::random(), self.unix_s);
        let asked = Asked { policy, client, draw, unix_s, via };
        let Some(mut replied) = respond(message, &self.zone, &asked, out) else {
            return false;
        };
        match self.rate(&replied, &asked) {
            Rate::Answer => {}
            Rate::Slip if replied.may_slip() => {
                replied.truncate(out);
                tally.slipped += 1;
            }
            Rate::Slip | Rate::Drop => {
                tally.dropped += 1;
                return false;
            }
        }
        tally.reply(replied.rcode);
        true
    }

    /// A client whose address nobody can have forged is answered at any rate: by its cookie, or by its connection.
    fn rate(&self, replied: &Replied, asked: &Asked<'_>) -> Rate {
        let limit = &self.policy.rate;
        if !limit.is_on() || asked.via == Transport::Tcp || replied.is_verified() {
            return Rate::Answer;
        }
        self.limiter.take(client_prefix(asked.client), limit, self.now_ns)
    }
}

#[cfg(test)]
mod tests {
    use autoradio_common::cookie::CookieKeys;
    use autoradio_common::rate::RateLimit;

    use super::*;
    use crate::dns::{ZoneSettings, compile};
    use crate::placement::Placement;

    const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const CLIENT_COOKIE: &[u8] = b"\0\0\x29\x04\xd0\0\0\0\0\0\x0c\0\x0a\0\x08abcdefgh";

    /// A query for the SOA of `name`.
    fn query(name: &[u8], opt: &[u8]) -> Vec<u8> {
        let head = [0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(!opt.is_empty())];
        [&head[..], name, &[0, 6, 0, 1], opt].concat()
    }

    fn responder() -> Arc<Responder> {
        let settings = ZoneSettings::new("example", 3, &[]).expect("settings");
        let zone = Arc::new(compile(&Placement::default(), &settings));
        let cookies = CookieKeys { current: [1, 2], other: [0; 2] };
        let rate = RateLimit::per_second(2, 2);
        Responder::new(zone, Policy { cookies, rate, ..Policy::named("node1".to_owned()) })
    }

    /// What `count` equal queries are answered: in full, truncated, not at all.
    fn fates(responder: &Responder, query: &[u8], via: Transport, count: u32) -> [u32; 3] {
        let (moment, mut tally, mut out) = (responder.moment(1, 1), Tally::default(), Vec::new());
        let mut fates = [0; 3];
        for _ in 0..count {
            let sent = moment.answer(query, (CLIENT, via), &mut tally, &mut out);
            fates[if sent { usize::from(out[2] & 2 != 0) } else { 2 }] += 1;
        }
        responder.count(&Counters::of(via), &mut tally);
        assert_eq!(responder.replies(), u64::from(fates[0] + fates[1]));
        fates
    }

    const IN_ZONE: &[u8] = b"\x07example\0";

    #[test]
    fn over_the_rate_every_second_answer_is_truncated_and_the_rest_are_dropped() {
        assert_eq!(fates(&responder(), &query(IN_ZONE, b""), Transport::Udp, 10), [2, 4, 4]);
    }

    #[test]
    fn errors_over_the_rate_are_dropped_since_tcp_would_tell_no_more() {
        let outside = query(b"\x07elsewhe\0", b"");
        assert_eq!(fates(&responder(), &outside, Transport::Udp, 10), [2, 0, 8]);
    }

    #[test]
    fn tcp_is_not_limited() {
        assert_eq!(fates(&responder(), &query(IN_ZONE, b""), Transport::Tcp, 10), [10, 0, 0]);
    }

    #[test]
    fn a_valid_cookie_is_answered_at_any_rate_and_a_clients_alone_is_not() {
        let responder = responder();
        let asks = query(IN_ZONE, CLIENT_COOKIE);
        let (moment, mut tally, mut out) = (responder.moment(1, 1), Tally::default(), Vec::new());
        assert!(moment.answer(&asks, (CLIENT, Transport::Tcp), &mut tally, &mut out));
        let mut knows = query(IN_ZONE, &CLIENT_COOKIE[..11]);
        let option = out[out.len() - 28..].to_vec();
        let length = knows.len();
        knows[length - 1] = 28;
        knows.extend_from_slice(&option);
        assert_eq!(fates(&responder, &knows, Transport::Udp, 10), [10, 0, 0]);
        let other = self::responder();
        assert_eq!(fates(&other, &asks, Transport::Udp, 10), [2, 4, 4]);
    }

    #[test]
    fn a_policy_is_in_force_for_the_next_batch() {
        let responder = responder();
        responder.set_policy(Policy::named("node1".to_owned()));
        assert_eq!(fates(&responder, &query(IN_ZONE, b""), Transport::Udp, 10), [10, 0, 0]);
    }
}
