//! nginx with one worker.

use std::net::SocketAddr;
use std::process::Command;

use anyhow::Result;

use super::{Server, connects};

/// Passes streams on from Icecast, each by a connection of its own, without holding bytes back.
pub(super) fn proxy(server: &mut Server, backend: SocketAddr) -> Result<()> {
    start(
        server,
        &format!("proxy_buffering off; proxy_http_version 1.1; proxy_pass http://{backend};"),
    )
}

/// Answers everything with 302.
pub(super) fn redirect(server: &mut Server, to: &str) -> Result<()> {
    start(server, &format!("return 302 {to};"))
}

fn start(server: &mut Server, location: &str) -> Result<()> {
    let config = server.write("nginx.conf", &settings(server, location))?;
    let mut command = Command::new("nginx");
    command.arg("-p").arg(&server.folder).arg("-c").arg(config);
    server.spawn("nginx", command)?;
    server.wait_until("nginx listens", |it| connects(it.address))
}

fn settings(server: &Server, location: &str) -> String {
    let (folder, address) = (server.folder.display(), server.address);
    format!(
        "daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;\n\
         events {{ worker_connections 100000; }}\n\
         http {{\n\
         access_log off; keepalive_requests 1000000000;\n\
         server {{ listen {address} backlog=4096; location / {{ {location} }} }}\n\
         }}\n"
    )
}
