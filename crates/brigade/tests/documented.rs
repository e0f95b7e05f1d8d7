//! What the library offers is shown by examples that run: each public item by its name, in its own file, on the crate's first page
//! or in the guide.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const ITEMS: [&str; 6] = ["pub fn ", "pub struct ", "pub enum ", "pub trait ", "pub type ", "macro_rules! "];

/// Fences of code that rustdoc runs have no other words than these.
const RUNS: [&str; 3] = ["rust", "should_panic", "standalone_crate"];

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Blocks of code in a text without the marks of comments: the line they begin at, the words of their fence, and what is in them.
fn blocks<'a>(lines: impl IntoIterator<Item = &'a str>) -> Vec<(usize, &'a str, String)> {
    let (mut found, mut open) = (Vec::new(), None);
    for (number, line) in (1..).zip(lines) {
        match (line.trim().strip_prefix("```"), &mut open) {
            (Some(words), None) => open = Some((number, words, String::new())),
            (Some(_), Some(_)) => found.extend(open.take()),
            (None, Some((_, _, code))) => *code += &format!("{line}\n"),
            (None, None) => {}
        }
    }
    found
}

fn runs(fence: &str) -> bool {
    fence.split(',').all(|word| word.is_empty() || RUNS.contains(&word))
}

fn words(code: &str) -> impl Iterator<Item = String> {
    code.split(|c| !is_word(c)).filter(|word| !word.is_empty()).map(str::to_owned)
}

fn shown<'a>(lines: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
    let running = blocks(lines).into_iter().filter(|(_, fence, _)| runs(fence));
    running.flat_map(|(_, _, code)| words(&code).collect::<Vec<_>>()).collect()
}

fn docs(source: &str) -> impl Iterator<Item = &str> {
    source.lines().map(|line| {
        let line = line.trim();
        line.strip_prefix("///").or_else(|| line.strip_prefix("//!")).unwrap_or("")
    })
}

/// Public items, with their lines. What only this crate's macros need is hidden, and no part of what is offered.
fn items(source: &str) -> Vec<(usize, String)> {
    let (mut found, mut attributes) = (Vec::new(), String::new());
    for (number, line) in (1..).zip(source.lines().map(str::trim)) {
        if line == "#[cfg(test)]" {
            break;
        }
        let item = ITEMS.iter().find_map(|start| Some((start, line.strip_prefix(start)?)));
        if let Some((start, rest)) = item {
            let is_offered = !start.starts_with("macro") || attributes.contains("#[macro_export]");
            let name: String = rest.chars().take_while(|c| is_word(*c)).collect();
            // What a macro makes has no name of its own.
            if is_offered && !attributes.contains("#[doc(hidden)]") && !name.is_empty() {
                found.push((number, name));
            }
        }
        match line.starts_with("#[") {
            true => attributes += line,
            false => attributes.clear(),
        }
    }
    found
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the sources are there").flatten() {
        let path = entry.path();
        match path.is_dir() {
            true => sources(&path, found),
            false => found.push(path),
        }
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn every_public_item_is_shown_in_an_example_that_runs() {
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut everywhere = shown(docs(&read(&own.join("src/lib.rs"))));
    everywhere.extend(shown(read(&own.join("../../docs/GUIDE.md")).lines()));
    let mut paths = Vec::new();
    sources(&own.join("src"), &mut paths);
    paths.sort();
    let (mut count, mut faults) = (0, Vec::new());
    for path in paths {
        let source = read(&path);
        let (here, items) = (shown(docs(&source)), items(&source));
        count += items.len();
        let bare = items.into_iter().filter(|(_, name)| !here.contains(name) && !everywhere.contains(name));
        faults.extend(bare.map(|(line, name)| format!("{}:{line}: {name}", path.display())));
    }
    assert!(count > 250, "{count} items: this test has looked elsewhere");
    let what = "no example that runs names it: show it in one, in its file";
    assert!(faults.is_empty(), "{what}:\n{}", faults.join("\n"));
}

#[test]
fn every_example_runs_but_those_that_must_not_compile() {
    let mut paths = Vec::new();
    sources(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src"), &mut paths);
    let mut faults = Vec::new();
    for path in paths {
        let source = read(&path);
        let idle = blocks(docs(&source))
            .into_iter()
            .filter(|(_, fence, _)| !runs(fence) && *fence != "text" && !fence.starts_with("compile_fail"));
        faults.extend(idle.map(|(line, fence, _)| format!("{}:{line}: {fence}", path.display())));
    }
    let what = "it is not run: begin it with `# brigade::test_entry!(init); init();` if it needs workers";
    assert!(faults.is_empty(), "{what}:\n{}", faults.join("\n"));
}

#[test]
fn this_test_sees_items_and_examples_and_nothing_else() {
    let source = "/// Of `a`.\n///\n/// ```\n/// a(b);\n/// ```\n#[must_use]\npub fn a() {}\n/// ```no_run\n/// d();\n/// ```\n\
                  #[doc(hidden)]\npub fn c() {}\npub(crate) fn e() {}\n    pub fn d<T>() {}\nmacro_rules! f {}\n#[cfg(test)]\npub fn g() {}\n";
    let named = |found: &[(usize, String)]| found.iter().map(|(_, name)| name.clone()).collect::<Vec<_>>();
    assert_eq!(named(&items(source)), ["a", "d"]);
    assert_eq!(shown(docs(source)).into_iter().collect::<Vec<_>>(), ["a", "b"]);
}
