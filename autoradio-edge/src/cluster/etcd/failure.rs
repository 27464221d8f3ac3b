//! What an error of the client library means: whether etcd has answered, and what the operator is told.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use etcd_client::Error;

use super::ClusterError;

/// gRPC status codes (grpc.io, "Status codes and their use in gRPC").
const CODE_NOT_FOUND: i32 = 5;
const CODE_OUT_OF_RANGE: i32 = 11;
/// Cancelled, unknown, deadline exceeded, unavailable: not what somebody says who has understood the question.
const CODES_OF_SILENCE: [i32; 4] = [1, 2, 4, 14];

/// What etcd says, with the code of one that cannot be reached, to a change of members while it has not seen all of them
/// for five seconds.
const UNHEALTHY: &str = "unhealthy cluster";

/// Words for a connection that the other side does not want.
const CLOSED: [&str; 4] =
    ["connection closed", "onnection reset", "roken pipe", "h2 protocol error"];

/// Words of the TLS library or of etcd that need it, and what they mean.
const MEANINGS: [(&str, &str); 10] = [
    (
        "CertificateRequired",
        "it wants a client certificate; give --etcd-ca, --etcd-cert, --etcd-key",
    ),
    ("BadCertificate", "it refuses our certificate"),
    ("UnknownCA", "it does not know the authority that signed our certificate"),
    ("DecryptError", "it refuses our certificate: another authority of the same name signed it"),
    ("CertificateExpired", "our certificate is out of date"),
    ("UnknownIssuer", "its certificate is not signed by the authority in --etcd-ca"),
    ("BadSignature", "its certificate is not signed by the authority in --etcd-ca"),
    ("invalid peer certificate", "its certificate is not good for this address"),
    ("InvalidContentType", "it speaks plain http://, not TLS"),
    (
        "database space exceeded",
        "its database is full, so it takes no changes; run etcdctl defrag for each member, then etcdctl alarm disarm",
    ),
];

/// Why a question has no answer.
#[derive(Debug)]
pub(super) struct Failure {
    code: Option<i32>,
    reason: String,
    never_sent: bool,
    lease_lost: bool,
}

impl Failure {
    /// What the library says.
    pub(super) fn of(error: &Error) -> Self {
        let (code, cause): (_, &(dyn StdError + 'static)) = match error {
            Error::GRpcStatus(status) => (Some(status.code() as i32), status),
            other => (None, other),
        };
        let lease_over = |reason: &String| reason.contains("not found");
        Self {
            code,
            reason: root_cause(cause),
            never_sent: code.is_some() && never_sent(cause),
            lease_lost: matches!(error, Error::LeaseKeepAliveError(reason) if lease_over(reason)),
        }
    }

    /// Nothing came for so long.
    pub(super) fn silence(waited: Duration) -> Self {
        let reason = format!("no answer in {} ms", waited.as_millis());
        Self { code: None, reason, never_sent: false, lease_lost: false }
    }

    /// Whether somebody has understood the question and said no: asking elsewhere would not help.
    pub(super) fn is_answer(&self) -> bool {
        let refusal =
            |code: i32| !CODES_OF_SILENCE.contains(&code) || self.reason.contains(UNHEALTHY);
        self.lease_lost || self.code.is_some_and(refusal)
    }

    /// Whether dialling failed, so that etcd cannot have seen the question.
    pub(super) fn never_sent(&self) -> bool {
        self.never_sent
    }

    /// In words.
    pub(super) fn reason(&self) -> &str {
        &self.reason
    }

    /// What a connection that is closed in the middle of nothing may mean.
    fn hint(&self, tls: bool) -> &'static str {
        let closed = CLOSED.iter().any(|words| self.reason.contains(words));
        match (closed, tls) {
            (true, true) => ", as etcd does when it refuses our certificate",
            (true, false) => ", as etcd does when it wants https:// and a certificate",
            (false, _) => "",
        }
    }

    /// For whoever asked.
    pub(super) fn explain(self, endpoints: &str) -> ClusterError {
        let endpoints = endpoints.to_owned();
        match self.code {
            _ if self.lease_lost => ClusterError::LeaseLost,
            Some(CODE_NOT_FOUND) if self.reason.contains("lease") => ClusterError::LeaseLost,
            Some(CODE_OUT_OF_RANGE) if self.reason.contains("compacted") => ClusterError::Compacted,
            Some(_) if self.is_answer() => ClusterError::Refused { endpoints, reason: self.reason },
            _ => {
                let hint = self.hint(endpoints.starts_with("https://"));
                ClusterError::Unreachable { endpoints, reason: self.reason + hint }
            }
        }
    }
}

fn causes<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}

/// The innermost cause: "Connection refused" instead of "transport error".
fn root_cause(error: &(dyn StdError + 'static)) -> String {
    let innermost = causes(error).last().unwrap_or(error);
    // A status prints its code, message and metadata; its quoted message alone is for people.
    let text = innermost.to_string();
    let message = text.split_once("message: \"").and_then(|(_, rest)| rest.split_once('"'));
    let text = message.map_or_else(|| text.clone(), |(message, _)| message.to_owned());
    let known = MEANINGS.iter().find(|(words, _)| text.contains(words));
    known.map_or_else(|| text.clone(), |(_, meaning)| format!("{meaning} ({text})"))
}

fn never_sent(error: &(dyn StdError + 'static)) -> bool {
    causes(error).filter_map(|cause| cause.downcast_ref::<io::Error>()).any(|cause| {
        use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable};
        matches!(cause.kind(), ConnectionRefused | HostUnreachable | NetworkUnreachable)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(code: i32, reason: &str) -> Failure {
        Failure {
            code: Some(code),
            reason: reason.to_owned(),
            never_sent: false,
            lease_lost: false,
        }
    }

    #[test]
    fn only_who_has_understood_the_question_gives_an_answer() {
        for (why, code, reason, answer) in [
            ("no leader", 14, "etcdserver: no leader", false),
            ("not asked to vote yet", 14, "etcdserver: rpc not supported for learner", false),
            ("too slow", 4, "context deadline exceeded", false),
            ("a change of members must wait", 14, "etcdserver: unhealthy cluster", true),
            ("a learner that lags", 9, "can only promote a learner in sync with leader", true),
            ("a lease that is over", 5, "etcdserver: requested lease not found", true),
        ] {
            assert_eq!(failure(code, reason).is_answer(), answer, "{why}");
        }
        assert!(!Failure::silence(Duration::from_secs(1)).is_answer());
    }

    #[test]
    fn errors_are_told_by_what_is_to_be_done() {
        let told = |code, reason, url: &str| failure(code, reason).explain(url);
        let compacted = told(11, "mvcc: required revision has been compacted", "http://a");
        assert!(matches!(compacted, ClusterError::Compacted));
        assert!(matches!(
            told(5, "requested lease not found", "http://a"),
            ClusterError::LeaseLost
        ));
        assert!(matches!(
            told(8, "database space exceeded", "http://a"),
            ClusterError::Refused { .. }
        ));
        let full = io::Error::other("etcdserver: mvcc: database space exceeded");
        assert!(root_cause(&full).contains("alarm disarm"), "{}", root_cause(&full));
        for (url, want) in
            [("https://a", "refuses our certificate"), ("http://a", "wants https://")]
        {
            let closed = told(14, "connection closed", url).to_string();
            assert!(closed.contains(want), "{closed}");
        }
    }
}
