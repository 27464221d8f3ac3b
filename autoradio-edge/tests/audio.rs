//! What real encoders make, taken apart, joined and interrupted by the hub's framer: ffmpeg is the source and the judge.

use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::thread;

use autoradio_edge::stream::{Codec, Framed, Framer};

/// How an encoder is called, what it makes, and by which name ffmpeg reads that.
struct Kind {
    encoder: &'static str,
    format: &'static str,
    codec: Codec,
}

const KINDS: [Kind; 10] = [
    Kind { encoder: "libmp3lame -b:a 128k", format: "mp3", codec: Codec::Mpeg },
    Kind { encoder: "libmp3lame -q:a 4 -ar 22050", format: "mp3", codec: Codec::Mpeg },
    Kind { encoder: "mp2 -b:a 192k", format: "mp2", codec: Codec::Mpeg },
    Kind { encoder: "aac -b:a 96k", format: "adts", codec: Codec::Adts },
    // Pages of one second, of which many packets go over two, and shorter ones.
    Kind { encoder: "libvorbis -q:a 4", format: "ogg", codec: Codec::Ogg },
    Kind { encoder: "libvorbis -page_duration 50000", format: "ogg", codec: Codec::Ogg },
    Kind { encoder: "libopus -ar 48000 -page_duration 100000", format: "ogg", codec: Codec::Ogg },
    Kind { encoder: "flac -page_duration 200000", format: "ogg", codec: Codec::Ogg },
    Kind { encoder: "libspeex -ar 16000 -ac 1", format: "ogg", codec: Codec::Ogg },
    Kind { encoder: "libtheora -r 10", format: "ogg", codec: Codec::Ogg },
];

/// Seconds of each encode.
const SECONDS: u32 = 8;

impl Kind {
    /// Whether ffmpeg itself decodes a chain of such links; of Speex and Theora it does not.
    fn chains(&self) -> bool {
        !["libspeex", "libtheora"].iter().any(|encoder| self.encoder.starts_with(encoder))
    }

    /// An encode of noise, which is another for each seed.
    fn encode(&self, seed: u32) -> Vec<u8> {
        let (medium, option) = if self.encoder.starts_with("libtheora") {
            (format!("testsrc=duration={SECONDS}:size=64x64:decimals={seed}"), "-c:v")
        } else {
            (format!("anoisesrc=d={SECONDS}:c=pink:r=44100:a=0.3:seed={seed}"), "-c:a")
        };
        let mut command = ffmpeg(&["-f", "lavfi", "-i", &medium, option]);
        command.args(self.encoder.split(' ')).args(["-f", self.format, "-"]);
        let output = command.output().expect("ffmpeg runs");
        assert!(output.status.success(), "{}: {}", self.encoder, text(&output));
        output.stdout
    }

    /// Panics unless `stream` decodes without an error; bytes of what was decoded.
    fn decoded_bytes(&self, why: &str, stream: &[u8]) -> usize {
        let input = match self.format {
            "adts" => "aac",
            "mp2" => "mp3",
            format => format,
        };
        let raw: &[&str] = if self.encoder.starts_with("libtheora") {
            &["-f", "rawvideo"]
        } else {
            &["-f", "s16le", "-ar", "44100", "-ac", "1"]
        };
        let mut command = ffmpeg(&["-f", input, "-i", "-"]);
        let output = fed(command.args(raw).arg("-"), stream);
        let errors = text(&output);
        assert!(output.status.success() && errors.is_empty(), "{}, {why}: {errors}", self.encoder);
        output.stdout.len()
    }
}

