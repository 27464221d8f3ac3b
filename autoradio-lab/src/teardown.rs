//! Removes a lab, whole or half-built, known or only guessed from names on the machine.

use std::time::Duration;

use crate::{LabError, bpffs, faults, names, netns, persist};

const PROCESSES_END: Duration = Duration::from_secs(10);

/// Removes all that belongs to a lab: processes, namespaces, files, its record last, so that a
/// failure on the way can be repeated.
pub(crate) fn remove(lab: &str) -> Result<(), LabError> {
    let namespaces = namespaces_of(lab);
    let mut result = Ok(());
    for namespace in &namespaces {
        result = result.and(faults::kill_all(namespace, PROCESSES_END));
    }
    for namespace in &namespaces {
        result = result.and(netns::delete(namespace));
    }
    result = result.and(bpffs::unmount_below(&persist::folder(lab)));
    result.and(persist::remove_files(lab))
}

/// The lab's namespaces, and leftovers of such, that exist on this machine.
pub(crate) fn namespaces_of(lab: &str) -> Vec<String> {
    let mut all = netns::list();
    all.retain(|name| names::owner(name).is_some_and(|(owner, _)| owner == lab));
    all
}
