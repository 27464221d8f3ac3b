//! A real Icecast for the front's tests. Loopback only.

use std::io::Write;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::ports::free_ports;
use crate::rig::{Client, LONGEST, Process, wait_until};

/// A real Icecast on a free port of loopback.
pub(crate) struct Icecast {
    pub(crate) port: u16,
    process: Process,
    _directory: tempfile::TempDir,
}

impl Icecast {
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let [port] = free_ports();
        let config = directory.path().join("icecast.xml");
        std::fs::write(&config, icecast_xml(port, &directory.path().display().to_string()))
            .expect("the configuration is written");
        let mut command = Command::new("icecast2");
        command.arg("-c").arg(&config);
        // Icecast refuses to run as root.
        if nix::unistd::geteuid().is_root() {
            let user = nix::unistd::User::from_name("icecast2")
                .expect("a readable user database")
                .expect("the package icecast2 makes this user");
            for path in [directory.path(), &config] {
                nix::unistd::chown(path, Some(user.uid), Some(user.gid)).expect("root may");
            }
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        let process = Process::spawn(&mut command);
        wait_until("Icecast listens", || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok());
        Self { port, process, _directory: directory }
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// A source that comes to Icecast past the front.
    pub(crate) fn source(&self, mount: &str, content_type: &str) -> Client {
        let mut stream =
            TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).expect("Icecast accepts");
        stream.set_read_timeout(Some(LONGEST)).expect("a timeout");
        // `source:inner-source`
        let authorization = "Authorization: Basic c291cmNlOmlubmVyLXNvdXJjZQ==";
        let head = format!(
            "SOURCE {mount} HTTP/1.0\r\n{authorization}\r\nContent-Type: {content_type}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).expect("the request is taken");
        let mut source = Client { stream };
        assert_eq!(source.read_head(), "HTTP/1.0 200 OK\r\n\r\n");
        source
    }
}

fn icecast_xml(port: u16, directory: &str) -> String {
    format!(
        "<icecast><limits><sources>10</sources><clients>100</clients>\
         <burst-on-connect>0</burst-on-connect></limits>\
         <authentication><source-password>inner-source</source-password>\
         <relay-password>inner-relay</relay-password><admin-user>admin</admin-user>\
         <admin-password>inner-admin</admin-password></authentication>\
         <hostname>localhost</hostname>\
         <listen-socket><port>{port}</port><bind-address>127.0.0.1</bind-address></listen-socket>\
         <fileserve>0</fileserve><paths><logdir>{directory}</logdir>\
         <webroot>/usr/share/icecast2/web</webroot><adminroot>/usr/share/icecast2/admin</adminroot>\
         </paths><logging><accesslog>access.log</accesslog><errorlog>error.log</errorlog>\
         <loglevel>1</loglevel></logging></icecast>"
    )
}
