//! What a node's own etcd says of its cluster, asked with `etcdctl`. Reading its answers is pure.

use std::process::Command;

use serde::Deserialize;

use crate::LabError;
use crate::host::Host;
use crate::tls::Files;

const PORT: u16 = 2379;
/// Longest time for one answer.
const TIMEOUT: &str = "--command-timeout=2s";

/// `etcdctl` on the host, against the host's own etcd.
pub(crate) fn etcdctl(host: &Host, certificates: Option<&Files>, args: &[&str]) -> Command {
    let mut command = host.command("etcdctl");
    command.env("ETCDCTL_API", "3").arg(TIMEOUT);
    let scheme = if certificates.is_some() { "https" } else { "http" };
    command.arg(format!("--endpoints={scheme}://127.0.0.1:{PORT}"));
    if let Some(files) = certificates {
        for (flag, path) in
            [("--cacert", &files.ca), ("--cert", &files.cert), ("--key", &files.key)]
        {
            command.arg(flag).arg(path);
        }
    }
    command.args(args);
    command
}

/// Whether the etcd that gave this `endpoint status` leads.
pub(crate) fn leads(answer: &str) -> Result<bool, LabError> {
    #[derive(Deserialize)]
    struct Endpoint {
        #[serde(rename = "Status")]
        status: Status,
    }
    #[derive(Deserialize)]
    struct Status {
        header: Header,
        #[serde(default)]
        leader: u64,
    }
    #[derive(Deserialize)]
    struct Header {
        member_id: u64,
    }
    let endpoints: Vec<Endpoint> = read(answer)?;
    Ok(endpoints.iter().any(|endpoint| endpoint.status.leader == endpoint.status.header.member_id))
}

/// Names of the members in a `member list` that vote.
pub(crate) fn voters(answer: &str) -> Result<Vec<String>, LabError> {
    #[derive(Deserialize)]
    struct Answer {
        members: Vec<Member>,
    }
    #[derive(Deserialize)]
    struct Member {
        #[serde(default)]
        name: String,
        #[serde(default, rename = "isLearner")]
        learner: bool,
    }
    let Answer { members } = read(answer)?;
    // A member without a name has been added and has not started.
    let started = members.into_iter().filter(|member| !member.learner && !member.name.is_empty());
    Ok(started.map(|member| member.name).collect())
}

fn read<T: serde::de::DeserializeOwned>(answer: &str) -> Result<T, LabError> {
    serde_json::from_str(answer)
        .map_err(|source| LabError::Answer { what: "etcdctl".to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_etcd_leads_if_it_names_itself() {
        for (leader, want) in [(7, true), (8, false), (0, false)] {
            let answer = format!(
                r#"[{{"Endpoint":"x","Status":{{"header":{{"member_id":7}},"leader":{leader}}}}}]"#
            );
            assert_eq!(leads(&answer).unwrap(), want, "leader {leader}");
        }
    }

    #[test]
    fn learners_and_members_that_never_started_do_not_vote() {
        let answer = r#"{"header":{},"members":[{"ID":1,"name":"node1"},
            {"ID":2,"name":"node2","isLearner":true},{"ID":3}]}"#;
        assert_eq!(voters(answer).unwrap(), ["node1"]);
    }
}
