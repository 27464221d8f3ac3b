//! `/status-json.xsl`, in the exact shape of Icecast 2.4.4 (captured from it), for the whole cluster. Pure.
//!
//! Fields stand in the order of their names and `"dummy":null` ends each object, as Icecast's style sheet leaves it. One source
//! is an object, several are an array, none leaves the field out. A `callback` is not heeded, as in 2.4.4. Two things differ:
//! a text that looks like a number stays a text (a title "1979" breaks players that expect one), and there is
//! `unique_listeners`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::calendar::{iso8601, mail};
use super::streams::{self, Playing};
use crate::cluster::MountPath;
use crate::placement::Placement;

/// What is nobody's business but the operator's.
const PRIVATE: [&str; 3] = ["public", "source_ip", "user_agent"];
/// What is a text, whatever it looks like.
const TEXTS: [&str; 10] = [
    "artist",
    "audio_info",
    "genre",
    "listenurl",
    "server_description",
    "server_name",
    "server_type",
    "server_url",
    "subtype",
    "title",
];

/// What a node says of itself on its pages.
#[derive(Clone, Debug)]
pub(super) struct About<'a> {
    /// The cluster's name.
    pub(super) host: &'a str,
    /// Since when the daemon serves, in seconds of Unix time.
    pub(super) since_unix_s: u64,
}

impl About<'_> {
    /// The fields of the server, as Icecast has them.
    pub(super) fn fields(&self) -> BTreeMap<&'static str, String> {
        [
            ("admin", format!("hostmaster@{}", self.host)),
            ("host", self.host.to_owned()),
            ("location", "autoradio".to_owned()),
            ("server_id", concat!("autoradio ", env!("CARGO_PKG_VERSION")).to_owned()),
            ("server_start", mail(self.since_unix_s)),
            ("server_start_iso8601", iso8601(self.since_unix_s)),
        ]
        .into()
    }
}

/// The document. `only` names the one mount that was asked for, which need not be there; `url` tells where listeners find a mount.
pub(super) fn render(
    placement: &Placement,
    about: &About<'_>,
    only: Option<&str>,
    url: impl Fn(&MountPath) -> String,
) -> String {
    let playing = match only {
        None => streams::all(placement),
        Some(only) => {
            let mount = only.parse().ok();
            mount.and_then(|mount| streams::one(placement, &mount)).into_iter().collect()
        }
    };
    let mut sources = playing.iter().map(|stream| source(stream, url(stream.mount)));
    let mut fields: Vec<(&str, String)> = about
        .fields()
        .into_iter()
        .map(|(name, value)| (name, Value::from(value).to_string()))
        .collect();
    match playing.len() {
        0 => {}
        1 => fields.extend(sources.next().map(|source| ("source", source))),
        _ => fields.push(("source", format!("[{}]", sources.collect::<Vec<_>>().join(",")))),
    }
    format!("{{\"icestats\":{}}}", object(&fields))
}

fn source(stream: &Playing<'_>, listenurl: String) -> String {
    let shown = stream.fields.iter().filter(|(name, _)| !PRIVATE.contains(name));
    let mut fields: BTreeMap<&str, Value> =
        shown.map(|(name, text)| (*name, value(name, text))).collect();
    fields.extend([
        ("listener_peak", stream.peak.into()),
        ("listeners", stream.listeners.into()),
        ("listenurl", listenurl.into()),
        ("stream_start", mail(stream.since_unix_s).into()),
        ("stream_start_iso8601", iso8601(stream.since_unix_s).into()),
        ("unique_listeners", stream.unique.into()),
    ]);
    let fields: Vec<_> =
        fields.into_iter().map(|(name, value)| (name, value.to_string())).collect();
    object(&fields)
}

/// A number where there is one, else a text.
fn value(name: &str, text: &str) -> Value {
    let number = || {
        let plain = text.bytes().all(|byte| byte.is_ascii_digit() || b"-.".contains(&byte));
        let float = || text.parse().ok().and_then(serde_json::Number::from_f64).map(Value::from);
        text.parse::<u64>().ok().map(Value::from).or_else(float).filter(|_| plain)
    };
    let number = if TEXTS.contains(&name) { None } else { number() };
    number.unwrap_or_else(|| text.into())
}

