//! Two nodes with one name.

use std::time::Duration;

use autoradio_lab::node::DAEMON;
use autoradio_lab::{Lab, topology};

use crate::rig::SOON;

/// How long the second may take to see that the name's holder lives: several leases.
const REFUSED: Duration = Duration::from_secs(30);

#[test]
#[ignore = "needs root and namespaces: cargo xtask test"]
fn a_second_node_of_one_name_refuses_to_start_and_says_who_holds_it() {
    let lab = Lab::builder().nodes(2).clients(1).build().expect("a lab");
    let (first, second) = (lab.node(1), lab.node(2).host());
    first.start().unwrap();
    first.wait_ready(SOON * 3).unwrap();
    let daemon = lab.program(DAEMON).unwrap();
    let (holder, own) = (first.host().v4().to_string(), second.v4().to_string());
    let state = second.folder().join("state");
    let state = state.to_string_lossy();
    #[rustfmt::skip]
    let mut twin = second.spawn(&daemon, &[
        "run", "--domain", lab.domain(), "--name", first.host().name(), "--address", &own,
        "--interface", topology::INTERFACE, "--state-dir", &state, "--insecure-etcd", "--join", &holder,
    ], "twin").unwrap();
    let ended = twin.wait(REFUSED).unwrap_or_else(|error| panic!("{error}:\n{}", twin.log_tail()));
    let said = twin.log_tail();
    assert!(!ended.success(), "{said}");
    assert!(said.contains(&holder) && said.contains("--name"), "{said}");

    assert!(first.is_ready(), "the holder of the name goes on");
    assert_eq!(first.etcd_voters().unwrap(), ["node1"], "the twin left no member behind");
    assert_eq!(lab.client(1).dig(lab.domain()).unwrap(), [first.host().v4()]);
}
