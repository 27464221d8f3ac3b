//! Judges what was typed before anything is dialled.

use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

use autoradio_edge::cluster::{MountPath, NodeName};
use autoradio_edge::dataplane::traced_name;

use crate::args::{ClusterCommand, Command, DnsCommand, MountArgs};
use crate::failure::Usage;
use crate::settings::{Password, Settings, text_is_plain, user_name};

/// A command whose words make sense.
#[derive(Debug)]
pub(crate) enum Checked {
    /// Something about mounts.
    Mount(MountCommand),
    /// Show all nodes.
    Nodes,
    /// Show the cluster at a glance.
    Status,
    /// Have a node take nothing new.
    Drain(NodeName),
    /// Have a node take part again.
    Undrain(NodeName),
    /// Show the members of etcd.
    Members,
    /// Remove a node, or a member by its id or peer URL, for good, by force or not.
    Remove(String, bool),
    /// Write all mounts to a file.
    Backup(PathBuf),
    /// Make the cluster's mounts those of a file.
    Restore(Restore),
}

/// What is to be restored, and how.
#[derive(Debug)]
pub(crate) struct Restore {
    /// The backup.
    pub(crate) file: PathBuf,
    /// Whether mounts that are not in it are deleted.
    pub(crate) delete_others: bool,
    /// Whether nobody is asked.
    pub(crate) yes: bool,
}

/// A command about mounts.
#[derive(Debug)]
pub(crate) enum MountCommand {
    /// Make a mount.
    Create(MountPath, Box<Settings>),
    /// Show all mounts.
    List,
    /// Show a mount.
    Show(MountPath),
    /// Change a mount.
    Edit(MountPath, Box<Settings>),
    /// Let somebody listen to a mount.
    AddListener(MountPath, String, Password),
    /// Let somebody no longer listen.
    RemoveListener(MountPath, String),
    /// Delete a mount.
    Delete(MountPath),
}

/// Checks a command; asks before a mount is deleted.
pub(crate) fn check(command: Command) -> anyhow::Result<Checked> {
    Ok(match command {
        Command::CreateMount { path, settings } => {
            let settings = lift(settings, Password::Generated)?;
            Checked::Mount(MountCommand::Create(mount(&path)?, Box::new(settings)))
        }
        Command::EditMount { path, settings, new_password } => {
            let path = mount(&path)?;
            if settings == MountArgs::default() && !new_password {
                return Err(usage(
                    "nothing to change: give at least one option, see radioctl edit-mount --help",
                ));
            }
            let otherwise = if new_password { Password::Generated } else { Password::Kept };
            Checked::Mount(MountCommand::Edit(path, Box::new(lift(settings, otherwise)?)))
        }
        Command::ShowMount { path } => Checked::Mount(MountCommand::Show(mount(&path)?)),
        Command::AddListener { path, user, password_stdin } => {
            let path = mount(&path)?;
            user_name("USER", &user)?;
            let password = if password_stdin {
                Password::Given(read_password()?)
            } else {
                Password::Generated
            };
            Checked::Mount(MountCommand::AddListener(path, user, password))
        }
        Command::RemoveListener { path, user } => {
            Checked::Mount(MountCommand::RemoveListener(mount(&path)?, user))
        }
        Command::DeleteMount { path, yes } => {
            let path = mount(&path)?;
            if !yes {
                confirm_deletion(&path)?;
            }
            Checked::Mount(MountCommand::Delete(path))
        }
        Command::Nodes => Checked::Nodes,
        Command::Status => Checked::Status,
        Command::Drain { node } => Checked::Drain(name(&node)?),
        Command::Undrain { node } => Checked::Undrain(name(&node)?),
        Command::Backup { file } => Checked::Backup(file),
        Command::Restore { file, delete_others, yes } => {
            if file == Path::new("-") && !yes {
                return Err(usage(
                    "restore asks before it changes anything, and standard input is the backup; say --yes to restore without asking",
                ));
            }
            Checked::Restore(Restore { file, delete_others, yes })
        }
        Command::Cluster(ClusterCommand::Members) => Checked::Members,
        Command::Cluster(ClusterCommand::Remove { node, force }) => {
            // An id in hexadecimal has the form of a name.
            if !node.starts_with("http://") && !node.starts_with("https://") {
                name(&node)?;
            }
            Checked::Remove(node, force)
        }
        // Completions and DNS need no cluster; the caller has done them already.
        Command::ListMounts | Command::Completions { .. } | Command::Dns(_) => {
            Checked::Mount(MountCommand::List)
        }
    })
}

/// Checks a command about DNS.
pub(crate) fn check_dns(command: &DnsCommand) -> anyhow::Result<()> {
    let DnsCommand::Trace { name, .. } = command else { return Ok(()) };
    traced_name(name.as_deref()).map_err(|error| usage(format!("--name: {error}")))?;
    Ok(())
}

fn usage(reason: impl Into<String>) -> anyhow::Error {
    Usage(reason.into()).into()
}

fn mount(path: &str) -> anyhow::Result<MountPath> {
    path.parse().map_err(|error| usage(format!("{error}")))
}

fn name(name: &str) -> anyhow::Result<NodeName> {
    name.parse().map_err(|error| usage(format!("{error}")))
}

fn lift(typed: MountArgs, otherwise: Password) -> anyhow::Result<Settings> {
    let password = if typed.password_stdin { Password::Given(read_password()?) } else { otherwise };
    Settings::lift(typed, password)
}

fn read_password() -> anyhow::Result<String> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    let password = line.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        return Err(usage(
            "--password-stdin: the first line of standard input is empty; pipe the password in",
        ));
    }
    text_is_plain("--password-stdin", password)?;
    Ok(password.to_owned())
}

fn confirm_deletion(path: &MountPath) -> anyhow::Result<()> {
    let question = format!("Delete mount {path} and cut off its source and listeners?");
    confirm(&question, &format!("delete-mount asks before it deletes {path}"), "delete")
}

/// Asks whether a backup shall be restored. What it changes has been shown.
pub(crate) fn confirm_restore(file: &Path, changes: usize) -> anyhow::Result<()> {
    let question = format!("Restore {} and make these {changes} changes?", file.display());
    confirm(&question, "restore asks before it changes anything", "restore")
}

fn confirm(question: &str, rule: &str, verb: &str) -> anyhow::Result<()> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(usage(format!(
            "{rule}, and there is no terminal to ask on; say --yes to {verb} without asking"
        )));
    }
    let mut stderr = std::io::stderr();
    write!(stderr, "{question} [y/N] ")?;
    stderr.flush()?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer)?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        Ok(())
    } else {
        anyhow::bail!("nothing was changed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_of_a_name_that_there_can_be() {
        let check = |name: &str| {
            let name = Some(name.to_owned());
            check_dns(&DnsCommand::Trace { name, count: None, timeout: None })
        };
        assert!(check("radio.test").is_ok());
        for name in ["a..b", ".", ""] {
            let refused = check(name).expect_err(name);
            assert!(refused.is::<Usage>() && refused.to_string().contains("--name"), "{refused}");
        }
    }

    #[test]
    fn an_edit_has_to_change_something() {
        let edit = |new_password| {
            let settings = MountArgs::default();
            check(Command::EditMount { path: "/a".into(), settings, new_password })
        };
        assert!(edit(false).expect_err("nothing").to_string().contains("nothing to change"));
        let checked = edit(true).unwrap();
        assert!(
            matches!(checked, Checked::Mount(MountCommand::Edit(_, settings)) if settings.password == Password::Generated)
        );
    }
}