fn ffmpeg(arguments: &[&str]) -> Command {
    let mut command = Command::new("ffmpeg");
    command.args(["-hide_banner", "-nostdin", "-v", "error"]).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What a command says that is fed these bytes.
fn fed(command: &mut Command, bytes: &[u8]) -> Output {
    let mut child = command.stdin(Stdio::piped()).spawn().expect("ffmpeg runs");
    let mut stdin = child.stdin.take().expect("an input");
    thread::scope(|scope| {
        // It may stop reading before the end; then it says why.
        scope.spawn(move || stdin.write_all(bytes).unwrap_or_default());
        child.wait_with_output().expect("ffmpeg ends")
    })
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What comes of upstreams one after the other.
fn framed(upstreams: &[&[u8]]) -> (Framed, Option<Codec>) {
    // What ffmpeg says of anything.
    let (mut framer, mut out) = (Framer::new("audio/mpeg"), Framed::default());
    for (number, upstream) in upstreams.iter().enumerate() {
        if number > 0 {
            framer.interrupt(&mut out);
        }
        upstream.chunks(1_400).for_each(|piece| framer.push(piece, &mut out));
    }
    (out, framer.codec())
}

/// What a listener gets who joins at the border after so much of all.
fn joined(out: &Framed, percent: usize) -> Vec<u8> {
    let border = out.borders[out.borders.len() * percent / 100];
    let headers = out.headers.clone().unwrap_or_default();
    [&headers[..], &out.bytes[border..]].concat()
}

/// What a new upstream sends: headers and pages, or bytes, after so much of all. Where frames begin, Icecast does not look.
fn burst(kind: &Kind, stream: &[u8], percent: usize) -> Vec<u8> {
    if kind.codec == Codec::Ogg {
        joined(&framed(&[stream]).0, percent)
    } else {
        stream[stream.len() * percent / 100..].to_vec()
    }
}

/// Calls `check` for the kinds of which `wanted` is true.
fn for_each_kind(wanted: impl Fn(&Kind) -> bool, check: impl Fn(&Kind) + Sync) {
    thread::scope(|scope| {
        for kind in KINDS.iter().filter(|kind| wanted(kind)) {
            let check = &check;
            scope.spawn(move || check(kind));
        }
    });
}

/// Panics unless `found` is `want` but for some percent.
fn assert_near(why: &str, found: usize, want: usize, percent: usize) {
    assert!(found.abs_diff(want) * 100 <= want * percent, "{why}: {found} of {want} bytes decoded");
}

#[test]
fn what_encoders_make_comes_out_whole_and_may_be_joined() {
    for_each_kind(
        |_| true,
        |kind| {
            let stream = kind.encode(1);
            let (out, codec) = framed(&[&stream]);
            assert_eq!(codec, Some(kind.codec), "{}", kind.encoder);
            if kind.codec == Codec::Ogg {
                assert_eq!(out.bytes, stream, "{}", kind.encoder);
            }
            let want = kind.decoded_bytes("as it was made", &stream);
            assert_near(kind.encoder, kind.decoded_bytes("framed", &out.bytes), want, 1);
            for percent in [0, 30, 70] {
                kind.decoded_bytes("joined", &joined(&out, percent));
            }
        },
    );
}

#[test]
fn a_stream_whose_upstream_is_dialled_anew_is_heard_once() {
    for_each_kind(Kind::chains, |kind| {
        let stream = kind.encode(1);
        let lost = &stream[..stream.len() * 6 / 10];
        let (out, _) = framed(&[lost, &burst(kind, &stream, 30)]);
        let want = kind.decoded_bytes("as it was made", &stream);
        assert_near(kind.encoder, kind.decoded_bytes("interrupted", &out.bytes), want, 4);
        kind.decoded_bytes("joined after it", &joined(&out, 50));
        if kind.codec != Codec::Ogg {
            assert!(out.bytes == framed(&[&stream]).0.bytes, "{}: not the same", kind.encoder);
        }
    });
}

#[test]
fn another_stream_goes_on_where_one_was_lost() {
    for_each_kind(Kind::chains, |kind| {
        let (one, other) = (kind.encode(1), kind.encode(2));
        let lost = &one[..one.len() / 2];
        let (out, codec) = framed(&[lost, &burst(kind, &other, 50), &burst(kind, &one, 50)]);
        assert_eq!(codec, Some(kind.codec), "{}", kind.encoder);
        let want = kind.decoded_bytes("as it was made", &one) / 2 * 3;
        // What is less is the page that was cut, and that which the burst began in.
        assert_near(kind.encoder, kind.decoded_bytes("three halves", &out.bytes), want, 15);
    });
}
