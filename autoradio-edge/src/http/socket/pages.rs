//! Pages: the public status page and the playlists, served by hyper.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt::Write;
use std::time::Duration;

use autoradio_common::limits::{HTTP_PAGE_MS_MAX, HTTP_STATUS_MOUNTS_MAX};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::server::{FrontSettings, Shared};
use super::sniff::Sniffed;
use crate::cluster::MountPath;
use quick_xml::escape::escape;

use crate::http::route::{Route, route};
use crate::http::stats::{FrontView, MountView};
use crate::placement::{PlacedMount, Placement};

const HTML: &str = "text/html; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";
const STYLE: &str = "body{font:1rem/1.5 system-ui,sans-serif;max-width:46rem;margin:3rem auto;padding:0 1rem;\
color:#222;background:#fff}table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.4rem .6rem;\
border-bottom:1px solid #ddd}.live{color:#087f23}.off{color:#777}footer{margin-top:2rem;color:#777}\
@media(prefers-color-scheme:dark){body{color:#ddd;background:#161616}th,td{border-color:#333}a{color:#8ab4f8}\
.live{color:#5fd37a}}";

/// Hands a connection to hyper, with the bytes already read, for one answer.
///
/// hyper closes after it: the next request on the connection might be a source's or a listener's, which hyper cannot
/// carry, and a new connection is sniffed again.
pub(super) async fn serve(shared: &Shared, client: TcpStream, request: &Sniffed) {
    let (read, write) = client.into_split();
    let replay = std::io::Cursor::new(request.bytes.clone()).chain(read);
    let io = TokioIo::new(tokio::io::join(replay, write));
    let service = hyper::service::service_fn(|request: Request<Incoming>| async move {
        Ok::<_, Infallible>(page(shared, &request))
    });
    let serving =
        hyper::server::conn::http1::Builder::new().keep_alive(false).serve_connection(io, service);
    let page_max = Duration::from_millis(HTTP_PAGE_MS_MAX);
    if let Ok(Err(error)) = tokio::time::timeout(page_max, serving).await {
        tracing::debug!(%error, "page not delivered");
    }
}

fn page(shared: &Shared, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let placement = shared.placement();
    let target = request.uri().to_string();
    let (status, content_type, text) = match route(request.method().as_str(), &target, &placement) {
        Route::Status => {
            let view = shared.stats.view();
            let text = status_page(&shared.settings, &placement, &view);
            (StatusCode::OK, HTML, text)
        }
        Route::Playlist(mount, kind) => {
            let url = public_url(&shared.settings, &mount);
            let name = placement.mounts.get(&mount).map_or("", |placed| title(placed));
            (StatusCode::OK, kind.content_type(), kind.render(name, &url))
        }
        Route::MethodNotAllowed => (
            StatusCode::METHOD_NOT_ALLOWED,
            TEXT,
            format!("{} is no method of this page.\n", request.method()),
        ),
        _ => (
            StatusCode::NOT_FOUND,
            TEXT,
            "There is nothing here: no such mount or page.\n".to_owned(),
        ),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'"),
    );
    if request.method() == Method::GET || request.method() == Method::HEAD {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    }
    response
}

/// Where everybody finds the mount: the cluster's name, not this node's.
fn public_url(settings: &FrontSettings, mount: &MountPath) -> String {
    let port = match settings.ports.first() {
        Some(port) if !settings.ports.contains(&80) => format!(":{port}"),
        _ => String::new(),
    };
    format!("http://{}{port}{}", settings.domain, mount.to_url_path())
}

fn title(placed: &PlacedMount) -> &str {
    let record = &placed.record;
    record.name.as_deref().unwrap_or(record.path.as_str())
}

fn status_page(settings: &FrontSettings, placement: &Placement, view: &FrontView) -> String {
    let domain = escape(&settings.domain);
    let rows = status_rows(placement, view);
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{domain}</title>\n\
         <meta name=\"viewport\" content=\"width=device-width\"><style>{STYLE}</style></head>\n\
         <body><h1>{domain}</h1>\n<table><thead><tr><th>Mount</th><th>Play</th><th>Source</th>\
         <th>Listeners</th></tr></thead><tbody>\n{rows}</tbody></table>\n\
         <footer>Node {}: listeners {}, sources {}</footer></body></html>\n",
        settings.node, view.listeners, view.sources
    )
}

