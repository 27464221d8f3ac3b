//! Rules that look at one file. Pure.
//!
//! Words that a rule looks for are spelled in two parts, or the rule would find itself.

use super::source::{Finding, Source};

/// Every rule.
pub(super) const RULES: [fn(&Source) -> Vec<Finding>; 8] = [
    files_are_short,
    nothing_is_left_undone,
    userspace_is_safe,
    every_unsafe_says_why,
    pure_rooms_touch_nothing,
    sinks_never_read_etcd,
    ignored_tests_say_why,
    no_machine_paths,
];

const LINES_MAX: usize = 400;

/// Files that touch the world are named after what they touch.
const MEDIA: [&str; 6] =
    ["etcd.rs", "socket.rs", "kernel.rs", "process.rs", "clock.rs", "daemon.rs"];

/// And folders likewise.
const MEDIA_FOLDERS: [&str; 3] = ["/socket/", "/etcd/", "/kernel/"];

/// Files not named after a medium in which time passes, and why it must.
const TIMED: &[(&str, &str)] = &[
    (
        "api/dns.rs",
        "tells when queries came, and times the kernel program for as long as was asked",
    ),
    ("cluster/cookie_keeper.rs", "rolls the secrets of DNS cookies every day"),
    ("cluster/secrets.rs", "notes when the secrets of DNS cookies were rolled"),
    ("cluster/follow.rs", "publishes snapshots at a pace of its own and retries a lost watch"),
    ("cluster/managed.rs", "waits for the etcd it has started"),
    ("cluster/join.rs", "tells peers how old this node's last word of etcd is"),
    ("cluster/member.rs", "renews the node's lease"),
    ("cluster/member/mastership.rs", "claims each mount when its rank's turn has come"),
    ("cluster/member/reports.rs", "tells the node's load at most once per heartbeat"),
    ("cluster/neighbours.rs", "probes neighbours twice a second"),
    ("cluster/outage.rs", "asks peers while the lease is in doubt"),
    ("cluster/standing.rs", "judges the lease by the clock of the moment it is asked"),
    ("cluster/titles.rs", "writes a mount's title at most once a second"),
    ("daemon/follow.rs", "renews the kernel's lease and lets weights move"),
    ("daemon/load.rs", "samples the load every second"),
    ("daemon/node.rs", "gives short answers a last moment when the node stops"),
    ("daemon/streams.rs", "asks Icecast for its streams every two seconds"),
    ("http/auth.rs", "does not let a password wait for its turn without end"),
    ("http/stats.rs", "says since when a source is live"),
];

/// The crates shared with the kernel.
const KERNEL: [&str; 2] = ["autoradio-common/", "autoradio-ebpf/"];

const SINKS: [&str; 5] = ["dns", "dataplane", "http", "stream", "icecast"];

fn files_are_short(file: &Source) -> Vec<Finding> {
    let lines = file.lines_before_tests().count();
    if !file.is_rust() || lines <= LINES_MAX {
        return Vec::new();
    }
    let message = format!("{lines} lines before its tests; at most {LINES_MAX}: split it");
    vec![file.finding(LINES_MAX + 1, message)]
}

fn nothing_is_left_undone(file: &Source) -> Vec<Finding> {
    let words =
        [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("dbg", "!("), concat!("todo", "!(")];
    if !["rs", "toml", "sh"].iter().any(|extension| file.has_extension(extension)) {
        return Vec::new();
    }
    find(file, file.lines(), &words, |word| format!("{word} does not belong in the tree"))
}

/// Invariant: only the crates shared with the kernel may be otherwise.
fn userspace_is_safe(file: &Source) -> Vec<Finding> {
    if !file.is_rust() || is_kernel(file) {
        return Vec::new();
    }
    let keyword = concat!("un", "safe");
    let words = [" {", " fn ", " impl ", " extern ", "("].map(|next| format!("{keyword}{next}"));
    let code = file.lines().filter(|(_, line)| !line.trim_start().starts_with("//"));
    find(file, code, &words, |_| format!("userspace has no {keyword} code"))
}

