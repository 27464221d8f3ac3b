//! Rules that look at the whole tree: the documents keep what they promise. Pure.

use super::source::{Finding, Source};

const ARCHITECTURE: &str = "ARCHITECTURE.md";
const README: &str = "README.md";
const COMMANDS: [&str; 2] = ["cargo xtask demo", "cargo xtask test"];

/// Every numbered invariant names, in backticks, tests or checks that exist: functions of the
/// tree (`room::name_of_the_test`), or lints that the workspace sets. One name that is wrong is one too many.
pub(super) fn invariants_name_their_checks(tree: &[Source]) -> Vec<Finding> {
    let Some(document) = tree.iter().find(|file| file.path == ARCHITECTURE) else {
        return vec![missing(ARCHITECTURE)];
    };
    let invariants = invariants(document);
    if invariants.is_empty() {
        return vec![document.finding(1, "no numbered invariants under a heading that says so")];
    }
    let held = |text: &str| {
        let mut names = quoted(text).filter(|name| name.contains('_')).peekable();
        names.peek().is_some() && names.all(|name| is_function(tree, name) || is_lint(tree, name))
    };
    let unheld = invariants.iter().filter(|(_, text)| !held(text));
    let message = "this invariant names no test or check that exists in the tree";
    unheld.map(|(line, _)| document.finding(*line, message)).collect()
}

/// A newcomer finds the two commands in the README.
pub(super) fn readme_has_the_two_commands(tree: &[Source]) -> Vec<Finding> {
    let Some(readme) = tree.iter().find(|file| file.path == README) else {
        return vec![missing(README)];
    };
    let absent = COMMANDS.iter().filter(|command| !readme.text.contains(**command));
    absent.map(|command| readme.finding(1, format!("`{command}` is not shown"))).collect()
}

fn missing(path: &str) -> Finding {
    let message = "there is no such file".to_owned();
    Finding { path: path.to_owned(), line: 1, message }
}

/// The numbered items, with the line they begin in, of sections whose heading has "invariant".
fn invariants(document: &Source) -> Vec<(usize, String)> {
    let mut items: Vec<(usize, String)> = Vec::new();
    let (mut inside, mut open) = (false, false);
    for (number, line) in document.lines() {
        if line.starts_with('#') {
            inside = line.to_lowercase().contains("invariant");
            open = false;
        } else if inside && is_numbered(line) {
            items.push((number, line.to_owned()));
            open = true;
        } else if open && let Some((_, item)) = items.last_mut() {
            item.push('\n');
            item.push_str(line);
        }
    }
    items
}

fn is_numbered(line: &str) -> bool {
    line.split_once(". ").is_some_and(|(number, _)| number.parse::<u32>().is_ok())
}

/// What stands between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

fn is_function(tree: &[Source], name: &str) -> bool {
    let name = name.rsplit("::").next().unwrap_or_default().trim_end_matches("()");
    // A name of one word, such as `run`, is everywhere and holds nothing.
    let sentence = name.contains('_') && name.chars().all(|c| c.is_alphanumeric() || c == '_');
    let heads = [format!("fn {name}("), format!("fn {name}<")];
    let declares = |file: &Source| heads.iter().any(|head| file.text.contains(head));
    sentence && tree.iter().filter(|file| file.is_rust()).any(declares)
}

fn is_lint(tree: &[Source], name: &str) -> bool {
    let name = name.rsplit("::").next().unwrap_or_default();
    let manifest = tree.iter().find(|file| file.path == "Cargo.toml");
    let lints = manifest.and_then(|file| file.text.split_once("[workspace.lints"));
    let starts = format!("\n{name} = ");
    lints.is_some_and(|(_, lints)| lints.contains(&starts))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(architecture: &str) -> Vec<Source> {
        vec![
            Source::new(ARCHITECTURE, architecture),
            Source::new("a/src/lib.rs", "#[test]\nfn a_lost_etcd_changes_nothing() {}\n"),
            Source::new("Cargo.toml", "[workspace.lints.clippy]\nunwrap_used = \"deny\"\n"),
        ]
    }

    fn lines(architecture: &str) -> Vec<usize> {
        let found = invariants_name_their_checks(&tree(architecture));
        found.iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn an_invariant_that_nothing_holds_is_found() {
        let text = "# Parts\n1. no invariant\n## Invariants\n\
                    1. Frozen: test\n   `cluster::a_lost_etcd_changes_nothing`.\n\
                    2. Lint `clippy::unwrap_used`.\n\
                    3. Only a hope, says `run`.\n\
                    4. `a_test_that_is_gone` holds it.\n\n## Next\n5. none\n";
        assert_eq!(lines(text), [7, 8]);
    }

    #[test]
    fn an_architecture_without_invariants_is_found() {
        assert_eq!(lines("# Parts\n"), [1]);
        assert_eq!(invariants_name_their_checks(&[]), [missing(ARCHITECTURE)]);
    }

    #[test]
    fn a_readme_without_the_commands_is_found() {
        let readme = |text: &str| readme_has_the_two_commands(&[Source::new(README, text)]).len();
        assert_eq!(readme("run `cargo xtask demo`"), 1);
        assert_eq!(readme("cargo xtask demo\ncargo xtask test\n"), 0);
        assert_eq!(readme_has_the_two_commands(&[]), [missing(README)]);
    }
}
