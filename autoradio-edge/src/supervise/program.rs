//! Finding a program as a shell would.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Where programs are looked for when the environment has no `PATH`.
const PATH_DEFAULT: &str = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin";

/// The executable file that `program` names: itself if it has a slash, else the first hit in `path`.
pub(super) fn find(program: &Path, path: Option<&OsStr>) -> Option<PathBuf> {
    if program.components().count() > 1 {
        return is_executable(program).then(|| program.to_owned());
    }
    std::env::split_paths(path.unwrap_or(OsStr::new(PATH_DEFAULT)))
        .map(|dir| dir.join(program))
        .find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_by_name_by_path_or_not_at_all() {
        for (why, program, found) in [
            ("a name in the usual places", "sh", true),
            ("a whole path", "/bin/sh", true),
            ("a path to nothing", "/bin/no-such-program", false),
            ("a name of nothing", "no-such-program", false),
            ("a directory is no program", "/usr", false),
            ("a file that nobody may execute", "/etc/passwd", false),
        ] {
            assert_eq!(find(Path::new(program), None).is_some(), found, "{why}");
        }
    }

    #[test]
    fn the_operators_path_is_the_only_one() {
        let dir = tempfile::tempdir().unwrap();
        let own = dir.path().join("sh");
        std::fs::write(&own, "").unwrap();
        std::fs::set_permissions(&own, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(find(Path::new("sh"), Some(dir.path().as_os_str())), Some(own));
        assert_eq!(find(Path::new("ls"), Some(dir.path().as_os_str())), None);
    }
}