/// Fields, their values JSON already, and what ends every object of Icecast's.
fn object(fields: &[(&str, String)]) -> String {
    let mut text = String::from("{");
    for (name, value) in fields {
        text.extend([&Value::from(*name).to_string(), ":", value, ","]);
    }
    text.push_str("\"dummy\":null}");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::{playing_on, stream_of};

    fn rendered(placement: &Placement, only: Option<&str>) -> String {
        let about = About { host: "radio.test", since_unix_s: 1_795_580_919 };
        render(placement, &about, only, |mount| {
            format!("http://radio.test:18111{}", mount.to_url_path())
        })
        .replace(concat!("autoradio ", env!("CARGO_PKG_VERSION")), "SERVER")
    }

    const HEAD: &str = r#"{"icestats":{"admin":"hostmaster@radio.test","host":"radio.test","location":"autoradio","server_id":"SERVER","server_start":"Wed, 25 Nov 2026 04:28:39 +0000","server_start_iso8601":"2026-11-25T04:28:39+0000","#;
    const LIVE: &str = r#"{"genre":"rock","listener_peak":5,"listeners":3,"listenurl":"http://radio.test:18111/live.mp3","server_description":"the \"desc\" ü","server_name":"A & B","server_type":"audio/mpeg","server_url":"http://x.y/","stream_start":"Wed, 25 Nov 2026 04:28:50 +0000","stream_start_iso8601":"2026-11-25T04:28:50+0000","title":"1979","unique_listeners":2,"dummy":null}"#;
    const RICH: &str = r#"{"audio_info":"ice-bitrate=128;ice-channels=2","bitrate":128,"genre":"a <b>","ice-bitrate":128,"ice-quality":4.5,"listener_peak":0,"listeners":0,"listenurl":"http://radio.test:18111/rich.mp3","server_name":"N\"x\\y/z","server_type":"audio/mpeg","stream_start":"Wed, 25 Nov 2026 04:28:50 +0000","stream_start_iso8601":"2026-11-25T04:28:50+0000","subtype":"Vorbis","unique_listeners":0,"dummy":null}"#;

    fn placement() -> Placement {
        let live = [
            ("genre", "rock"),
            ("public", "1"),
            ("server_description", "the \"desc\" \u{fc}"),
            ("server_name", "A & B"),
            ("server_type", "audio/mpeg"),
            ("server_url", "http://x.y/"),
            ("source_ip", "127.0.0.1"),
            ("title", "1979"),
            ("user_agent", "Lavf"),
        ];
        let rich = [
            ("audio_info", "ice-bitrate=128;ice-channels=2"),
            ("bitrate", "128"),
            ("genre", "a <b>"),
            ("ice-bitrate", "128"),
            ("ice-quality", "4.5"),
            ("server_name", "N\"x\\y/z"),
            ("server_type", "audio/mpeg"),
            ("subtype", "Vorbis"),
        ];
        let since = 1_795_580_930;
        playing_on(&[
            ("/live.mp3", stream_of(since, &live), &[(2, 1), (1, 1)], 5),
            ("/rich.mp3", stream_of(since, &rich), &[], 0),
        ])
    }

    #[test]
    fn none_one_and_several_sources_have_icecasts_three_shapes() {
        let placement = placement();
        assert_eq!(rendered(&placement, Some("/no")), format!("{HEAD}\"dummy\":null}}}}"));
        let one = format!("{HEAD}\"source\":{LIVE},\"dummy\":null}}}}");
        assert_eq!(rendered(&placement, Some("/live.mp3")), one);
        let several = format!("{HEAD}\"source\":[{LIVE},{RICH}],\"dummy\":null}}}}");
        assert_eq!(rendered(&placement, None), several);
        serde_json::from_str::<Value>(&several).expect("JSON");
    }

    #[test]
    fn what_the_operator_says_of_a_mount_comes_before_what_its_source_says() {
        let mut placement = placement();
        let mount = "/live.mp3".parse().expect("a mount path");
        let placed = placement.mounts.get_mut(&mount).expect("the mount");
        let mut record = (*placed.record).clone();
        (record.name, record.genre) = (Some("Ours".to_owned()), Some("jazz".to_owned()));
        placed.record = record.into();
        let text = rendered(&placement, Some("/live.mp3"));
        assert!(text.contains(r#""server_name":"Ours""#) && text.contains(r#""genre":"jazz""#));
    }

    #[test]
    fn only_what_is_a_plain_number_becomes_one() {
        for (name, text, want) in [
            ("bitrate", "128", "128"),
            ("ice-quality", "-1.5", "-1.5"),
            ("bitrate", "Quality 4", "\"Quality 4\""),
            ("bitrate", "inf", "\"inf\""),
            ("bitrate", "1e9", "\"1e9\""),
            ("bitrate", "", "\"\""),
            ("title", "1984", "\"1984\""),
        ] {
            assert_eq!(value(name, text).to_string(), want, "{name} {text}");
        }
    }
}
