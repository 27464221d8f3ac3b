//! File systems of BPF pins, one for each node.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{LabError, command};

/// Mounts a file system of BPF pins of its own at `folder`, which is made.
pub(crate) fn mount(folder: &Path) -> Result<(), LabError> {
    fs::create_dir_all(folder).map_err(LabError::file(folder))?;
    command::run("mount", &["-t", "bpf", "bpf", &folder.to_string_lossy()]).map(drop)
}

/// Removes all pins, and with them every program that only they hold. The kernel's own files stay.
pub(crate) fn clear(folder: &Path) -> Result<(), LabError> {
    for entry in fs::read_dir(folder).map_err(LabError::file(folder))?.flatten() {
        if entry.path().is_dir() {
            fs::remove_dir_all(entry.path()).map_err(LabError::file(&entry.path()))?;
        }
    }
    Ok(())
}

/// Unmounts all that is mounted below `folder`, and with it removes its pins.
pub(crate) fn unmount_below(folder: &Path) -> Result<(), LabError> {
    let path = Path::new("/proc/self/mountinfo");
    let mounts = fs::read_to_string(path).map_err(LabError::file(path))?;
    for place in places_below(&mounts, folder) {
        command::run("umount", &[place])?;
    }
    Ok(())
}

/// Source: proc(5), `mountinfo`: the fifth field is the place.
fn places_below(mounts: &str, folder: &Path) -> Vec<PathBuf> {
    let places = mounts.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from);
    places.filter(|place| place.starts_with(folder)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_below_the_folder_is_unmounted() {
        let mounts = "22 1 0:20 / / rw - ext4 /dev/vda rw\n\
            31 22 0:27 / /dev/shm rw shared:4 - tmpfs tmpfs rw\n\
            90 31 0:50 / /dev/shm/labs/a/node1/bpf rw - bpf bpf rw\n\
            91 31 0:51 / /dev/shm/labs/ab/node1/bpf rw - bpf bpf rw\n";
        let below = places_below(mounts, Path::new("/dev/shm/labs/a"));
        assert_eq!(below, [Path::new("/dev/shm/labs/a/node1/bpf")]);
    }
}