/// Invariant: where there may be such code, each block, impl or attribute follows a comment that
/// says why it holds. No other lint ever sees the kernel's crate.
fn every_unsafe_says_why(file: &Source) -> Vec<Finding> {
    if !file.is_rust() || !is_kernel(file) {
        return Vec::new();
    }
    let keyword = concat!("un", "safe");
    let words = [" {", " impl", " extern", "("].map(|next| format!("{keyword}{next}"));
    let lines: Vec<&str> = file.text.lines().collect();
    let code = file.lines().map(|(number, line)| (number, line.split("//").next().unwrap_or("")));
    let unsaid = code.filter(|(number, _)| !says_why(&lines[..number - 1]));
    find(file, unsaid, &words, |_| format!("a `// SAFETY:` comment goes before this {keyword}"))
}

/// Whether the comment right above, with nothing but attributes between, says why.
fn says_why(above: &[&str]) -> bool {
    let upwards = above.iter().rev().map(|line| line.trim_start());
    let mut rest = upwards.skip_while(|line| line.starts_with("#["));
    let mut comment = rest.by_ref().take_while(|line| line.starts_with("//"));
    comment.any(|line| line.starts_with("// SAFETY:"))
}

fn is_kernel(file: &Source) -> bool {
    KERNEL.iter().any(|crate_| file.path.starts_with(crate_))
}

/// Invariant: pure rooms import no sockets, no aya, no etcd client, no clock.
fn pure_rooms_touch_nothing(file: &Source) -> Vec<Finding> {
    let Some(place) = file.path.strip_prefix("autoradio-edge/src/") else {
        return Vec::new();
    };
    // Crate roots and programs put rooms together and are none themselves.
    let in_room = place.contains('/') && !place.starts_with("bin/");
    let placement = place.starts_with("placement/");
    let named_after_medium =
        MEDIA.contains(&file.name()) || MEDIA_FOLDERS.iter().any(|folder| place.contains(folder));
    if !in_room || (named_after_medium && !placement) {
        return Vec::new();
    }
    let mut words = vec![
        "tokio::net",
        "tokio::process",
        "aya::",
        "etcd_client::",
        "TcpStream",
        "TcpListener",
        "UdpSocket",
        "std::process::Command",
    ];
    if !TIMED.iter().any(|(timed, _)| place == *timed) {
        words.extend(["clock::", "tokio::time"]);
    }
    find(file, file.code_before_tests(), &words, |word| {
        format!(
            "{word} in a pure file: what touches the world is in socket/ or one of {}",
            MEDIA.join(", ")
        )
    })
}

/// Invariant: sinks see snapshots and placements only.
fn sinks_never_read_etcd(file: &Source) -> Vec<Finding> {
    let Some(place) = file.path.strip_prefix("autoradio-edge/src/") else {
        return Vec::new();
    };
    let room = place.split('/').next().unwrap_or_default();
    let room = room.strip_suffix(".rs").unwrap_or(room);
    if !SINKS.contains(&room) {
        return Vec::new();
    }
    find(file, file.code_before_tests(), &["etcd_client::", "cluster::etcd"], |_| {
        format!("{room} is a sink: it reads snapshots and placements, never etcd")
    })
}

fn ignored_tests_say_why(file: &Source) -> Vec<Finding> {
    if !file.is_rust() {
        return Vec::new();
    }
    let bare = [concat!("#[ign", "ore]"), concat!("#[ign", "ore = \"\"]")];
    find(file, file.lines(), &bare, |_| "an ignored test says why, and how to run it".to_owned())
}

fn no_machine_paths(file: &Source) -> Vec<Finding> {
    let paths = [
        concat!("/ho", "me/"),
        concat!("/ro", "ot/"),
        concat!("/wo", "rk/"),
        concat!("/Us", "ers/"),
        concat!("/tmp/", "wt"),
    ];
    let absolute = |line: &str, path: &str| {
        line.match_indices(path).any(|(at, _)| {
            let before = line[..at].chars().next_back();
            !before.is_some_and(|c| c.is_alphanumeric() || "._-~}*>".contains(c))
        })
    };
    let hit = |line: &str| paths.iter().find(|path| absolute(line, path));
    let hits = file.lines().filter_map(|(number, line)| Some((number, hit(line)?)));
    hits.map(|(number, path)| file.finding(number, format!("{path}… is a path of one machine")))
        .collect()
}

