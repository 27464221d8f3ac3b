//! Lines of the access log: NCSA's combined form with the seconds at the end, as Icecast 2.4.4 writes them. Pure.

use super::calendar::ncsa;
use crate::stream::Ended;

/// The line of a listener who has gone, its line end included: bytes are all that it got, seconds how long it was there.
///
/// Of what was asked for the query is left out, as Icecast leaves it out: it may hold a listener's token.
pub(super) fn line(ended: &Ended) -> String {
    let Ended { view, request, referer, unix_s } = ended;
    let (address, when) = (view.address, ncsa(*unix_s));
    let request = plain(Some(&without_query(request)));
    let (referer, agent) = (plain(referer.as_deref()), plain(view.agent.as_deref()));
    let (bytes, seconds) = (view.bytes, view.connected_s);
    format!(
        "{address} - - [{when}] \"{request}\" 200 {bytes} \"{referer}\" \"{agent}\" {seconds}\n"
    )
}

fn without_query(request: &str) -> String {
    let cut = |word: &str| word.split('?').next().unwrap_or_default().to_owned();
    request.split(' ').map(cut).collect::<Vec<_>>().join(" ")
}

/// A client's words as they may stand between quotation marks: what would end them, or the line, becomes a dot.
fn plain(words: Option<&str>) -> String {
    let harmless = |letter: char| match letter {
        '"' | '\\' => '.',
        letter if letter.is_control() => '.',
        letter => letter,
    };
    match words {
        None | Some("") => "-".to_owned(),
        Some(words) => words.chars().map(harmless).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::ListenerView;

    fn ended(agent: Option<&str>, request: &str) -> Ended {
        Ended {
            view: ListenerView {
                id: 1,
                mount: "/live.mp3".parse().expect("a mount path"),
                address: "192.0.2.7".parse().expect("an address"),
                agent: agent.map(str::to_owned),
                connected_s: 2,
                bytes: 78_799,
                lag_bytes: 0,
            },
            request: request.to_owned(),
            referer: Some("http://ref/".to_owned()),
            unix_s: 1_795_580_971,
        }
    }

    #[test]
    fn a_listener_leaves_the_line_that_icecast_would_write() {
        let gone = ended(Some("VLC/3 \"q\" <x>"), "GET /live.mp3 HTTP/1.0");
        assert_eq!(
            line(&gone),
            "192.0.2.7 - - [25/Nov/2026:04:29:31 +0000] \"GET /live.mp3 HTTP/1.0\" 200 78799 \
             \"http://ref/\" \"VLC/3 .q. <x>\" 2\n"
        );
    }

    #[test]
    fn no_client_writes_a_second_line_or_its_token() {
        let gone = ended(Some("a\r\n1.2.3.4 - - \\"), "GET /live.mp3?token=secret HTTP/1.1");
        let line = line(&gone);
        assert_eq!(line.lines().count(), 1);
        assert!(line.contains("\"GET /live.mp3 HTTP/1.1\"") && !line.contains("secret"), "{line}");
        let gone = Ended { referer: None, ..ended(None, "") };
        assert!(super::line(&gone).contains("\"-\" 200 78799 \"-\" \"-\" 2\n"));
    }
}
