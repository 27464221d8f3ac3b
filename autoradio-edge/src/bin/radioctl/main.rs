//! `radioctl`: the operator's command line. It talks to etcd directly, so it works while every daemon is down; only for `dns`
//! it asks this host's daemon.
//!
//! `args` is what was typed, `input` and `settings` judge it, `mounts`, `nodes`, `cluster`, `backup` and `dns` do it, `local_socket` asks the daemon, `view`,
//! `cluster_view` and `dns_view` are what is shown, `output` shows it, `failure` says how it ended.

mod args;
mod backup;
mod cluster;
mod cluster_view;
mod dns;
mod dns_view;
mod failure;
mod input;
mod local_socket;
mod mounts;
mod nodes;
mod output;
mod settings;
mod view;

use std::process::ExitCode;
use std::time::Duration;

use autoradio_edge::cluster::{EtcdAccess, Store, known_endpoints};
use autoradio_edge::config::Config;
use clap::{CommandFactory, Parser};

use args::{Command, Radioctl};
use failure::Usage;
use input::Checked;
use local_socket::LocalDaemon;
use output::Output;

/// Longest time for one answer of etcd. Somebody is waiting at a terminal.
const ETCD_TIMEOUT: Duration = Duration::from_secs(3);

fn main() -> ExitCode {
    let typed = Radioctl::parse();
    let output = Output::new(typed.output);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = match runtime {
        Ok(runtime) => runtime.block_on(run(typed, &output)),
        Err(error) => Err(error.into()),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output.failure(&error);
            failure::exit_code(&error)
        }
    }
}

async fn run(typed: Radioctl, output: &Output) -> anyhow::Result<()> {
    let access = access(&typed);
    let command = match typed.command {
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Radioctl::command(), "radioctl", &mut script);
            return Output::text(&String::from_utf8_lossy(&script));
        }
        Command::Dns(command) => {
            input::check_dns(&command)?;
            let daemon = LocalDaemon::in_dir(&typed.state_dir);
            return dns::run(&command, &daemon, output).await;
        }
        command => command,
    };
    // What is wrong with the words themselves is said before anything is dialled.
    let command = input::check(command)?;
    let store = Store::connect(&access?, ETCD_TIMEOUT).await?;
    match command {
        Checked::Mount(command) => mounts::run(command, &store, output).await,
        Checked::Nodes => nodes::list(&store, output).await,
        Checked::Status => nodes::status(&store, output).await,
        Checked::Drain(node) => nodes::drain(&store, output, &node).await,
        Checked::Undrain(node) => nodes::undrain(&store, output, &node).await,
        Checked::Members => cluster::members(&store, output).await,
        Checked::Remove(node, force) => cluster::remove(&store, output, &node, force).await,
        Checked::Backup(file) => backup::save(&store, output, &file).await,
        Checked::Restore(wanted) => backup::restore(&store, output, &wanted).await,
    }
}

/// Where etcd is, and the certificates for it.
fn access(typed: &Radioctl) -> anyhow::Result<EtcdAccess> {
    let named = [typed.etcd_ca.as_ref(), typed.etcd_cert.as_ref(), typed.etcd_key.as_ref()];
    let plain = |url: &String| url.starts_with("http://");
    // Plain URLs need no certificates: those that happen to lie on this host are for its own etcd.
    let unneeded = !typed.etcd.is_empty() && typed.etcd.iter().all(plain) && named == [None; 3];
    let tls = if unneeded { None } else { Config::etcd_certificates(named).map_err(Usage)? };
    let mut endpoints = typed.etcd.clone();
    if endpoints.is_empty() {
        endpoints = default_endpoints(tls.is_some(), known_endpoints(&typed.state_dir));
    }
    Ok(EtcdAccess { endpoints, tls, find_members: None })
}

/// This host's etcd and, where it runs none or that one is ill, those that its daemon `noted`.
fn default_endpoints(tls: bool, noted: Vec<String>) -> Vec<String> {
    let scheme = if tls { "https://" } else { "http://" };
    let own = format!("{scheme}127.0.0.1:2379");
    let others = noted.into_iter().filter(|url| url.starts_with(scheme) && *url != own);
    std::iter::once(own.clone()).chain(others).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_hosts_etcd_is_asked_first_and_then_those_that_the_daemon_knows() {
        let noted = ["http://127.0.0.1:2379", "http://192.0.2.1:2379", "https://192.0.2.2:2379"];
        let noted = || noted.map(str::to_owned).to_vec();
        let own = "http://127.0.0.1:2379";
        assert_eq!(default_endpoints(false, noted()), [own, "http://192.0.2.1:2379"]);
        let secure = ["https://127.0.0.1:2379", "https://192.0.2.2:2379"];
        assert_eq!(default_endpoints(true, noted()), secure, "what certificates are for");
        assert_eq!(default_endpoints(false, Vec::new()), [own]);
    }
}
