//! Looking into DNS while it runs: `radioctl dns` shows what becomes of queries, on the node that gets them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use autoradio_lab::{Lab, Node};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(20);

fn lab() -> Lab {
    let lab = Lab::builder().nodes(1).clients(1).build().expect("a lab");
    lab.start_nodes().expect("the node is ready");
    lab
}

/// Asks the node once for a type of a name.
fn dig(lab: &Lab, name: &str, kind: &str) {
    let server = format!("@{}", lab.node(1).host().v4());
    let args = [server.as_str(), "+time=2", "+tries=1", name, kind];
    lab.client(1).host().run("dig", &args).expect("dig gets a reply");
}

/// Rows of `radioctl dns stats`: by whom, verdict, total.
fn stats(node: &Node) -> Vec<(String, String, u64)> {
    let rows: Vec<Value> = node.radioctl(&["dns", "stats"]).expect("stats");
    let text = |row: &Value, field: &str| row[field].as_str().expect("a word").to_owned();
    let row = |row: &Value| {
        (text(row, "by"), text(row, "verdict"), row["total"].as_u64().expect("a count"))
    };
    rows.iter().map(row).collect()
}

fn count(rows: &[(String, String, u64)], by: &str, verdict: &str) -> u64 {
    let row = rows.iter().find(|row| row.0 == by && row.1 == verdict);
    row.map_or(0, |row| row.2)
}

#[test]
#[ignore = "needs root and namespaces: cargo xtask test"]
fn stats_count_what_kernel_and_userspace_answer() {
    let lab = lab();
    let before = stats(lab.node(1));
    for _ in 0..3 {
        dig(&lab, lab.domain(), "A");
    }
    dig(&lab, lab.domain(), "HTTPS");
    let chaos = ["@198.18.0.11", "+time=2", "+tries=1", "CH", "version.bind", "TXT"];
    lab.client(1).host().run("dig", &chaos).expect("dig gets a reply");
    let after = stats(lab.node(1));
    for (by, verdict, want) in [
        ("kernel", "answered", 3),
        ("kernel", "answered_no_data", 1),
        ("kernel", "pass_question", 1),
        ("userspace", "Refused udp", 1),
    ] {
        let grown = count(&after, by, verdict) - count(&before, by, verdict);
        assert_eq!(grown, want, "{by} {verdict}: {before:?} {after:?}");
    }
    let socket = lab.node(1).host().folder().join("state/radioctl.sock");
    let mode = fs::metadata(&socket).expect("the socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "only the operator sees who asks for what");
    lab.node(1).stop(SOON).expect("stopped");
    let refused = lab.node(1).radioctl_text(&["dns", "stats"]).expect_err("no daemon").to_string();
    assert!(refused.contains("no daemon answers at"), "{refused}");
}

#[test]
#[ignore = "needs root and namespaces: cargo xtask test"]
fn a_trace_shows_the_queries_for_its_name_and_ends_the_tracing_with_itself() {
    let lab = lab();
    let host = lab.node(1).host();
    let (radioctl, state) = (lab.program("radioctl").expect("built"), host.folder().join("state"));
    let state = state.to_string_lossy().into_owned();
    let name = format!("node1.{}", lab.domain());
    let args = ["--state-dir", &state, "dns", "trace", "--name", &name, "--count", "2"];
    let log = host.folder().join("trace.log");
    let args = [args.as_slice(), &["--timeout", "30", "-o", "json"]].concat();
    let mut trace = host.spawn(&radioctl, &args, "trace").expect("started");
    lab.wait_until("both queries are shown", SOON, || {
        dig(&lab, lab.domain(), "A");
        dig(&lab, &name, "HTTPS");
        trace.ended().is_some()
    })
    .expect("the trace ends");
    let shown = fs::read_to_string(&log).expect("what it wrote");
    let lines: Vec<Value> =
        shown.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 2, "{shown}");
    for line in &lines {
        assert_eq!(line["name"], format!("{name}."), "{shown}");
        assert_eq!(line["verdict"], "answered_no_data", "{shown}");
        assert_eq!(line["qtype"], 65, "{shown}");
        assert_eq!(line["client"], lab.client(1).host().v4().to_string(), "{shown}");
    }
    let refused = lab.node(1).radioctl_text(&["dns", "trace", "--name", "a..b"]);
    let refused = refused.expect_err("no name").to_string();
    assert!(refused.contains("no name that the kernel looks at"), "{refused}");
}

#[test]
#[ignore = "needs root and namespaces: cargo xtask test"]
fn the_program_is_timed_for_as_long_as_was_asked() {
    let lab = lab();
    let node = lab.node(1);
    let timed = std::thread::scope(|scope| {
        let timing = scope.spawn(|| {
            node.radioctl::<Value>(&["dns", "latency", "--seconds", "4"]).expect("timed")
        });
        lab.wait_until("the timing ends", SOON, || {
            dig(&lab, lab.domain(), "A");
            timing.is_finished()
        })
        .expect("the timing ends");
        timing.join().expect("no panic")
    });
    let queries = timed["queries"].as_u64().expect("a count");
    assert!(queries > 0, "{timed}");
    let median = &timed["percentiles"][0];
    assert_eq!(median["percent"], "50", "{timed}");
    assert!((32..1_000_000).contains(&median["at_most_ns"].as_u64().expect("a time")), "{timed}");
    let later: Value = node.radioctl(&["dns", "latency", "--seconds", "1"]).expect("timed");
    assert_eq!(later["queries"], 0, "nobody asked: {later}");
}

#[test]
#[ignore = "needs root and namespaces: cargo xtask test"]
fn a_node_that_stops_ends_those_who_look_and_waits_for_none() {
    let lab = lab();
    let host = lab.node(1).host();
    let (radioctl, state) = (lab.program("radioctl").expect("built"), host.folder().join("state"));
    let in_state = state.to_string_lossy().into_owned();
    let look = |what: &[&str], log: &str| {
        let args = [&["--state-dir", &in_state, "dns"], what].concat();
        host.spawn(&radioctl, &args, log).expect("started")
    };
    let mut looks = [
        look(&["trace", "-o", "json"], "trace"),
        look(&["latency", "--seconds", "3600"], "latency"),
    ];
    lab.wait_until("the trace runs", SOON, || {
        dig(&lab, lab.domain(), "A");
        fs::read_to_string(host.folder().join("trace.log")).is_ok_and(|shown| !shown.is_empty())
    })
    .expect("a query is shown");
    lab.node(1).stop(SOON).expect("stopped");
    lab.wait_until("both have ended", SOON, || looks.iter_mut().all(|look| look.ended().is_some()))
        .expect("nobody looks any more");
    assert!(!state.join("radioctl.sock").exists(), "the socket went with the daemon");
    let log = lab.node(1).log().expect("a log");
    assert!(!log.contains("cutting them"), "{log}");
}
