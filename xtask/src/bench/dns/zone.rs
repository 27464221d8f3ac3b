//! What every server is asked, and the answer that all must give: three addresses of equal weight. Pure.

use std::net::Ipv4Addr;

use autoradio_lab::names::{self, Role};

/// The zone's name, and the name that is asked for.
pub(super) const NAME: &str = autoradio_lab::lab::DOMAIN;
/// How many addresses an answer has.
pub(super) const ADDRESSES: usize = 3;
/// Seconds that an answer may be kept, as autoradio says it.
const TTL: u32 = 10;

/// Bytes of the query: header, name, type and class, OPT (RFC 1035 §4.1, RFC 6891 §6.1.2).
pub(super) const QUERY_BYTES: usize = 12 + NAME.len() + 2 + 4 + 11;
/// Bytes of the answer: the query's, and of each address its name compressed.
pub(super) const ANSWER_BYTES: usize = QUERY_BYTES + ADDRESSES * 16;

/// The addresses of an answer; the first is the server's own.
pub(super) fn addresses() -> [Ipv4Addr; ADDRESSES] {
    [1, 2, 3].map(|index| names::v4(Role::Node, index))
}

/// The zone's head: its own names and its server's, in the form of a master file (RFC 1035 §5).
pub(super) fn head() -> String {
    let [server, ..] = addresses();
    format!(
        "$ORIGIN {NAME}.\n\
         $TTL {TTL}\n\
         @ IN SOA node1.{NAME}. hostmaster.{NAME}. 1 3600 600 86400 {TTL}\n\
         @ IN NS node1.{NAME}.\n\
         node1 IN A {server}\n"
    )
}

/// The whole zone.
pub(super) fn master_file() -> String {
    head() + &addresses().map(|address| format!("@ IN A {address}\n")).concat()
}

/// Whether kdig's output is the answer that all must give: authoritative, these addresses and no others.
pub(super) fn is_right(kdig: &str) -> bool {
    let mut found: Vec<Ipv4Addr> =
        kdig.lines().filter(|line| !line.starts_with(';')).filter_map(address).collect();
    found.sort_unstable();
    kdig.contains("status: NOERROR") && kdig.contains("Flags: qr aa") && found == addresses()
}

/// Whether kdig's output is the question sent back, with the flags that kdig sets itself.
pub(super) fn is_reflected(kdig: &str) -> bool {
    kdig.contains("Flags: qr rd ad; QUERY: 1; ANSWER: 0;")
}

/// The address of a line such as `radio.example.com. 10 IN A 198.18.0.11`.
fn address(line: &str) -> Option<Ipv4Addr> {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words[..] {
        [_, _, "IN", "A", address] => address.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = ";; ->>HEADER<<- opcode: QUERY; status: NOERROR; id: 1\n\
        ;; Flags: qr aa rd; QUERY: 1; ANSWER: 3; AUTHORITY: 0; ADDITIONAL: 1\n\
        ;; QUESTION SECTION:\n;; radio.example.com.  \tIN\tA\n\n;; ANSWER SECTION:\n";

    fn record(last: u8) -> String {
        format!("radio.example.com. \t10\tIN\tA\t198.18.0.{last}\n")
    }

    #[test]
    fn an_answer_is_right_in_any_order_and_only_whole() {
        for (why, last, want) in [
            ("in order", vec![11, 12, 13], true),
            ("turned", vec![13, 11, 12], true),
            ("one is missing", vec![11, 12], false),
            ("another address", vec![11, 12, 14], false),
            ("none", vec![], false),
        ] {
            let text = HEAD.to_owned() + &last.into_iter().map(record).collect::<String>();
            assert_eq!(is_right(&text), want, "{why}");
            assert!(!is_reflected(&text), "{why}");
        }
    }

    #[test]
    fn the_question_sent_back_is_told_from_an_answer() {
        let text = ";; ->>HEADER<<- opcode: QUERY; status: NOERROR; id: 1\n\
            ;; Flags: qr rd ad; QUERY: 1; ANSWER: 0; AUTHORITY: 0; ADDITIONAL: 1\n";
        assert!(is_reflected(text) && !is_right(text));
    }

    #[test]
    fn the_zone_has_every_address() {
        for address in addresses() {
            assert!(master_file().contains(&format!("@ IN A {address}\n")), "{address}");
        }
    }
}
