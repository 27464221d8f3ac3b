//! What a child is, and what can be wrong with it.

use std::ffi::OsString;
use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::{User, chown, geteuid};

/// A process to run: everything that is known before it starts.
#[derive(Clone, Debug)]
pub struct ChildSpec {
    /// Name in the log and in errors.
    pub name: &'static str,
    /// Program: a path, or a name that is looked for in `PATH` and the system's usual directories.
    pub program: PathBuf,
    /// Arguments, without the program.
    pub args: Vec<OsString>,
    /// Environment besides `PATH`, `LANG` and `TZ`; nothing else of ours is handed on.
    pub env: Vec<(String, String)>,
    /// User to run as where that is possible: we are root and the user exists. Otherwise the child runs as we do.
    pub run_as: Option<&'static str>,
    /// Directories that the child owns: made with mode 0700 and given to [`Self::run_as`].
    pub dirs: Vec<PathBuf>,
    /// Where the child's process id is noted, so that a later daemon finds a child left behind.
    pub pid_file: PathBuf,
    /// Time between SIGTERM and SIGKILL.
    pub stop_grace: Duration,
    /// What the operator does when the program is missing.
    pub remedy: &'static str,
}

/// Why a child cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum SuperviseError {
    /// The program is not installed.
    #[error("{name} cannot start: no program {program}; {remedy}")]
    ProgramMissing {
        /// The child.
        name: &'static str,
        /// What was looked for.
        program: String,
        /// What the operator does about it.
        remedy: &'static str,
    },
    /// A directory cannot be made or given to the child's user.
    #[error("{path}: cannot be prepared for {name}: {source}; check its owner and free space")]
    Directory {
        /// The child, or what else needs the directory.
        name: &'static str,
        /// The directory.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// A process of an earlier daemon does not end.
    #[error("{name} of an earlier daemon (process {pid}) does not end; end it and start again")]
    StaleChild {
        /// The child.
        name: &'static str,
        /// Its process id.
        pid: i32,
    },
}

/// The user to run as, if we are root and the system knows the user.
pub fn user_of(run_as: Option<&str>) -> Option<User> {
    let name = run_as.filter(|_| geteuid().is_root())?;
    User::from_name(name).ok().flatten()
}

/// Makes a directory with its parents and gives it to the user (mode 0700), or to nobody else without one.
///
/// Parents that are made on the way get mode 0755: the child has to pass through them.
pub fn prepare_dir(
    name: &'static str,
    dir: &Path,
    user: Option<&User>,
) -> Result<(), SuperviseError> {
    let prepare = || -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o755).create(dir)?;
        std::fs::set_permissions(dir, Permissions::from_mode(0o700))?;
        if let Some(user) = user {
            chown(dir, Some(user.uid), Some(user.gid))?;
        }
        Ok(())
    };
    prepare().map_err(|source| SuperviseError::Directory {
        name,
        path: dir.display().to_string(),
        source,
    })
}
