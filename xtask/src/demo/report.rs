//! What a demo shows, and whether all of it is as promised. Pure.

use anyhow::{Result, bail};
use serde::Serialize;

/// Least length of what the listener heard, of the ten seconds that it listened.
const SECONDS_MIN: f64 = 8.0;

/// The result, in the form that `--json` prints.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    pub(super) nodes: usize,
    pub(super) dns: Dns,
    pub(super) audio: Audio,
    pub(super) xdp_mode: String,
    pub(super) failover: Failover,
    pub(super) drain: Drain,
}

/// What the first part of a demo shows.
#[derive(Clone, Debug)]
pub(super) struct Heard {
    pub(super) dns: Dns,
    pub(super) audio: Audio,
    pub(super) xdp_mode: String,
}

/// The loss of the mount's master, in milliseconds since then.
#[derive(Clone, Debug, Serialize)]
#[expect(clippy::struct_field_names, reason = "the names of the JSON, which carry their unit")]
pub(super) struct Failover {
    /// Until its source was accepted again.
    pub(super) source_back_ms: u64,
    /// Until a new listener heard it.
    pub(super) listener_back_ms: u64,
    /// Until no answer named the lost node.
    pub(super) dns_clean_ms: u64,
}

/// The drain of a node, in milliseconds since the operator's command.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Drain {
    /// Until no answer named the node.
    pub(super) dns_clean_ms: u64,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Dns {
    pub(super) answers: u64,
    pub(super) kernel_answers: u64,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Audio {
    pub(super) bytes: u64,
    pub(super) codec: String,
    pub(super) seconds: f64,
}

impl Report {
    pub(super) fn new(nodes: usize, heard: Heard, failover: Failover, drain: Drain) -> Self {
        let Heard { dns, audio, xdp_mode } = heard;
        Self { nodes, dns, audio, xdp_mode, failover, drain }
    }

    /// For people.
    pub(super) fn table(&self) -> String {
        let Self { nodes, dns, audio, xdp_mode, failover, drain } = self;
        let Failover { source_back_ms, listener_back_ms, dns_clean_ms } = failover;
        let rows = [
            ("nodes", nodes.to_string()),
            ("DNS answers", format!("{}, {} by the kernel", dns.answers, dns.kernel_answers)),
            ("XDP mode", xdp_mode.clone()),
            ("listener heard", format!("{} bytes of {}", audio.bytes, audio.codec)),
            ("that is", format!("{:.1} seconds", audio.seconds)),
            ("master killed", format!("source back after {source_back_ms} ms")),
            ("", format!("a new listener heard it after {listener_back_ms} ms")),
            ("", format!("out of DNS after {dns_clean_ms} ms")),
            ("node drained", format!("out of DNS after {} ms", drain.dns_clean_ms)),
        ];
        let rows = rows.map(|(what, value)| format!("{what:<16}{value}"));
        rows.join("\n")
    }

    /// An error that names everything which is not as promised.
    pub(super) fn check(&self) -> Result<()> {
        let Self { dns, audio, xdp_mode, .. } = self;
        let wrong: Vec<String> = [
            (dns.kernel_answers < 1).then(|| "the kernel answered no query".to_owned()),
            (audio.codec != "mp3").then(|| format!("what came is {:?}, not mp3", audio.codec)),
            (audio.seconds < SECONDS_MIN).then(|| {
                format!("only {:.1} of {SECONDS_MIN} seconds of audio came", audio.seconds)
            }),
            (xdp_mode != "native").then(|| format!("XDP runs in mode {xdp_mode:?}, not native")),
        ]
        .into_iter()
        .flatten()
        .collect();
        if wrong.is_empty() { Ok(()) } else { bail!("{}", wrong.join("; ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Report {
        Report {
            nodes: 3,
            dns: Dns { answers: 3, kernel_answers: 2 },
            audio: Audio { bytes: 160_000, codec: "mp3".to_owned(), seconds: 10.5 },
            xdp_mode: "native".to_owned(),
            failover: Failover {
                source_back_ms: 3_400,
                listener_back_ms: 3_700,
                dns_clean_ms: 3_100,
            },
            drain: Drain { dns_clean_ms: 200 },
        }
    }

    #[test]
    fn the_json_has_exactly_the_promised_form() {
        let want = r#"{"nodes":3,"dns":{"answers":3,"kernel_answers":2},"#.to_owned()
            + r#""audio":{"bytes":160000,"codec":"mp3","seconds":10.5},"xdp_mode":"native","#
            + r#""failover":{"source_back_ms":3400,"listener_back_ms":3700,"dns_clean_ms":3100},"#
            + r#""drain":{"dns_clean_ms":200}}"#;
        assert_eq!(serde_json::to_string(&good()).unwrap(), want);
    }

    #[test]
    fn a_demo_counts_only_if_all_of_it_is_true() {
        good().check().unwrap();
        let mut silent = good();
        silent.audio.codec.clear();
        silent.dns.kernel_answers = 0;
        let text = silent.check().unwrap_err().to_string();
        assert!(text.contains("kernel answered no") && text.contains("not mp3"), "{text}");
    }
}
