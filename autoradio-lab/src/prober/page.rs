//! A page for a browser, served on the client's own machine, that tells what it sees.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{Worker, failed, stopped};
use crate::{Client, LabError};

/// Where the browser finds it.
const PORT: u16 = 8_090;
const PAUSE: Duration = Duration::from_millis(20);
/// Longest time that one request may take.
const PATIENCE: Duration = Duration::from_secs(2);
const REQUEST_BYTES_MAX: usize = 64 * 1024;

/// Serves one page to whoever asks, and keeps the body of every POST.
#[derive(Debug)]
pub struct Page {
    reports: Reports,
    _worker: Worker,
}

type Reports = Arc<Mutex<Vec<String>>>;

impl Page {
    /// Starts serving `html`.
    pub fn start(client: &Client, html: &str) -> Result<Self, LabError> {
        let (reports, html) = (Reports::default(), html.to_owned());
        let log = reports.clone();
        let worker = Worker::start(client, move |stop| {
            if let Err(error) = serve(stop, &html, &log) {
                eprintln!("the page is gone: {}", failed("serving a page")(error));
            }
        })?;
        Ok(Self { reports, _worker: worker })
    }

    /// Where it is, for a browser on the same client.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{PORT}/")
    }

    /// What it has told so far.
    pub fn reports(&self) -> Vec<String> {
        self.reports.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn serve(stop: &AtomicBool, html: &str, log: &Reports) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, PORT))?;
    listener.set_nonblocking(true)?;
    while !stopped(stop) {
        match listener.accept() {
            // A browser opens connections that it never uses.
            Ok((client, _)) => answer(client, html, log).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(PAUSE),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn answer(mut client: TcpStream, html: &str, log: &Reports) -> io::Result<()> {
    client.set_nonblocking(false)?;
    client.set_read_timeout(Some(PATIENCE))?;
    let mut request = Vec::new();
    let mut buffer = [0; 4 * 1024];
    let body = loop {
        if let Some(body) = body(&request) {
            break body;
        }
        let bytes = client.read(&mut buffer)?;
        if bytes == 0 || request.len() > REQUEST_BYTES_MAX {
            return Ok(());
        }
        request.extend_from_slice(&buffer[..bytes]);
    };
    let page = if request.starts_with(b"POST ") {
        log.lock().unwrap_or_else(PoisonError::into_inner).push(body);
        ""
    } else {
        html
    };
    let length = page.len();
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {length}\r\n");
    client.write_all(format!("{head}Connection: close\r\n\r\n{page}").as_bytes())
}

/// The body of a request, once it is whole.
fn body(request: &[u8]) -> Option<String> {
    let end = request.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&request[..end]).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length = length.and_then(|bytes| bytes.trim().parse().ok()).unwrap_or(0);
    let body = request.get(end..end + length)?;
    Some(String::from_utf8_lossy(body).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_whole_with_all_of_its_body() {
        let request = b"POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nplay";
        assert_eq!(body(request).as_deref(), Some("play"));
        assert_eq!(body(&request[..request.len() - 1]), None);
        assert_eq!(body(b"GET / HTTP/1.1\r\nHost: a\r\n"), None);
        assert_eq!(body(b"GET / HTTP/1.1\r\n\r\n").as_deref(), Some(""));
    }
}
