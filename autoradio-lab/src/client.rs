//! A client host: it resolves names through the lab's nodes, as a user's machine would.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Stdio;

use crate::LabError;
use crate::host::{Host, Running};
use crate::{command, media, netns};

/// Resolvers that the C library reads at most.
const RESOLVERS_MAX: usize = 3;

/// A host for sources and listeners.
#[derive(Debug)]
pub struct Client {
    host: Host,
}

impl Client {
    pub(crate) fn new(host: Host) -> Self {
        Self { host }
    }

    /// The host it is.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Makes the nodes this host's resolvers.
    pub(crate) fn use_resolvers(&self, nodes: &[Ipv4Addr]) -> Result<(), LabError> {
        netns::write_etc(self.host.namespace(), "resolv.conf", &resolv_conf(nodes))
    }

    /// What `dig` says are the addresses of `name`; empty when it gets none.
    pub fn dig(&self, name: &str) -> Result<Vec<Ipv4Addr>, LabError> {
        let answer = self.host.run("dig", &["+short", "+time=1", "+tries=2", name, "A"])?;
        Ok(answer.lines().filter_map(|line| line.parse().ok()).collect())
    }

    /// Starts ffmpeg as a source of a tone in MP3, until it is dropped.
    pub fn stream_tone(&self, url: &str) -> Result<Running, LabError> {
        let args = media::tone_source_args(url);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        self.host.spawn("ffmpeg", &args, "source")
    }

    /// Starts a source that starts again whenever it ends, at most `attempts` times, half a second
    /// apart: what a broadcaster's client set to reconnect does.
    pub fn stream_tone_again(&self, url: &str, attempts: u32) -> Result<Running, LabError> {
        let script = "for i in $(seq \"$0\"); do \"$@\"; sleep 0.5; done";
        let (attempts, tone) = (attempts.to_string(), media::tone_source_args(url));
        let mut args = vec!["-c", script, &attempts, "ffmpeg"];
        args.extend(tone.iter().map(String::as_str));
        self.host.spawn("sh", &args, "source")
    }

    /// Starts curl as a listener for `seconds`, then it ends. Returns it and the file it writes.
    pub fn listen(&self, url: &str, seconds: u32) -> Result<(Running, PathBuf), LabError> {
        let file = self.host.folder().join("heard");
        let mut curl = self.host.command("curl");
        curl.args(["--silent", "--show-error", "--fail", "--location", "--max-time"]);
        curl.arg(seconds.to_string()).arg("--output").arg(&file).arg(url);
        Ok((Running::start(curl, &self.host.folder().join("listener.log"))?, file))
    }

    /// Whether one ping reaches the address.
    pub fn reaches(&self, address: &str) -> bool {
        let mut ping = self.host.command("ping");
        ping.args(["-c", "1", "-W", "1", address]).stdout(Stdio::null());
        command::output(ping).is_ok_and(|output| output.status.success())
    }
}

fn resolv_conf(nodes: &[Ipv4Addr]) -> String {
    let mut lines: Vec<String> =
        nodes.iter().take(RESOLVERS_MAX).map(|node| format!("nameserver {node}")).collect();
    lines.push("options timeout:1 attempts:2\n".to_owned());
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_asks_at_most_three_nodes_and_gives_up_soon() {
        let nodes = [11, 12, 13, 14].map(|last| Ipv4Addr::new(198, 18, 0, last));
        let text = resolv_conf(&nodes);
        assert_eq!(text.matches("nameserver").count(), 3);
        assert!(text.ends_with("options timeout:1 attempts:2\n"));
    }
}
