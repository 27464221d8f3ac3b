//! A real resolver that finds the zone by delegation, as resolvers in the world do.

use std::fs;

use autoradio_lab::{Client, Lab, Node, Running};

use crate::rig::{Printed, SOON, dig_all, replies, wait_name};

/// Serves the root zone, which delegates the lab's zone to its nodes.
fn start_parent(lab: &Lab, parent: &Client) -> Running {
    let folder = parent.host().folder().display().to_string();
    let (address, domain) = (parent.host().v4(), lab.domain());
    let mut zone = format!(
        ". 3600 IN SOA a.root. hostmaster.root. 1 3600 600 86400 60\n. 3600 IN NS a.root.\na.root. 3600 IN A {address}\n"
    );
    let delegation = |node: &Node| {
        let (name, v4, v6) = (node.host().name(), node.host().v4(), node.host().v6());
        format!(
            "{domain}. 3600 IN NS {name}.{domain}.\n{name}.{domain}. 3600 IN A {v4}\n\
             {name}.{domain}. 3600 IN AAAA {v6}\n"
        )
    };
    zone.extend(lab.nodes().iter().map(delegation));
    let settings = format!(
        "server:\n ip-address: {address}\n username: \"\"\n chroot: \"\"\n zonesdir: \"{folder}\"\n \
         database: \"\"\n pidfile: \"{folder}/nsd.pid\"\n xfrdfile: \"{folder}/xfrd.state\"\n \
         zonelistfile: \"{folder}/zone.list\"\n xfrdir: \"{folder}\"\n\
         remote-control:\n control-enable: no\nzone:\n name: \".\"\n zonefile: \"{folder}/root.zone\"\n"
    );
    fs::write(format!("{folder}/root.zone"), zone).expect("a file");
    let file = format!("{folder}/nsd.conf");
    fs::write(&file, settings).expect("a file");
    parent.host().spawn("nsd", &["-d", "-c", &file], "nsd").expect("nsd starts")
}

/// unbound, with everything that makes it suspicious of what it is told; it knows nothing but where the root is.
///
/// Cookies are not among it: of those, unbound has only the side towards its own clients, from 1.18 on.
fn start_resolver(parent: &Client, resolver: &Client) -> Running {
    let folder = resolver.host().folder().display().to_string();
    let address = resolver.host().v4();
    let hints = format!(". 3600 IN NS a.root.\na.root. 3600 IN A {}\n", parent.host().v4());
    let settings = format!(
        "server:\n interface: {address}\n access-control: 198.18.0.0/15 allow\n do-daemonize: no\n \
         username: \"\"\n chroot: \"\"\n directory: \"{folder}\"\n pidfile: \"\"\n use-syslog: no\n \
         logfile: \"\"\n verbosity: 2\n num-threads: 1\n module-config: \"iterator\"\n \
         root-hints: \"{folder}/root.hints\"\n use-caps-for-id: yes\n qname-minimisation: yes\n \
         qname-minimisation-strict: yes\n harden-glue: yes\n harden-below-nxdomain: yes\n \
         harden-large-queries: yes\n unwanted-reply-threshold: 1\n\
         remote-control:\n control-enable: no\n"
    );
    fs::write(format!("{folder}/root.hints"), hints).expect("a file");
    let file = format!("{folder}/unbound.conf");
    fs::write(&file, settings).expect("a file");
    resolver.host().spawn("unbound", &["-d", "-c", &file], "unbound").expect("unbound starts")
}

/// The only record of an answer, parted: its time to live, and its data.
fn only(said: &Printed) -> (u32, String) {
    let [record] = said.answers.as_slice() else { panic!("{said:?}") };
    let fields: Vec<&str> = record.split(' ').collect();
    (fields[1].parse().expect("seconds"), fields[4..].join(" "))
}

/// Whether unbound says that it took less than it asked for: another case of letters, no EDNS, whole names.
fn is_doubt(line: &str) -> bool {
    line.contains("Capsforid") || line.contains("fallback")
}

