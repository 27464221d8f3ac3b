//! Pins on a BPF file system: what keeps the program answering while no daemon runs, and how the next one finds it.
//!
//! `<bpf-dir>/<node>/` holds the link, named after where the program is attached, and a folder named after the object, with
//! its maps. A living daemon holds the lock on it. Names have no dots: this file system takes none.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use aya::maps::{Map, MapInfo};
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::xdp::XdpLink;
use nix::net::if_::if_nametoindex;
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};
use sha2::{Digest, Sha256};

use super::super::{DataplaneError, XdpMode};

/// Characters of an object's name: 64 bits of its hash.
const OBJECT_NAME_CHARACTERS: usize = 16;
/// What names of links begin with; nothing else in the folder does.
const LINK: &str = "link-";
/// Folder of the maps of a program that does not run yet.
const STAGED: &str = "staged";

/// One node's pins, this process's alone. Dropping them removes those that nobody but this process could use.
#[derive(Debug)]
pub struct Pins {
    folder: PathBuf,
    /// This process has pinned maps for a program of its own that does not run yet.
    staged: bool,
    /// The folder itself, open: the lock ends with the process, however that ends.
    _lock: File,
}

/// Where a program is attached: an interface of a network namespace, in one mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place(String);

impl Place {
    /// The interface of this name in the namespace of this process.
    pub(super) fn of(interface: &str, mode: XdpMode) -> Result<Self, DataplaneError> {
        let missing = || DataplaneError::NoInterface { interface: interface.to_owned() };
        let index = if_nametoindex(interface).map_err(|_| missing())?;
        // Two namespaces may both have a second interface.
        let namespace = fs::metadata("/proc/self/ns/net").map_or(0, |facts| facts.ino());
        Ok(Self(format!("{LINK}{namespace}-{index}-{mode}")))
    }
}

impl Pins {
    /// Takes the folder of `node` below `bpf_dir`, making it if need be.
    ///
    /// [`DataplaneError::Unpinned`] if the place is no BPF file system or cannot be written, [`DataplaneError::Taken`] if
    /// another process holds the folder. What such a process staged and did not live to settle is removed.
    pub fn take(bpf_dir: &Path, node: &str) -> Result<Self, DataplaneError> {
        let folder = bpf_dir.join(node);
        let unpinned = |reason: String| DataplaneError::Unpinned { folder: folder.clone(), reason };
        let io_error = |error: io::Error| unpinned(error.to_string());
        let there = folder.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(bpf_dir);
        let kind = statfs(there).map_err(|error| unpinned(error.to_string()))?;
        if kind.filesystem_type() != BPF_FS_MAGIC {
            return Err(unpinned("it is on no BPF file system".to_owned()));
        }
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(io_error)?;
        let lock = File::open(&folder).map_err(io_error)?;
        match lock.try_lock() {
            Ok(()) => {
                let pins = Self { folder, staged: false, _lock: lock };
                pins.remove(|name| name == STAGED)?;
                Ok(pins)
            }
            Err(TryLockError::WouldBlock) => Err(DataplaneError::Taken { folder }),
            Err(TryLockError::Error(error)) => Err(io_error(error)),
        }
    }

    /// Removes all that an earlier process of `node` left, so that its program answers no longer. Whether there was anything.
    ///
    /// Errors as of [`take`](Self::take).
    pub fn clear(bpf_dir: &Path, node: &str) -> Result<bool, DataplaneError> {
        if !bpf_dir.join(node).exists() {
            return Ok(false);
        }
        Self::take(bpf_dir, node)?.remove_all().map(|()| true)
    }

    /// Names and places of the maps of this object, if a program that uses them may be running, and if they are laid out as
    /// those that this process has staged of the same object.
    pub(super) fn maps_of(&self, object: &[u8]) -> Option<Vec<(String, PathBuf)>> {
        if !self.names().any(|name| name.starts_with(LINK)) {
            return None;
        }
        let (left, staged) = (self.folder.join(object_name(object)), self.folder.join(STAGED));
        let (mut names, mut wanted): (Vec<_>, Vec<_>) =
            (names_in(&left).collect(), names_in(&staged).collect());
        names.sort_unstable();
        wanted.sort_unstable();
        let fits = |name: &String| {
            layout(&left.join(name)).is_some_and(|it| layout(&staged.join(name)) == Some(it))
        };
        let adoptable = names == wanted && names.iter().all(fits);
        adoptable.then(|| names.into_iter().map(|name| (name.clone(), left.join(name))).collect())
    }

