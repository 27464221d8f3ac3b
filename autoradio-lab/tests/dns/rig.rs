//! What the tests of DNS share.

use std::fs;
use std::time::Duration;

use autoradio_lab::{Client, Lab, LabError, Node};

pub(crate) const SOON: Duration = Duration::from_secs(20);
/// For daemons that are asked faster than any resolver would.
pub(crate) const UNLIMITED: [&str; 2] = ["--dns-rrl", "off"];

/// One answer as `dig` and `kdig` print it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Printed {
    /// `NOERROR`, `NXDOMAIN`, …
    pub(crate) status: String,
    /// The flags, such as `qr aa rd`.
    pub(crate) flags: String,
    /// Records of the answer section, fields parted by one space.
    pub(crate) answers: Vec<String>,
}

/// Reads what they print with headers and answers alone.
pub(crate) fn printed(text: &str) -> Vec<Printed> {
    let between = |text: &str, start: &str, ends: [char; 2]| {
        let rest = text.split_once(start).map_or("", |(_, rest)| rest);
        rest.split(ends).next().unwrap_or_default().trim().to_lowercase()
    };
    let read = |block: &str| {
        let lines = block.lines().skip(1).filter(|line| !line.starts_with(';') && !line.is_empty());
        let fields = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        Printed {
            status: between(block, "status: ", [',', ';']).to_uppercase(),
            flags: between(block, "lags: ", [';', '\n']),
            answers: lines.map(fields).collect(),
        }
    };
    text.split("->>HEADER<<-").skip(1).map(read).collect()
}

/// Asks these names and types with `dig`, in one run of it.
pub(crate) fn dig_all(
    client: &Client,
    server: &str,
    options: &str,
    questions: &[(String, &str)],
) -> Vec<Printed> {
    try_dig_all(client, server, options, questions).expect("dig gets all replies")
}

/// The same for conditions that are waited for: a lost reply is an error, and the next look asks again.
pub(crate) fn try_dig_all(
    client: &Client,
    server: &str,
    options: &str,
    questions: &[(String, &str)],
) -> Result<Vec<Printed>, LabError> {
    let line = |(name, rtype): &(String, &str)| {
        let shown = "+noall +comments +answer +time=2 +tries=1";
        format!("@{server} {name} {rtype} {shown} {options}\n")
    };
    let file = client.host().folder().join("questions");
    fs::write(&file, questions.iter().map(line).collect::<String>()).expect("a file");
    let file = file.to_string_lossy().into_owned();
    client.host().run("dig", &["-f", &file]).map(|text| printed(&text))
}

/// Asks these names and types with `kdig`, in one run of it.
pub(crate) fn kdig_all(
    client: &Client,
    server: &str,
    options: &str,
    questions: &[(String, &str)],
) -> Vec<Printed> {
    let at = format!("@{server}");
    let mut args = vec![at.as_str(), "+noall", "+header", "+answer", "+time=2", "+retry=0"];
    args.extend(options.split_whitespace());
    for (name, rtype) in questions {
        args.extend([name.as_str(), rtype]);
    }
    printed(&client.host().run("kdig", &args).expect("kdig gets all replies"))
}

/// Makes all these mounts at once.
pub(crate) fn restore_mounts(node: &Node, paths: &[String]) {
    let record = |path: &String| {
        format!(
            r#"{{"schema":1,"path":"{path}","source_username":"source","source_password_hash":"x"}}"#
        )
    };
    let records: Vec<String> = paths.iter().map(record).collect();
    let text =
        format!(r#"{{"format":"autoradio-mounts","schema":1,"mounts":[{}]}}"#, records.join(","));
    let file = node.host().folder().join("backup.json");
    fs::write(&file, text).expect("a file");
    node.radioctl_text(&["restore", "--yes", &file.to_string_lossy()]).expect("restored");
}

/// Answers of the node's kernel and of its userspace so far.
pub(crate) fn replies(node: &Node) -> (u64, u64) {
    let dns = node.status().expect("the daemon tells its status").dns;
    (dns.kernel_answers, dns.userspace_answers)
}

/// Waits until the kernel answers for the name, and not NXDOMAIN.
pub(crate) fn wait_name(lab: &Lab, client: &Client, node: &Node, name: &str) {
    let server = node.host().v4().to_string();
    lab.wait_until(&format!("{name} is in the zone"), SOON, || {
        let questions = [(name.to_owned(), "A")];
        let said = try_dig_all(client, &server, "", &questions);
        said.is_ok_and(|said| said.iter().any(|said| !said.answers.is_empty()))
    })
    .expect("the zone follows");
}

#[test]
fn answers_of_both_programs_are_read() {
    let dig = ";; Got answer:\n;; ->>HEADER<<- opcode: QUERY, status: NOERROR, id: 7\n\
        ;; flags: qr aa rd; QUERY: 1, ANSWER: 1\n\n;; ANSWER SECTION:\na.t.\t\t10\tIN\tA\t198.18.0.11\n\n\
        ;; Got answer:\n;; ->>HEADER<<- opcode: QUERY, status: NXDOMAIN, id: 8\n;; flags: qr aa; QUERY: 1\n";
    let kdig = ";; ->>HEADER<<- opcode: QUERY; status: NOERROR; id: 9\n;; Flags: qr aa rd; QUERY: 1\n\n\
        ;; ANSWER SECTION:\na.t.               \t10\tIN\tA\t198.18.0.11\n";
    let [first, second] = printed(dig).try_into().expect("two answers");
    assert_eq!((first.status.as_str(), first.flags.as_str()), ("NOERROR", "qr aa rd"));
    assert_eq!(first.answers, ["a.t. 10 IN A 198.18.0.11"]);
    assert_eq!((second.status.as_str(), second.answers.len()), ("NXDOMAIN", 0));
    assert_eq!(printed(kdig), [first]);
}
