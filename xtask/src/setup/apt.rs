//! Installs Debian packages without letting their services take our ports.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};
use autoradio_lab::{LabError, interrupt};

use super::needs::Need;
use crate::process::Shield;
use crate::{output, process};

/// Debian's maintainer scripts ask this program whether they may start services.
const POLICY: &str = "/usr/sbin/policy-rc.d";
/// Tells our policy from an administrator's.
const MARK: &str = "autoradio: cargo xtask setup";

/// What `env` is given to run apt-get.
const APT: [&str; 5] =
    ["DEBIAN_FRONTEND=noninteractive", "apt-get", "--quiet", "-o", "DPkg::Lock::Timeout=300"];
/// Runs a program that the terminal's Ctrl-C and its closing do not reach: dpkg would leave packages
/// half-configured.
const UNDISTURBED: &str = "trap '' INT HUP; exec \"$@\"";

/// Installs the packages; each service that comes with one stays off. What has begun to be installed
/// is installed to the end, whatever Ctrl-C says.
pub(super) fn install(needs: &[&Need]) -> Result<()> {
    for need in needs {
        output::note(&format!("setup: installing {} ({})", need.package, need.why));
    }
    let shield = Shield::raise();
    // A list that cannot be fetched may still be fresh enough, and apt says it best if it is not.
    if let Err(error) = process::step("setup: apt-get update", "apt-update", update()?) {
        output::note(&format!("{error:#}"));
    }
    unless_interrupted()?;
    refuse_unknown(needs)?;
    let mut args = [&APT[..], &["install", "--yes", "--no-install-recommends"]].concat();
    args.extend(needs.iter().map(|need| need.package));
    let policy = Policy::deny_services()?;
    let apt = undisturbed("env", &args)?;
    let installed = process::step("setup: apt-get install", "apt-install", apt);
    drop(policy);
    installed?;
    for service in needs.iter().filter_map(|need| need.service) {
        // It does not run now; that it might after a reboot is no reason to stop here.
        if let Err(error) = switch_off(service) {
            output::note(&format!("{error:#}"));
        }
    }
    drop(shield);
    unless_interrupted()
}

fn unless_interrupted() -> Result<()> {
    if interrupt::requested() { Err(LabError::Interrupted.into()) } else { Ok(()) }
}

fn refuse_unknown(needs: &[&Need]) -> Result<()> {
    let unknown: Vec<_> = needs.iter().map(|need| need.package).filter(|p| !offers(p)).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    bail!(
        "this release has no package {}; for the kernel programs `rustup toolchain install nightly \
         --component rust-src` and a bpf-linker of your own do as well",
        unknown.join(", ")
    )
}

/// Whether apt can install the package.
pub(super) fn offers(package: &str) -> bool {
    let policy = process::answer(Command::new("apt-cache").args(["policy", package]));
    policy.is_some_and(|text| has_candidate(&text))
}

fn has_candidate(policy: &str) -> bool {
    policy.contains("Candidate:") && !policy.contains("Candidate: (none)")
}

/// The lists of packages can be fetched again, so Ctrl-C may end this.
fn update() -> Result<Command> {
    as_root("env", &[&APT[..], &["update"]].concat())
}

/// A unit that a package brought along would start at the next boot; it was not there before, so
/// nobody's service is switched off.
fn switch_off(service: &str) -> Result<()> {
    let command = if process::find("systemctl").is_some() {
        undisturbed("systemctl", &["disable", service])?
    } else {
        undisturbed("update-rc.d", &[service, "disable"])?
    };
    process::step(&format!("setup: switching {service} off"), "switch-off", command)
}

fn undisturbed(program: &str, args: &[&str]) -> Result<Command> {
    as_root("sh", &[&["-c", UNDISTURBED, "sh", program], args].concat())
}

fn as_root(program: &str, args: &[&str]) -> Result<Command> {
    let mut command = if nix::unistd::geteuid().is_root() {
        Command::new(program)
    } else if process::find("sudo").is_some() {
        let mut sudo = Command::new("sudo");
        sudo.arg(program);
        sudo
    } else {
        bail!("installing packages needs root: run `cargo xtask setup` as root once");
    };
    command.args(args);
    Ok(command)
}

/// While it lives, packages do not start services. A shield is up from before its making until after
/// its end, or Ctrl-C would leave the policy in force.
struct Policy {
    ours: bool,
}

impl Policy {
    fn deny_services() -> Result<Self> {
        // One of ours may be left from a run that was killed; anybody else's stays as it is.
        let ours = !Path::new(POLICY).exists()
            || fs::read_to_string(POLICY).is_ok_and(|text| text.contains(MARK));
        if ours {
            let script = format!(
                "printf '#!/bin/sh\\n# {MARK}\\nexit 101\\n' > {POLICY} && chmod 755 {POLICY}"
            );
            let title = "setup: keeping services from starting";
            process::step(title, "policy", undisturbed("sh", &["-c", &script])?)?;
        }
        Ok(Self { ours })
    }
}

impl Drop for Policy {
    fn drop(&mut self) {
        if !self.ours {
            return;
        }
        let rm = undisturbed("rm", &["-f", POLICY]);
        let removed = rm.and_then(|rm| process::logged("policy", rm));
        if !removed.is_ok_and(|ended| ended.success) {
            output::note(&format!("{POLICY} could not be removed: remove it by hand"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_without_candidate_is_unknown() {
        assert!(has_candidate("etcd-server:\n  Installed: (none)\n  Candidate: 3.4.23-4"));
        assert!(!has_candidate("rustc-web:\n  Installed: (none)\n  Candidate: (none)"));
        assert!(!has_candidate(""));
    }

    #[test]
    fn an_undisturbed_program_outlives_the_terminals_signals() {
        let mut sh = Command::new("sh");
        let script = "kill -INT $$; kill -HUP $$; echo done";
        sh.args(["-c", UNDISTURBED, "sh", "sh", "-c", script]);
        assert_eq!(process::answer(&mut sh).as_deref(), Some("done"));
    }
}