    /// Pins the maps of a program that does not run yet. Nobody takes them over before [`settle`](Self::settle).
    pub(super) fn stage<'a>(
        &mut self,
        maps: impl Iterator<Item = (&'a str, &'a Map)>,
    ) -> Result<(), DataplaneError> {
        let folder = self.folder.join(STAGED);
        fs::create_dir(&folder).map_err(|error| self.failed(&error))?;
        self.staged = true;
        for (name, map) in maps {
            map.pin(folder.join(name)).map_err(|error| self.failed(&error))?;
        }
        Ok(())
    }

    /// Removes the staged maps: the program goes on with those that were left.
    pub(super) fn unstage(&mut self) -> Result<(), DataplaneError> {
        self.remove(|name| name == STAGED)?;
        self.staged = false;
        Ok(())
    }

    /// The program of this object runs in this place, and there only: the pins become its own.
    ///
    /// What other programs left goes first, and links to other places with it, which takes the program off those. So whatever
    /// ends this process half-way, maps are only ever found under the name of the object that runs on them.
    pub(super) fn settle(&mut self, place: &Place, object: &[u8]) -> Result<(), DataplaneError> {
        let name = object_name(object);
        let maps = if self.staged { STAGED } else { &name };
        self.remove(|found| found != place.0 && found != maps)?;
        if self.staged {
            let (from, to) = (self.folder.join(STAGED), self.folder.join(&name));
            fs::rename(from, to).map_err(|error| self.failed(&error))?;
            self.staged = false;
        }
        Ok(())
    }

    /// The link that is pinned for this place.
    pub(super) fn link(&self, place: &Place) -> Option<XdpLink> {
        let pinned = PinnedLink::from_pin(self.folder.join(&place.0)).ok()?;
        XdpLink::try_from(FdLink::from(pinned)).ok()
    }

    /// Pins a new link, so that the program stays attached without this process. Gives the same link back.
    ///
    /// Kernels before 5.9 have links that end with the process, which cannot be pinned.
    pub(super) fn pin_link(&self, place: &Place, link: XdpLink) -> Result<XdpLink, DataplaneError> {
        let link = FdLink::try_from(link).map_err(|error| self.failed(&error))?;
        let pinned = link.pin(self.folder.join(&place.0)).map_err(|error| self.failed(&error))?;
        XdpLink::try_from(FdLink::from(pinned)).map_err(|error| self.failed(&error))
    }

    /// Removes all links: what is attached by them is taken off, within moments.
    pub(super) fn remove_links(&self) -> Result<(), DataplaneError> {
        self.remove(|name| name.starts_with(LINK))
    }

    /// Removes everything.
    pub(super) fn remove_all(&mut self) -> Result<(), DataplaneError> {
        self.remove(|_| true)?;
        self.staged = false;
        fs::remove_dir(&self.folder).map_err(|error| self.failed(&error))
    }

    fn names(&self) -> impl Iterator<Item = String> + use<> {
        names_in(&self.folder)
    }

    fn remove(&self, which: impl Fn(&str) -> bool) -> Result<(), DataplaneError> {
        for name in self.names().filter(|name| which(name)) {
            let path = self.folder.join(name);
            let removed =
                if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.map_err(|error| self.failed(&error))?;
        }
        Ok(())
    }

    fn failed(&self, error: &dyn std::error::Error) -> DataplaneError {
        DataplaneError::Unpinned { folder: self.folder.clone(), reason: error.to_string() }
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        if self.staged && self.unstage().is_ok() {
            // Unless a program of before still needs it.
            let _ = fs::remove_dir(&self.folder);
        }
    }
}

fn names_in(folder: &Path) -> impl Iterator<Item = String> + use<> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok())
}

/// Sizes of a pinned map's keys and values in bytes, and how many it holds.
fn layout(map: &Path) -> Option<[u32; 3]> {
    let info = MapInfo::from_pin(map).ok()?;
    Some([info.key_size(), info.value_size(), info.max_entries()])
}

/// What maps belong to: another object may lay them out otherwise.
fn object_name(object: &[u8]) -> String {
    let hash = Sha256::digest(object);
    let digits = hash.iter().flat_map(|byte| [byte >> 4, byte & 15]).take(OBJECT_NAME_CHARACTERS);
    digits.map(|digit| char::from_digit(digit.into(), 16).unwrap_or('0')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_told_apart_by_names_that_a_bpf_file_system_takes() {
        let [one, other] = [object_name(b"one"), object_name(b"other")];
        assert_ne!(one, other);
        assert_eq!(one, object_name(b"one"));
        // `printf one | sha256sum`
        assert_eq!(one, "7692c3ad3540bb80");
        let lo = Place::of("lo", XdpMode::Native).expect("every host has one").0;
        assert!(lo.starts_with("link-") && lo.ends_with("-native") && !lo.contains('.'), "{lo}");
        let nowhere = Place::of("no-such", XdpMode::Native);
        assert!(matches!(nowhere, Err(DataplaneError::NoInterface { .. })), "{nowhere:?}");
    }

    #[test]
    fn a_folder_elsewhere_is_refused_with_the_remedy_and_left_as_it_is() {
        let elsewhere = tempfile::tempdir().expect("a folder");
        let refused = Pins::take(&elsewhere.path().join("bpf"), "node1").expect_err("no BPF here");
        let said = refused.to_string();
        assert!(said.contains("mount -t bpf bpf /sys/fs/bpf"), "{said}");
        assert_eq!(fs::read_dir(elsewhere.path()).expect("a folder").count(), 0);
    }
}
