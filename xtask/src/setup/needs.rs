//! What building and testing needs, and how to tell that it is there.

use std::path::Path;

use crate::process;

/// When something is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Group {
    /// On every machine.
    Always,
    /// Only where Debian's compiler for the kernel programs is not found, and nothing else will do.
    Compiler,
    /// Only where bpf-linker has to be built.
    Linker,
}

/// How to tell that a package, or what it holds, is there.
#[derive(Clone, Copy, Debug)]
pub(super) enum Proof {
    /// A program is found.
    Program(&'static str),
    /// A file exists.
    File(&'static str),
}

impl Proof {
    pub(super) fn is_there(self) -> bool {
        match self {
            Self::Program(name) => process::find(name).is_some(),
            Self::File(path) => Path::new(path).exists(),
        }
    }
}

/// One package.
#[derive(Debug)]
pub(super) struct Need {
    pub(super) package: &'static str,
    pub(super) proof: Proof,
    pub(super) why: &'static str,
    pub(super) group: Group,
    /// The service that Debian would start with it.
    pub(super) service: Option<&'static str>,
}

const fn always(package: &'static str, program: &'static str, why: &'static str) -> Need {
    let proof = Proof::Program(program);
    Need { package, proof, why, group: Group::Always, service: None }
}

const fn service(package: &'static str, program: &'static str, name: &'static str) -> Need {
    let service = Some(name);
    Need { service, ..always(package, program, "a service that every node runs") }
}

/// A server that Debian starts under its package's name.
const fn peer(package: &'static str, program: &'static str, why: &'static str) -> Need {
    Need { service: Some(package), ..always(package, program, why) }
}

const fn file(group: Group, package: &'static str, path: &'static str, why: &'static str) -> Need {
    Need { package, proof: Proof::File(path), why, group, service: None }
}

/// The programs themselves prove nothing: Debian's older compiler has the same names.
const fn compiler(package: &'static str, list: &'static str) -> Need {
    file(Group::Compiler, package, list, "a compiler for the kernel programs")
}

use Group::{Always, Linker};

/// Debian's compiler for the kernel programs.
pub(super) const COMPILER: &str = "rustc-web";

/// Files of packages without a program, where they are on every architecture.
const VLC_PLUGINS: &str = "/usr/share/doc/vlc-plugin-base";
const GST_PLUGINS: &str = "/usr/share/doc/gstreamer1.0-plugins-good";

/// Everything, in the order in which it is reported.
pub(super) const NEEDS: [Need; 44] = [
    service("etcd-server", "etcd", "etcd"),
    service("icecast2", "icecast2", "icecast2"),
    always("etcd-client", "etcdctl", "looking into the cluster's records"),
    always("ffmpeg", "ffmpeg", "sources and the judge of what listeners hear"),
    always("oggfwd", "oggfwd", "a source that is libshout"),
    always("libshout-tools", "shout", "a source that speaks all that libshout does"),
    always("ezstream", "ezstream", "a source that is libshout without TLS"),
    always("liquidsoap", "liquidsoap", "a source with forms of its own"),
    peer("mpd", "mpd", "a player that is a source"),
    always("mpv", "mpv", "a listener that is ffmpeg"),
    always("mpg123", "mpg123", "a listener of MP3 alone"),
    always("vorbis-tools", "ogg123", "a listener of Ogg alone"),
    always("vlc-bin", "cvlc", "a listener that opens every stream twice"),
    file(Always, "vlc-plugin-base", VLC_PLUGINS, "what vlc hears with"),
    always("gstreamer1.0-tools", "gst-launch-1.0", "a listener, and a source, that is GStreamer"),
    file(Always, "gstreamer1.0-plugins-good", GST_PLUGINS, "what GStreamer hears and sends with"),
    always("chromium", "chromium", "a listener that is a browser"),
    always("bind9-dnsutils", "dig", "DNS queries as a user sends them"),
    always("knot-dnsutils", "kdig", "DNS queries with every option"),
    always("dnsperf", "dnsperf", "latencies of DNS answers"),
    peer("knot", "knotd", "a DNS server to measure ourselves against"),
    peer("nsd", "nsd", "a DNS server to measure ourselves against"),
    peer("gdnsd", "gdnsd", "a DNS server to measure ourselves against"),
    Need {
        service: Some("nginx"),
        ..always("nginx-light", "nginx", "a proxy to measure ourselves against")
    },
    peer("haproxy", "haproxy", "a proxy to measure ourselves against"),
    always("wrk", "wrk", "HTTP requests as fast as they go"),
    peer("unbound", "unbound", "a resolver that asks us as resolvers do"),
    always("iproute2", "ip", "the lab's namespaces"),
    always("ethtool", "ethtool", "the lab's checksum offload"),
    always("iputils-ping", "ping", "the lab's own tests"),
    always("faketime", "faketime", "wall clocks that jump in the lab"),
    always("curl", "curl", "listeners and status"),
    always("procps", "ps", "looking at processes in the lab"),
    always("protobuf-compiler", "protoc", "etcd's protocol in the daemon"),
    file(
        Always,
        "libprotobuf-dev",
        "/usr/include/google/protobuf/descriptor.proto",
        "etcd's protocol in the daemon",
    ),
    compiler(COMPILER, "/var/lib/dpkg/info/rustc-web.list"),
    compiler("cargo-web", "/var/lib/dpkg/info/cargo-web.list"),
    compiler("rust-web-src", "/var/lib/dpkg/info/rust-web-src.list"),
    Need { group: Linker, ..always("g++", "g++", "building bpf-linker") },
    file(Linker, "llvm-22-dev", "/usr/lib/llvm-22/include/llvm/IR", "building bpf-linker"),
    file(Linker, "libpolly-22-dev", "/usr/lib/llvm-22/include/polly", "building bpf-linker"),
    file(Linker, "zlib1g-dev", "/usr/include/zlib.h", "building bpf-linker"),
    file(Linker, "libzstd-dev", "/usr/include/zstd.h", "building bpf-linker"),
    file(Linker, "libxml2-dev", "/usr/include/libxml2", "building bpf-linker"),
];
