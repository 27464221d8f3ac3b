//! DNS over a real network: what the kernel answers, what it passes up, and that nobody can tell which.

use std::time::Duration;

use autoradio_lab::{Client, Lab};

const SOON: Duration = Duration::from_secs(10);

/// Replies of kernel and userspace so far.
fn replies(lab: &Lab) -> (u64, u64) {
    let dns = lab.node(1).status().expect("the daemon tells its status").dns;
    (dns.kernel_answers, dns.userspace_answers)
}

/// What `dig` prints for these words, asked at `server`.
fn dig(client: &Client, server: &str, words: &[&str]) -> String {
    let at = format!("@{server}");
    let fixed = [at.as_str(), "+time=2", "+tries=1", "+noall", "+comments", "+answer"];
    let args = [fixed.as_slice(), words].concat();
    client.host().run("dig", &args).expect("dig gets a reply")
}

fn assert_answers(mode: &str) {
    let lab = Lab::builder().nodes(1).clients(1).xdp(mode).build().expect("a lab");
    lab.start_nodes().expect("the node is ready");
    assert_eq!(lab.node(1).status().expect("status").xdp.mode, mode);
    let (client, node) = (lab.client(1), lab.node(1).host());
    let domain = lab.domain();
    let mixed = domain.to_uppercase();
    for server in [node.v4().to_string(), node.v6().to_string()] {
        for (why, words, by_kernel) in [
            ("without EDNS", vec![domain, "A", "+noedns"], true),
            ("EDNS without options", vec![domain, "A", "+nocookie"], true),
            ("EDNS with a cookie", vec![domain, "A", "+cookie"], true),
            ("a client subnet", vec![domain, "A", "+subnet=192.0.2.0/24"], true),
            ("mixed case", vec![&mixed, "A"], true),
            ("NSID", vec![domain, "A", "+nsid"], false),
            ("TCP", vec![domain, "A", "+tcp"], false),
        ] {
            let before = replies(&lab);
            let said = dig(client, &server, &words);
            assert!(said.contains(&node.v4().to_string()), "{why} at {server}: {said}");
            assert!(said.contains("flags: qr aa rd;"), "{why} at {server}: {said}");
            let (kernel, userspace) = replies(&lab);
            let grown = (kernel - before.0, userspace - before.1);
            let want = if by_kernel { (1, 0) } else { (0, 1) };
            assert_eq!(grown, want, "{why} at {server}: replies of kernel and userspace");
        }
    }
}

#[test]
#[ignore = "needs root and namespaces: cargo xtask test"]
fn the_apex_is_answered_in_native_mode_over_both_families() {
    assert_answers("native");
}

#[test]
#[ignore = "needs root and namespaces: cargo xtask test"]
fn the_apex_is_answered_in_generic_mode_over_both_families() {
    assert_answers("generic");
}

/// On a native veth a frame grows at its tail only up to the next multiple of 64 bytes; then the head has to do.
#[test]
#[ignore = "needs root and namespaces: cargo xtask test"]
fn names_of_every_unlucky_length_are_answered_by_the_kernel() {
    for name_bytes in [40, 47, 55, 63] {
        let domain = format!("{}.example.com", "x".repeat(name_bytes - 14));
        let lab = Lab::builder().nodes(1).clients(1).domain(&domain).build().expect("a lab");
        lab.start_nodes().expect("the node is ready");
        let (client, node) = (lab.client(1), lab.node(1).host());
        for server in [node.v4().to_string(), node.v6().to_string()] {
            for words in [[domain.as_str(), "A", "+noedns"], [&domain, "A", "+cookie"]] {
                // Whether there is room differs from packet to packet.
                for _ in 0..5 {
                    let before = replies(&lab);
                    let said = dig(client, &server, &words);
                    assert!(said.contains(&node.v4().to_string()), "{words:?} at {server}: {said}");
                    assert_eq!(replies(&lab), (before.0 + 1, before.1), "{words:?} at {server}");
                }
            }
        }
    }
}

#[test]
#[ignore = "needs root and namespaces: cargo xtask test"]
fn userspace_alone_answers_the_same_names() {
    let lab = Lab::builder().nodes(1).clients(1).xdp("off").build().expect("a lab");
    lab.start_nodes().expect("the node is ready");
    let server = lab.node(1).host().v4().to_string();
    let said = dig(lab.client(1), &server, &[lab.domain(), "A"]);
    assert!(said.contains(&server), "{said}");
    assert_eq!(replies(&lab), (0, 1));
}

#[test]
#[ignore = "needs root and namespaces: cargo xtask test"]
fn a_stopped_node_takes_its_program_off_the_interface() {
    let lab = Lab::builder().nodes(1).clients(1).build().expect("a lab");
    lab.start_nodes().expect("the node is ready");
    let host = lab.node(1).host();
    let link = || host.run("ip", &["link", "show", "eth0"]).expect("ip link");
    assert!(link().contains("xdp"), "{}", link());
    lab.node(1).stop(SOON).expect("stopped");
    assert!(!link().contains("xdp"), "{}", link());
}