/// One row per mount, and one that says what is not shown.
fn status_rows(placement: &Placement, view: &FrontView) -> String {
    let seen: HashMap<&MountPath, &MountView> =
        view.mounts.iter().map(|mount| (&mount.path, mount)).collect();
    let mut rows = String::new();
    for (path, placed) in placement.mounts.iter().take(HTTP_STATUS_MOUNTS_MAX) {
        let seen = seen.get(path);
        rows.push_str(&status_row(path, placed, seen.is_some_and(|mount| mount.source_connected)));
        let listeners = seen.map_or(0, |mount| mount.listeners);
        // Writing to a string cannot fail.
        let _ = writeln!(rows, "<td>{listeners}</td></tr>");
    }
    let _ = match placement.mounts.len() {
        0 => writeln!(rows, "<tr><td colspan=\"4\">There is no mount yet.</td></tr>"),
        mounts if mounts > HTTP_STATUS_MOUNTS_MAX => {
            let more = mounts - HTTP_STATUS_MOUNTS_MAX;
            writeln!(rows, "<tr><td colspan=\"4\">There are {more} more mounts.</td></tr>")
        }
        _ => Ok(()),
    };
    rows
}

fn status_row(path: &MountPath, placed: &PlacedMount, live: bool) -> String {
    let (class, word) = if live { ("live", "live") } else { ("off", "not here") };
    let url = path.to_url_path();
    format!(
        "<tr><td title=\"{}\">{}</td><td><a href=\"{url}\">play</a> <a href=\"{url}.m3u\">m3u</a> \
         <a href=\"{url}.pls\">pls</a> <a href=\"{url}.xspf\">xspf</a></td>\
         <td class=\"{class}\">{word}</td>",
        escape(path.as_str()),
        escape(title(placed)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use crate::cluster::{Capacity, Standing, StandingReader, TitleWriter};
    use crate::http::testing::placement_of;

    fn settings(ports: &[u16]) -> FrontSettings {
        FrontSettings {
            domain: "radio.test".to_owned(),
            node: "node1".parse().expect("a node name"),
            ports: ports.to_vec(),
            secrets: crate::http::testing::secrets(),
            connections_max: 16_384,
            connections_per_address: 0,
            standing: StandingReader::always(Standing::Sure),
            own_state: crate::peer::OwnState::new(|| unreachable!("pages do not tell it")),
            icecast_proxy: true,
            capacity_whole: Capacity::default(),
            ledger: Arc::default(),
            icecast: ([127, 0, 0, 1], 8000).into(),
            gate: crate::http::testing::gate(),
            titles: TitleWriter::default(),
            ended: None,
            listener_gate: crate::http::testing::listener_gate(),
            trusted_proxies: crate::http::TrustedProxies::default(),
        }
    }

    #[test]
    fn public_urls_name_the_cluster_and_only_a_port_that_is_needed() {
        let mount: MountPath = "/caf\u{e9} 1.mp3".parse().expect("a mount path");
        for (ports, want) in [
            (&[80, 8080][..], "http://radio.test/caf%C3%A9%201.mp3"),
            (&[8080, 80], "http://radio.test/caf%C3%A9%201.mp3"),
            (&[8080], "http://radio.test:8080/caf%C3%A9%201.mp3"),
        ] {
            assert_eq!(public_url(&settings(ports), &mount), want);
        }
    }

    #[test]
    fn a_long_status_page_is_cut_and_says_so() {
        let mut placement = placement_of(&["/m"]);
        let placed = placement.mounts.values().next().expect("the mount").clone();
        for number in 1..HTTP_STATUS_MOUNTS_MAX + 7 {
            let path = format!("/m{number}").parse().expect("a mount path");
            placement.mounts.insert(path, placed.clone());
        }
        let stats = Arc::new(crate::http::FrontStats::default());
        let _seat = stats.seat(&"/m".parse().expect("a mount path"), None);
        let rows = status_rows(&placement, &stats.view());
        assert_eq!(rows.matches(">play</a>").count(), HTTP_STATUS_MOUNTS_MAX);
        assert!(rows.contains("There are 7 more mounts."), "{rows}");
        assert_eq!(rows.matches("<td>1</td>").count(), 1);
    }

    #[test]
    fn names_of_mounts_cannot_break_the_page() {
        let placement = placement_of(&["/<script>\"'&"]);
        let html = status_page(&settings(&[80]), &placement, &FrontView::default());
        assert!(!html.contains("<script>"), "{html}");
        assert!(html.contains("href=\"/%3Cscript%3E%22%27%26.m3u\""), "{html}");
    }
}
