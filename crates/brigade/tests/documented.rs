//! What the library offers is shown by examples that run: each public item by its name, in its own file, on the crate's first page
//! or in the guide.

use std::collections::{BTreeMap, BTreeSet};
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

/// All files of the library by their paths, in order.
fn sources() -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).expect("the sources are there").flatten().map(|entry| entry.path()) {
            match path.is_dir() {
                true => folders.push(path),
                false => _ = found.insert(path.clone(), read(&path)),
            }
        }
    }
    found
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What all files may rely on: the first page and the guide.
fn shown_first() -> BTreeSet<String> {
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let (page, guide) = (read(&own.join("src/lib.rs")), read(&own.join("../../docs/GUIDE.md")));
    shown(docs(&page).chain(guide.lines()))
}

#[test]
fn every_public_item_is_shown_in_an_example_that_runs() {
    let (first, mut count, mut faults) = (shown_first(), 0, Vec::new());
    for (path, source) in sources() {
        let (here, items) = (shown(docs(&source)), items(&source));
        count += items.len();
        let bare = items.into_iter().filter(|(_, name)| !here.contains(name) && !first.contains(name));
        faults.extend(bare.map(|(line, name)| format!("{}:{line}: {name}", path.display())));
    }
    assert!(count > 250, "{count} items: this test has looked elsewhere");
    let what = "no example that runs names it: show it in one, in its file";
    assert!(faults.is_empty(), "{what}:\n{}", faults.join("\n"));
}

#[test]
fn every_type_that_comes_from_other_crates_of_ours_is_shown_somewhere() {
    let mut all = shown_first();
    sources().values().for_each(|source| all.extend(shown(docs(source))));
    let root = read(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs"));
    let names = root.lines().filter(|line| line.starts_with("pub use brigade_")).flat_map(words);
    let types: Vec<String> = names.filter(|name| name.starts_with(char::is_uppercase)).collect();
    assert!(types.contains(&"Exit".to_owned()), "{types:?}");
    let bare: Vec<&String> = types.iter().filter(|name| !all.contains(*name)).collect();
    assert!(bare.is_empty(), "no example that runs names {bare:?}: show them where they are given");
}

#[test]
fn every_example_runs_but_those_that_must_not_compile() {
    let mut faults = Vec::new();
    for (path, source) in sources() {
        let is_idle = |fence: &str| !runs(fence) && fence != "text" && !fence.starts_with("compile_fail");
        let idle = blocks(docs(&source)).into_iter().filter(|(_, fence, _)| is_idle(fence));
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
