//! Zones that change as often as they may, under load.

use std::collections::BTreeSet;
use std::fs;
use std::net::Ipv4Addr;
use std::time::Duration;

use autoradio_lab::Lab;
use autoradio_lab::prober::{DnsStorm, Said};

use crate::rig::{SOON, UNLIMITED, replies, wait_name};

/// Changes a second that etcd is told; the daemon publishes at most twenty.
const CHANGES_PER_S: usize = 25;
const CHANGES: usize = 20 * CHANGES_PER_S;
/// Zones a second that must have been seen. Twenty on a machine with nothing else to do.
const SWAPS_PER_S_MIN: usize = 10;
/// None may be lost: only what never comes counts, not what a busy machine says late.
const ANSWER_MAX: Duration = Duration::from_secs(5);

fn base64(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let encode = |three: &[u8]| -> String {
        let bytes =
            [three[0], three.get(1).copied().unwrap_or(0), three.get(2).copied().unwrap_or(0)];
        let word = u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]);
        let digit = |place: usize| {
            let bits = (word >> (18 - 6 * place)) & 63;
            if place <= three.len() { char::from(DIGITS[bits as usize]) } else { '=' }
        };
        (0..4).map(digit).collect()
    };
    text.as_bytes().chunks(3).map(encode).collect()
}

/// One request of curl's to etcd: to write a key, or to delete it.
fn request(key: &str, value: Option<&str>) -> String {
    let key = base64(&format!("/autoradio/v1/{key}"));
    let (path, body) = match value {
        Some(value) => ("put", format!(r#"{{\"key\":\"{key}\",\"value\":\"{}\"}}"#, base64(value))),
        None => ("deleterange", format!(r#"{{\"key\":\"{key}\"}}"#)),
    };
    format!(
        "url = \"http://127.0.0.1:2379/v3/kv/{path}\"\ndata = \"{body}\"\noutput = \"/dev/null\"\n"
    )
}

/// Drains node2 and takes it back, makes a mount and deletes it, in turn: four zones, each different from the next.
fn changes() -> String {
    let mount =
        r#"{"schema":1,"path":"/swap","source_username":"source","source_password_hash":"x"}"#;
    let round = [
        request("drain/node2", Some("{}")),
        request("mounts/swap", Some(mount)),
        request("drain/node2", None),
        request("mounts/swap", None),
    ];
    let requests: Vec<&str> = round.iter().map(String::as_str).cycle().take(CHANGES).collect();
    requests.join("next\n")
}

#[test]
#[ignore = "needs root and namespaces: cargo xtask test"]
fn zones_that_change_twenty_times_a_second_give_no_wrong_or_missing_answer() {
    let lab = Lab::builder().nodes(2).clients(1).args(&UNLIMITED).build().expect("a lab");
    lab.start_nodes().expect("the nodes are ready");
    let (client, node) = (lab.client(1), lab.node(1));
    let [one, two] = [1, 2].map(|index| lab.node(index).host().v4());
    let apex = lab.domain();
    wait_name(&lab, client, node, &format!("node2.{apex}"));
    let file = node.host().folder().join("changes");
    fs::write(&file, changes()).expect("a file");

    let own = format!("node1.{apex}");
    let (nothing, swap) = (format!("nothing.{apex}"), format!("swap.source.{apex}"));
    let before = replies(node);
    let names = [apex, &own, &nothing, &swap];
    let storm = DnsStorm::start(client, one, &names, ANSWER_MAX).expect("a storm");
    let (rate, changes) = (format!("{CHANGES_PER_S}/s"), file.to_string_lossy().into_owned());
    let args = ["--silent", "--show-error", "--rate", &rate, "--config", &changes];
    let mut curl = node.host().spawn("curl", &args, "changes").expect("curl starts");
    let ended = curl.wait(SOON * 6).expect("curl ends");
    assert!(ended.success(), "{}", curl.log_tail());
    let tally = storm.end();
    let after = replies(node);

    eprintln!("{} answers, {} zones", tally.answers(), tally.serials.len());
    let zones_min = SWAPS_PER_S_MIN * CHANGES / CHANGES_PER_S;
    assert!(tally.serials.len() >= zones_min, "{} zones were seen", tally.serials.len());
    assert_eq!((tally.lost, tally.garbled, tally.backwards), (0, 0, 0), "lost, garbled, backwards");
    let answers = |addresses: &[&[Ipv4Addr]]| -> BTreeSet<Said> {
        let said = |addresses: &&[Ipv4Addr]| Said { rcode: 0, addresses: addresses.to_vec() };
        addresses.iter().map(said).collect()
    };
    let no_name = Said { rcode: 3, addresses: Vec::new() };
    // While nobody holds the mount, any node may take its source.
    let held = answers(&[&[one], &[two], &[one, two], &[two, one]]);
    for (name, allowed) in [
        (apex, answers(&[&[one], &[one, two], &[two, one]])),
        (&own, answers(&[&[one]])),
        (&nothing, [no_name.clone()].into()),
        (&swap, held.into_iter().chain([no_name]).collect()),
    ] {
        let said: BTreeSet<Said> = tally.said[name].keys().cloned().collect();
        assert!(said.is_subset(&allowed), "{name}: {said:?}");
    }
    let grown = (after.0 - before.0, after.1 - before.1);
    assert_eq!(grown, (tally.answers(), 0), "replies of kernel and userspace");
}