fn find<'a, W: AsRef<str>>(
    file: &Source,
    lines: impl Iterator<Item = (usize, &'a str)>,
    words: &[W],
    message: impl Fn(&str) -> String,
) -> Vec<Finding> {
    let word_in = |line: &str| words.iter().map(AsRef::as_ref).find(|word| line.contains(*word));
    let hits = lines.filter_map(|(number, line)| Some((number, word_in(line)?)));
    hits.map(|(number, word)| file.finding(number, message(word))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: &str = "autoradio-edge/src/http/head.rs";

    fn lines(rule: fn(&Source) -> Vec<Finding>, path: &str, text: &str) -> Vec<usize> {
        rule(&Source::new(path, text)).iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn a_long_file_is_found_and_its_tests_do_not_count() {
        let long = "line\n".repeat(LINES_MAX + 1);
        assert_eq!(lines(files_are_short, ROOM, &long), [LINES_MAX + 1]);
        let tests = format!("code\n#[cfg(test)]\n{long}");
        assert!(lines(files_are_short, ROOM, &tests).is_empty());
        assert!(lines(files_are_short, "Cargo.lock", &long).is_empty());
    }

    #[test]
    fn work_left_undone_is_found() {
        let text = format!("good\n// {}: later\n{}x)", concat!("TO", "DO"), concat!("dbg", "!("));
        assert_eq!(lines(nothing_is_left_undone, ROOM, &text), [2, 3]);
    }

    #[test]
    fn unsafe_userspace_is_found_and_the_shared_crate_is_free() {
        let text = concat!("// un", "safe { } in words\nun", "safe { f() }\nun", "safe_name");
        assert_eq!(lines(userspace_is_safe, ROOM, text), [2]);
        assert!(lines(userspace_is_safe, "autoradio-common/src/lib.rs", text).is_empty());
    }

    #[test]
    fn a_socket_in_a_pure_file_is_found() {
        let text = "use tokio::net::TcpStream;\n// tokio::net is elsewhere\n";
        assert_eq!(lines(pure_rooms_touch_nothing, ROOM, text), [1]);
        let medium = "autoradio-edge/src/http/socket.rs";
        assert!(lines(pure_rooms_touch_nothing, medium, text).is_empty());
        let placement = "autoradio-edge/src/placement/clock.rs";
        assert_eq!(lines(pure_rooms_touch_nothing, placement, "use crate::clock::now;"), [1]);
    }

    #[test]
    fn time_in_a_pure_file_is_found_unless_the_list_has_a_reason() {
        let text = "let now = clock::now();\ntokio::time::sleep(pause).await;\n";
        assert_eq!(lines(pure_rooms_touch_nothing, ROOM, text), [1, 2]);
        for free in ["http/socket/server.rs", "cluster/etcd.rs", "cluster/follow.rs"] {
            let path = format!("autoradio-edge/src/{free}");
            assert!(lines(pure_rooms_touch_nothing, &path, text).is_empty(), "{free}");
        }
    }

    #[test]
    fn an_unsafe_without_its_reason_is_found_in_the_kernels_crates() {
        let text = concat!(
            "// SAFETY: it is\n// so.\nun",
            "safe { f() }\n// SAFETY: plain\n#[un",
            "safe(no_mangle)]\n#[un",
            "safe(link_section = \"x\")]\nstatic A: u8 = 0;\nun",
            "safe { g() }\n// because\nun",
            "safe impl Pod for A {}\n// un",
            "safe { } in words\n",
        );
        assert_eq!(lines(every_unsafe_says_why, "autoradio-ebpf/src/main.rs", text), [8, 10]);
        assert_eq!(lines(every_unsafe_says_why, "autoradio-common/src/zone.rs", text), [8, 10]);
        assert!(lines(every_unsafe_says_why, ROOM, text).is_empty());
    }

    #[test]
    fn a_sink_that_reads_etcd_is_found_even_where_it_touches_sockets() {
        let text = "use etcd_client::Client;";
        assert_eq!(lines(sinks_never_read_etcd, "autoradio-edge/src/dns/socket.rs", text), [1]);
        assert!(
            lines(sinks_never_read_etcd, "autoradio-edge/src/cluster/etcd.rs", text).is_empty()
        );
    }

    #[test]
    fn an_ignored_test_without_a_reason_is_found() {
        let text = concat!("#[ign", "ore]\n#[ign", "ore = \"needs root\"]\n");
        assert_eq!(lines(ignored_tests_say_why, ROOM, text), [1]);
    }

    #[test]
    fn paths_of_one_machine_are_found() {
        let text =
            concat!("see /ho", "me/jo/x\nnet/wo", "rk/\nhttp://host/wo", "rk/\n`/ro", "ot/x`");
        assert_eq!(lines(no_machine_paths, "README.md", text), [1, 4]);
    }
}
