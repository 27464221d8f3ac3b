//! A browser that plays an `<audio>` element, and does not notice that the master of its mount is killed.

use std::fs;

use autoradio_lab::prober::{Moment, Page};
use autoradio_lab::{Lab, Node, Running};

use crate::rig::{SOON, pass, wait_connected};
use crate::sockets::readings;

const MOUNT: &str = "/live.mp3";
/// What the element must have played before the fault, and what beyond that in the end, in seconds. A burst of four would
/// carry it over the first five by itself.
const PLAYED_S: f64 = 2.0;
const MORE_S: f64 = 10.0;
/// Events after which a page would show that it plays no more.
const ENDS: [&str; 4] = ["error", "ended", "abort", "emptied"];

/// Tells every event of the element and how far it has played, one line each.
const PAGE: &str = r#"<!DOCTYPE html><title>radio</title><script>
const tell = what => fetch("/", { method: "POST", body: what, keepalive: true });
onload = () => {
    const audio = new Audio("URL");
    for (const event of ["playing", "waiting", "pause", "error", "ended", "abort", "emptied"])
        audio.addEventListener(event, () => tell(event + " " + audio.currentTime));
    setInterval(() => tell("at " + audio.currentTime), 250);
    audio.play().catch(error => tell("error " + error));
};
</script>"#;

const BROWSER: &str = "chromium --headless --no-sandbox --disable-gpu --disable-quic --no-first-run \
    --disable-background-networking --disable-component-update --disable-sync --mute-audio \
    --disable-dev-shm-usage --autoplay-policy=no-user-gesture-required";

/// How far the element has played, by the newest report, in seconds.
fn played(page: &Page) -> f64 {
    let reports = page.reports();
    let mut newest = reports.iter().rev().filter_map(|report| report.strip_prefix("at "));
    newest.next().and_then(|seconds| seconds.parse().ok()).unwrap_or(0.0)
}

/// What it has told besides that.
fn events(page: &Page) -> Vec<String> {
    page.reports().into_iter().filter(|report| !report.starts_with("at ")).collect()
}

fn wait_played(lab: &Lab, page: &Page, browser: &Running, seconds: f64) {
    let what = format!("the element has played for {seconds:.1} s");
    lab.wait_until(&what, SOON * 3, || played(page) > seconds).unwrap_or_else(|error| {
        panic!("{error}: {} s, {:?}, {}", played(page), events(page), browser.log_tail())
    });
}

fn browse(lab: &Lab, page: &Page) -> Running {
    let client = lab.client(1).host();
    let profile = client.folder().join("profile");
    fs::create_dir_all(&profile).unwrap();
    let (profile, url) = (format!("--user-data-dir={}", profile.display()), page.url());
    let words: Vec<&str> = BROWSER.split_whitespace().chain([profile.as_str(), &url]).collect();
    client.spawn(words[0], &words[1..], "browser").expect("a browser")
}

/// The node that serves the browser.
fn server(lab: &Lab) -> &Node {
    let readings = readings(lab.client(1).host());
    let browser = readings.iter().find(|(program, _)| program.starts_with("chrom"));
    let (_, reading) = browser.unwrap_or_else(|| panic!("it has no connection: {readings:?}"));
    let has = |node: &&Node| {
        let host = node.host();
        [host.v4().to_string(), host.v6().to_string()].iter().any(|it| reading.peer.contains(it))
    };
    lab.nodes().iter().find(has).expect("a node's address")
}

#[test]
#[ignore = "needs root and namespaces: cargo xtask test"]
fn a_browser_plays_on_when_the_master_is_killed_and_its_page_sees_no_error() {
    let lab = Lab::builder().nodes(3).clients(1).build().expect("a lab");
    lab.start_nodes().expect("all nodes are ready");
    let mount = lab.node(1).create_mount(MOUNT).expect("a mount");
    let source = lab.client(1).stream_tone_again(&mount.source_url(lab.domain()), 100).unwrap();
    wait_connected(&lab, MOUNT, &source);
    let master = lab.wait_master(MOUNT, SOON).unwrap();

    // Through a node that will live: whose own node dies loses its connection.
    let through = lab.others(master)[0].host().name();
    let url = format!("http://{through}.{}/_stream{MOUNT}", lab.domain());
    let page = Page::start(lab.client(1), &PAGE.replace("URL", &url)).unwrap();
    let mut browser = browse(&lab, &page);
    wait_played(&lab, &page, &browser, PLAYED_S);
    assert_ne!(server(&lab).host().name(), master.host().name());

    let (before, killed) = (played(&page), Moment::now());
    master.kill(SOON).unwrap();
    wait_played(&lab, &page, &browser, before + MORE_S);
    let took_ms = Moment::now().ms_since(killed);
    eprintln!("{MORE_S} s more took {took_ms} ms, {:?}", events(&page));
    pass(&lab, std::time::Duration::from_millis(500));
    let ends = |report: &String| ENDS.iter().any(|event| report.starts_with(event));
    assert!(!events(&page).iter().any(ends), "{:?}", events(&page));
    assert_eq!(browser.ended(), None, "{}", browser.log_tail());
}
