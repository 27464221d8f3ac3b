//! What the kernel program decided about a packet: one list for the kernel's counters, the metric labels and the tests.

/// Declares [`Verdict`], its order and its labels in one place.
macro_rules! verdicts {
    ($($(#[$doc:meta])* $name:ident = $label:literal,)+) => {
        /// The end of one packet's way through the program. Numbered from 0 without gaps: the index of its counter.
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Verdict {
            $($(#[$doc])* $name,)+
        }

        impl Verdict {
            /// Every verdict, in order of its number.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The verdict's name in metrics and reports.
            pub const fn label(self) -> &'static str {
                match self {
                    $(Self::$name => $label,)+
                }
            }
        }
    };
}

verdicts! {
    /// The reply was written over the query and sent back, with records.
    Answered = "answered",
    /// Answered: the name exists, the type does not.
    AnsweredNoData = "answered_no_data",
    /// Answered: the name does not exist.
    AnsweredNxDomain = "answered_nx_domain",
    /// Answered without records and TC=1: they are over the client's size.
    AnsweredTruncated = "answered_truncated",
    /// Answered without records and TC=1: the client's network is over its rate, and this is the one of many that tells it.
    AnsweredSlip = "answered_slip",
    /// Passed: neither IPv4 nor IPv6, or VLAN-tagged.
    PassNotIp = "pass_not_ip",
    /// Passed: an IP header that is cut, or IPv4 with options or in fragments.
    PassIpHeader = "pass_ip_header",
    /// Passed: not UDP to port 53, or behind an IPv6 extension header.
    PassNotDns = "pass_not_dns",
    /// Passed: not to one of this node's addresses.
    PassNotOurs = "pass_not_ours",
    /// Passed: sent by whom one must not answer (port 0, a group or unspecified address), or to a group.
    PassBadSource = "pass_bad_source",
    /// Passed: shorter or longer than a query the kernel answers, or lengths that disagree.
    PassLength = "pass_length",
    /// Passed: not a standard query with one question (a response, another opcode, more records).
    PassNotQuery = "pass_not_query",
    /// Passed: a name that is too long, compressed or malformed, or a class other than IN.
    PassQuestion = "pass_question",
    /// Passed: EDNS the kernel leaves to userspace (another version, malformed, an option that wants a reply).
    PassEdns = "pass_edns",
    /// Passed: a name outside the zone, one that the kernel's maps may lack, or a type that is no record's, such as ANY.
    PassNoRecord = "pass_no_record",
    /// Passed: the daemon has not renewed its lease.
    PassLeaseOver = "pass_lease_over",
    /// Passed: the packet could not be made large enough.
    PassNoRoom = "pass_no_room",
    /// Dropped: the client's network is over its rate.
    DropRateLimited = "drop_rate_limited",
    /// Dropped: the packet was resized, but the reply could not be written.
    DropWriteFailed = "drop_write_failed",
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The reply goes back through the interface.
    Answered,
    /// The packet goes up to the network stack, with every byte as it came.
    Passed,
    /// The packet is gone.
    Dropped,
}

impl Verdict {
    /// Number of verdicts.
    pub const COUNT: usize = Self::ALL.len();

    /// What becomes of the packet.
    #[inline(always)]
    pub const fn fate(self) -> Fate {
        match self {
            Self::Answered
            | Self::AnsweredNoData
            | Self::AnsweredNxDomain
            | Self::AnsweredTruncated
            | Self::AnsweredSlip => Fate::Answered,
            Self::DropRateLimited | Self::DropWriteFailed => Fate::Dropped,
            _ => Fate::Passed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_are_numbered_in_order_and_named_once() {
        for (index, verdict) in Verdict::ALL.iter().enumerate() {
            assert_eq!(*verdict as usize, index, "{verdict:?}");
            let same = Verdict::ALL.iter().filter(|other| other.label() == verdict.label());
            assert_eq!(same.count(), 1, "{verdict:?}");
            let fate = match verdict.label().split_once('_').map_or(verdict.label(), |it| it.0) {
                "answered" => Fate::Answered,
                "pass" => Fate::Passed,
                "drop" => Fate::Dropped,
                other => panic!("{other}"),
            };
            assert_eq!(verdict.fate(), fate, "{verdict:?}");
        }
    }
}
