//! Icecast, set as autoradio sets its own: the same burst and the same room for who lags.

use std::net::SocketAddr;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result};
use autoradio_lab::load::Source;
use autoradio_lab::status::CreatedMount;
use nix::unistd::{Group, User};

use super::{MOUNT, Server, connects};

const PASSWORD: &str = "hackme";

/// Starts it at an address, and a source that plays to it.
pub(super) fn start(server: &mut Server, address: SocketAddr) -> Result<()> {
    let config = server.write("icecast.xml", &settings(server, address))?;
    let mut command = Command::new("icecast2");
    command.arg("-c").arg(config);
    // It refuses to run as root.
    if nix::unistd::geteuid().is_root() {
        let (user, group) = (User::from_name("nobody")?, Group::from_name("nogroup")?);
        let (user, group) = user.zip(group).context("this machine has no user nobody")?;
        chown(&server.folder, Some(user.uid.as_raw()), Some(group.gid.as_raw()))?;
        command.uid(user.uid.as_raw()).gid(group.gid.as_raw());
    }
    server.spawn("icecast", command)?;
    server.wait_until("Icecast listens", |_| connects(address))?;
    let mount = CreatedMount {
        path: MOUNT.to_owned(),
        source_username: "source".to_owned(),
        source_password: PASSWORD.to_owned(),
        listen_url: String::new(),
    };
    server.source = Some(Source::start(address, &mount)?);
    Ok(())
}

fn settings(server: &Server, address: SocketAddr) -> String {
    let (folder, port) = (server.folder.display(), address.port());
    format!(
        "<icecast>\n\
         <limits><clients>100000</clients><sources>2</sources><queue-size>1048576</queue-size>\
         <burst-size>65536</burst-size><client-timeout>30</client-timeout></limits>\n\
         <authentication><source-password>{PASSWORD}</source-password>\
         <admin-user>admin</admin-user><admin-password>{PASSWORD}</admin-password></authentication>\n\
         <location>bench</location><admin>bench</admin><hostname>localhost</hostname>\n\
         <listen-socket><port>{port}</port><bind-address>127.0.0.1</bind-address></listen-socket>\n\
         <fileserve>0</fileserve>\n\
         <paths><basedir>{folder}</basedir><logdir>{folder}</logdir>\
         <webroot>/usr/share/icecast2/web</webroot><adminroot>/usr/share/icecast2/admin</adminroot></paths>\n\
         <logging><accesslog>access.log</accesslog><errorlog>error.log</errorlog>\
         <loglevel>1</loglevel></logging>\n\
         </icecast>\n"
    )
}
