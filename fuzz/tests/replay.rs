//! Every target over its seeds, and over all that a fuzzer has left in its corpus here.

use std::fs;
use std::path::{Path, PathBuf};

use autoradio_fuzz::{TARGETS, Target};

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.sort();
    files
}

/// Runs a target over a file, and over each half of it.
fn replay(target: Target, file: &Path) {
    let data = fs::read(file).expect("a file that can be read");
    let (front, back) = data.split_at(data.len() / 2);
    for part in [&data[..], front, back] {
        let checked = std::panic::catch_unwind(|| (target.check)(part));
        assert!(checked.is_ok(), "{} breaks the target {}", file.display(), target.name);
    }
}

#[test]
fn every_target_holds_over_its_seeds_and_corpus() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    for target in TARGETS {
        let seeds = files(&here.join("seeds").join(target.name));
        assert!(!seeds.is_empty(), "{} has seeds", target.name);
        let corpus = files(&here.join("corpus").join(target.name));
        seeds.iter().chain(&corpus).for_each(|file| replay(target, file));
    }
}

#[test]
fn every_folder_of_seeds_belongs_to_a_target() {
    for folder in files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds")) {
        let name = folder.file_name().expect("a name").to_string_lossy().into_owned();
        assert!(TARGETS.iter().any(|target| target.name == name), "{name} is no target");
    }
}