#[test]
#[ignore = "needs root and namespaces: cargo xtask test"]
fn a_suspicious_resolver_finds_the_zone_by_delegation_and_believes_all_it_says() {
    let lab = Lab::builder().nodes(2).clients(3).build().expect("a lab");
    lab.start_nodes().expect("the nodes are ready");
    let (client, resolver, parent) = (lab.client(1), lab.client(2), lab.client(3));
    let apex = lab.domain();
    let mount = lab.node(1).create_mount("/live").expect("a mount");
    assert_eq!(mount.path, "/live");
    for node in lab.nodes() {
        wait_name(&lab, client, node, &format!("live.source.{apex}"));
    }
    let _parent = start_parent(&lab, parent);
    let mut unbound = start_resolver(parent, resolver);
    let server = resolver.host().v4().to_string();
    let ask = |name: &str, rtype: &str| {
        let said = dig_all(client, &server, "+time=5", &[(name.to_owned(), rtype)]);
        said.into_iter().next().unwrap_or_else(|| panic!("{name} {rtype}: no reply"))
    };
    lab.wait_until("unbound resolves", SOON, || {
        let question = [(format!("node1.{apex}"), "A")];
        let ready = client
            .host()
            .run("dig", &["+short", "+time=1", "+tries=1", &format!("@{server}"), &question[0].0]);
        unbound.ended().is_some() || ready.is_ok_and(|said| !said.is_empty())
    })
    .unwrap_or_else(|error| panic!("{error}: {}", unbound.log_tail()));
    let before: Vec<_> = lab.nodes().iter().map(replies).collect();

    for (rtype, addresses) in [
        ("A", lab.nodes().iter().map(|node| node.host().v4().to_string()).collect::<Vec<_>>()),
        ("AAAA", lab.nodes().iter().map(|node| node.host().v6().to_string()).collect()),
    ] {
        let said = ask(apex, rtype);
        assert_eq!(said.status, "NOERROR", "{said:?}");
        let mut named: Vec<&str> =
            said.answers.iter().filter_map(|record| record.rsplit(' ').next()).collect();
        named.sort_unstable();
        assert_eq!(named, addresses, "{said:?}");
        let ttls = said.answers.iter().filter_map(|record| record.split(' ').nth(1)?.parse().ok());
        assert!(
            ttls.clone().count() == 2 && ttls.into_iter().all(|ttl: u32| (1..=10).contains(&ttl))
        );
    }
    let master = lab.node(1).status().expect("status");
    let master = master.master("/live").expect("a master");
    let address = lab.host(master).expect("a host").v4().to_string();
    let (ttl, data) = only(&ask(&format!("live.source.{apex}"), "A"));
    assert!((1..=10).contains(&ttl) && data == address, "{ttl} {data}");
    let (ttl, data) = only(&ask(&format!("node2.{apex}"), "AAAA"));
    assert!((3_000..=3_600).contains(&ttl), "{ttl}");
    assert_eq!(data, lab.node(2).host().v6().to_string());
    assert_eq!(ask(apex, "NS").answers.len(), 2);
    assert!(only(&ask(apex, "SOA")).1.contains(&format!("hostmaster.{apex}.")));

    let over_63_bytes = format!("{}.{}.{apex}", "x".repeat(40), "y".repeat(40));
    for (why, name, rtype, status) in [
        ("no such type", apex.to_owned(), "TXT", "NOERROR"),
        ("HTTPS, which browsers ask for", apex.to_owned(), "HTTPS", "NOERROR"),
        ("a name between names", format!("source.{apex}"), "A", "NOERROR"),
        ("no such name", format!("nothing.{apex}"), "A", "NXDOMAIN"),
        ("no such name, deep", format!("a.b.c.nothing2.{apex}"), "AAAA", "NXDOMAIN"),
        ("no such mount", format!("other.source.{apex}"), "A", "NXDOMAIN"),
        ("a name that the kernel leaves to userspace", over_63_bytes, "A", "NXDOMAIN"),
    ] {
        let said = ask(&name, rtype);
        assert_eq!((said.status.as_str(), said.answers.len()), (status, 0), "{why}: {said:?}");
    }
    let grown = |index: usize| replies(&lab.nodes()[index]).0 - before[index].0;
    assert!(grown(0) + grown(1) >= 12, "the resolver asked the nodes' kernels");
    // What follows would be in the log: this line has the same level as what must not be there.
    let log = fs::read_to_string(resolver.host().folder().join("unbound.log")).expect("a log");
    assert!(log.contains("info: query response was ANSWER"), "{log}");
    let doubts: Vec<&str> = log.lines().filter(|line| is_doubt(line)).collect();
    assert!(doubts.is_empty(), "{doubts:#?}");
}
