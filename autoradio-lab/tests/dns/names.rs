//! Names of every length that the kernel answers, over real wires.

use autoradio_lab::{Client, Host, Lab, Node, topology};

use crate::rig::{Printed, UNLIMITED, dig_all, kdig_all, replies, restore_mounts, wait_name};

/// A short zone leaves the most lengths to its names: 3 bytes on the wire.
const ZONE: &str = "t";
/// Bytes of `.source.t.` on the wire, and of the length before a label.
const ABOVE_MOUNTS: usize = 10 + 1;
const NAME_BYTES_MAX: usize = 63;

/// A question, and what must come back: a status, and how many records.
struct Question {
    asked: (String, &'static str),
    status: &'static str,
    answers: usize,
}

/// Questions for names of each length that there can be below the zone: addresses, no data, no such name.
fn questions() -> Vec<Question> {
    let question = |name: &str, rtype, status, answers| Question {
        asked: (name.to_owned(), rtype),
        status,
        answers,
    };
    let mut questions = Vec::new();
    for rtype in ["A", "AAAA", "SOA", "NS"] {
        questions.push(question(ZONE, rtype, "NOERROR", 1));
    }
    for bytes in 5..=NAME_BYTES_MAX {
        let unknown = format!("{}.{ZONE}", "x".repeat(bytes - 4));
        questions.push(question(&unknown, "A", "NXDOMAIN", 0));
    }
    for bytes in ABOVE_MOUNTS + 1..=NAME_BYTES_MAX {
        let mount = format!("{}.source.{ZONE}", "m".repeat(bytes - ABOVE_MOUNTS));
        questions.push(question(&mount, "A", "NOERROR", 1));
        questions.push(question(&mount, "AAAA", "NOERROR", 1));
        questions.push(question(&mount, "HTTPS", "NOERROR", 0));
    }
    questions
}

/// Switches the checksums of what the host sends from the program to the card, as it were, or back.
fn offload(host: &Host, state: &str) {
    host.run("ethtool", &["-K", topology::INTERFACE, "tx", state]).expect("ethtool");
}

fn check(why: &str, questions: &[Question], said: &[Printed], node: &Node) {
    assert_eq!(said.len(), questions.len(), "{why}: all are answered");
    for (question, said) in questions.iter().zip(said) {
        let (name, rtype) = &question.asked;
        assert_eq!(said.status, question.status, "{why}: {name} {rtype}: {said:?}");
        assert_eq!(said.answers.len(), question.answers, "{why}: {name} {rtype}: {said:?}");
        let address = match *rtype {
            "A" => node.host().v4().to_string(),
            "AAAA" => node.host().v6().to_string(),
            _ => continue,
        };
        let right = |record: &String| {
            record.ends_with(&format!(" IN {rtype} {address}"))
                && record.starts_with(&format!("{name}. 10 "))
        };
        assert!(said.answers.iter().all(right), "{why}: {name} {rtype}: {said:?}");
    }
}

/// A way to ask, with the options of the program that is used.
type Asking<'a> = (&'a str, fn(&Client, &str, &str, &[(String, &str)]) -> Vec<Printed>, &'a str);

fn assert_all_lengths_are_answered(mode: &str) {
    let lab = Lab::builder().domain(ZONE).xdp(mode).args(&UNLIMITED).build().expect("a lab");
    lab.start_nodes().expect("the node is ready");
    let (client, node) = (lab.client(1), lab.node(1));
    assert_eq!(node.status().expect("status").xdp.mode, mode);
    let mounts: Vec<String> = (1..=NAME_BYTES_MAX - ABOVE_MOUNTS)
        .map(|bytes| format!("/{}", "m".repeat(bytes)))
        .collect();
    restore_mounts(node, &mounts);
    for mount in &mounts {
        wait_name(&lab, client, node, &format!("{}.source.{ZONE}", &mount[1..]));
    }
    let questions = questions();
    let asked: Vec<(String, &str)> = questions.iter().map(|one| one.asked.clone()).collect();
    let askings: [Asking<'_>; 4] = [
        ("dig, EDNS and a cookie", dig_all, ""),
        ("dig, no EDNS", dig_all, "+noedns"),
        ("kdig, no EDNS", kdig_all, "+noedns"),
        ("kdig, EDNS", kdig_all, "+edns +bufsize=4096 +dnssec"),
    ];
    for state in ["off", "on"] {
        offload(client.host(), state);
        offload(node.host(), state);
        for server in [node.host().v4().to_string(), node.host().v6().to_string()] {
            for (how, ask, options) in askings {
                let why = format!("{mode}, offload {state}, {server}, {how}");
                let before = replies(node);
                let said = ask(client, &server, options, &asked);
                check(&why, &questions, &said, node);
                let grown = (replies(node).0 - before.0, replies(node).1 - before.1);
                assert_eq!(grown, (asked.len() as u64, 0), "{why}: replies of kernel, userspace");
            }
        }
    }
}

#[test]
#[ignore = "needs root and namespaces: cargo xtask test"]
fn names_of_every_length_are_answered_by_the_kernel_in_native_mode() {
    assert_all_lengths_are_answered("native");
}

#[test]
#[ignore = "needs root and namespaces: cargo xtask test"]
fn names_of_every_length_are_answered_by_the_kernel_in_generic_mode() {
    assert_all_lengths_are_answered("generic");
}
