//! Tidy: what neither the compiler nor clippy holds. Reads the manifests, sources and documents of this
//! repository; a failure says what is wrong, where, and what to do about it.
//!
//! ```text
//! read ─▶ code (comments and strings blanked) ─▶ live (test modules blanked, too) ─▶ rules
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Which crates each crate may depend on. Add a name only with a reason in the commit.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("wire", &["bincode", "bytemuck", "crc32c", "serde", "serde_bytes", "thiserror"]),
    ("core", &["brigade-wire"]),
    ("journal", &["brigade-wire", "crc32c", "serde", "thiserror"]),
    ("os", &["brigade-wire", "libc", "nix", "rustix", "signal-hook", "signal-hook-registry"]),
    ("link", &["brigade-os", "brigade-wire", "crc32c", "ipc-channel", "serde", "tempfile"]),
    ("worker", &["brigade-link", "brigade-os", "brigade-wire"]),
    ("tasks", &["brigade-worker"]),
    (
        "supervisor",
        &[
            "brigade-core",
            "brigade-journal",
            "brigade-link",
            "brigade-os",
            "brigade-wire",
            "serde",
            "serde_json",
            "thiserror",
        ],
    ),
    (
        "brigade",
        &[
            "brigade-core",
            "brigade-os",
            "brigade-supervisor",
            "brigade-wire",
            "brigade-worker",
            "bytemuck",
            "crc32c",
            "hmac",
            "serde",
            "sha2",
            "thiserror",
            "tracing",
        ],
    ),
    (
        "cli",
        &[
            "anyhow",
            "brigade-core",
            "brigade-os",
            "brigade-supervisor",
            "brigade-tasks",
            "brigade-wire",
            "clap",
            "serde",
            "serde_json",
            "terminal_size",
        ],
    ),
    ("", &["anyhow", "brigade-cli", "brigade-tasks", "brigade-worker"]),
];

/// What their tests may depend on beyond that.
/// The worker that misbehaves speaks on its own channel, so it needs what a worker has; the supervisor of large tasks what one has.
const TESTS_MAY_NAME: &[(&str, &[&str])] = &[
    ("brigade", &["csv", "futures", "image", "num-bigint", "tempfile", "trybuild"]),
    ("", &["brigade-core", "brigade-os", "brigade-supervisor", "brigade-wire", "serde_json"]),
];

/// Crates that are fenced into one or two of ours, tests included.
const FENCED: &[(&str, &[&str])] = &[
    ("anyhow", &["cli", ""]),
    ("bincode", &["wire"]),
    ("crc32c", &["brigade", "journal", "link", "wire"]),
    ("ipc-channel", &["link"]),
    ("libc", &["os"]),
    ("nix", &["os"]),
    ("rustix", &["os"]),
    ("signal-hook", &["os"]),
    ("signal-hook-registry", &["os"]),
    ("tempfile", &["brigade", "link"]),
];

const FUNCTION_LINES_MAX: usize = 60;

/// Functions that are longer all the same. The mark may only sink: a function that grows past it fails, and one
/// that shrinks below it asks for a lower mark.
const LONG_FUNCTIONS: &[(&str, &str, usize)] = &[];

const FILE_LINES_MAX: usize = 600;

/// Files that are longer all the same, under the same rule.
const LONG_FILES: &[(&str, usize)] = &[];

/// Words that must not be in code at all.
const FORBIDDEN: &[&str] = &["todo!", "dbg!", "unimplemented!"];

/// The clock is read in `os`. Elsewhere time is an argument, except here, where no decision of a run hangs on it.
const CLOCK_READERS: &[(&str, &str)] = &[
    ("crates/supervisor/src/rundir.rs", "names runs and puts them in order"),
    ("crates/supervisor/src/rundir/tests.rs", "names runs and puts them in order"),
    ("crates/cli/src/ps.rs", "waits for the first status of a run that just began"),
    ("crates/cli/src/logs.rs", "puts logs in order"),
];

/// Documents that say which test holds what they say.
const PROMISING: &[&str] = &["docs/PROMISES.md", "docs/FAULTS.md", "docs/LINK.md", "docs/CONFORMANCE.md"];

/// What documents must account for, a row for each: hazards, scenarios of the peers' own suites, pains of their users.
const ACCOUNTS: &[(&str, &str, u32)] =
    &[("docs/FAULTS.md", "H", 48), ("docs/CONFORMANCE.md", "", 80), ("docs/CONFORMANCE.md", "P", 30)];

// The rules.

#[test]
fn dependencies_point_one_way() {
    let mut faults = Vec::new();
    for krate in crates() {
        let manifest = Manifest::of(&krate);
        let may = row(MAY_NAME, &krate)
            .unwrap_or_else(|| panic!("crate {krate:?} has no row in MAY_NAME of tests/tidy.rs"));
        let may_in_tests = row(TESTS_MAY_NAME, &krate).unwrap_or_default();
        for (name, section) in &manifest.dependencies {
            let is_allowed = may.contains(&name.as_str())
                || (section == "dev-dependencies" && may_in_tests.contains(&name.as_str()));
            if !is_allowed {
                faults.push(format!("{}: {name} in [{section}]", manifest.path));
            }
            if row(FENCED, name).is_some_and(|homes| !homes.contains(&krate.as_str())) {
                faults.push(format!("{}: {name} is fenced into {:?}", manifest.path, row(FENCED, name)));
            }
        }
    }
    report(
        faults,
        "a dependency against the direction of docs/ARCHITECTURE.md: move the code, or change the table in tests/tidy.rs and say why",
    );
}

#[test]
fn no_dependency_is_named_in_vain() {
    let mut faults = Vec::new();
    for krate in crates().into_iter().filter(|krate| !krate.is_empty()) {
        let manifest = Manifest::of(&krate);
        let sources = read_all(&format!("crates/{krate}"));
        for (name, section) in &manifest.dependencies {
            let word = name.replace('-', "_");
            if !sources.iter().any(|source| words(&source.text).any(|(_, found)| found == word)) {
                faults.push(format!("{}: {name} in [{section}]", manifest.path));
            }
        }
    }
    report(faults, "nothing uses it: remove the line");
}

#[test]
fn every_crate_takes_the_lints_of_the_workspace() {
    let bare = |krate: &String| !Manifest::of(krate).text.contains("[lints]\nworkspace = true");
    let faults = crates().into_iter().filter(bare).map(|krate| Manifest::of(&krate).path).collect();
    report(faults, "add `[lints]` with `workspace = true`");
}

#[test]
fn only_os_is_unsafe() {
    let mut faults = Vec::new();
    for source in everything().iter().filter(|source| !source.path.starts_with("crates/os/")) {
        for (line, _) in words(&source.code).filter(|(_, word)| *word == "unsafe") {
            faults.push(format!("{}:{line}: unsafe", source.path));
        }
        let is_root = source.path.starts_with("crates/") && source.path.ends_with("/src/lib.rs");
        if is_root && !source.code.contains("#![forbid(unsafe_code)]") {
            faults.push(format!("{}: no #![forbid(unsafe_code)]", source.path));
        }
    }
    report(
        faults,
        "unsafe code belongs into crates/os, behind a safe function; every other crate forbids it",
    );
}

#[test]
fn every_file_says_first_what_it_is_for() {
    let silent = |source: &&Source| !source.text.starts_with("//! ");
    let faults = everything().iter().filter(silent).map(|source| source.path.clone()).collect();
    report(faults, "begin the file with `//! ` and a sentence");
}

#[test]
fn no_function_is_longer_than_a_screen() {
    let mut faults = Vec::new();
    let mut marks: BTreeSet<(&str, &str)> =
        LONG_FUNCTIONS.iter().map(|(path, name, _)| (*path, *name)).collect();
    for source in everything().iter().filter(|source| source.is_shipped()) {
        for Function { name, line, lines } in functions(&source.live) {
            let mark = LONG_FUNCTIONS.iter().find(|(path, of, _)| *path == source.path && *of == name);
            let at = format!("{}:{line}: fn {name} has {lines} lines", source.path);
            marks.retain(|(path, of)| !(*path == source.path && *of == name));
            match mark {
                None if lines > FUNCTION_LINES_MAX => faults.push(at),
                Some((.., most)) if lines > *most => faults.push(format!("{at}, its mark is {most}")),
                Some((.., most)) if lines < *most => {
                    faults.push(format!("{at}: lower its mark, or remove it"))
                }
                Some(_) | None => {}
            }
        }
    }
    faults.extend(marks.into_iter().map(|(path, name)| format!("{path}: no fn {name}: remove its mark")));
    report(faults, "a function has 60 lines at most: branch in the parent, compute in the leaf");
}

#[test]
fn no_file_is_longer_than_a_chapter() {
    let mut faults = Vec::new();
    for source in everything().iter().filter(|source| source.path.contains("/src/")) {
        let lines = source.text.lines().count();
        let mark = LONG_FILES.iter().find(|(path, _)| *path == source.path).map(|(_, most)| *most);
        let at = format!("{} has {lines} lines", source.path);
        match mark {
            None if lines > FILE_LINES_MAX => faults.push(at),
            Some(most) if lines > most => faults.push(format!("{at}, its mark is {most}")),
            Some(most) if lines < most => faults.push(format!("{at}: lower its mark, or remove it")),
            Some(_) | None => {}
        }
    }
    report(faults, "a file has 600 lines at most: divide it by what its parts know");
}

#[test]
fn nothing_is_left_to_do_in_the_code() {
    let mut faults = Vec::new();
    for source in everything() {
        for (line, text) in (1..).zip(source.code.lines()) {
            let found = FORBIDDEN.iter().filter(|word| text.contains(**word));
            faults.extend(found.map(|word| format!("{}:{line}: {word}", source.path)));
        }
    }
    report(faults, "finish it, or take it out");
}

#[test]
fn the_clock_is_read_in_one_crate() {
    let mut faults = Vec::new();
    let mut unused: BTreeSet<&str> = CLOCK_READERS.iter().map(|(path, _)| *path).collect();
    for source in everything().iter().filter(|source| source.is_shipped()) {
        for (line, text) in (1..).zip(source.live.lines()) {
            if !["Instant::now", "SystemTime"].iter().any(|clock| text.contains(clock)) {
                continue;
            }
            let is_named = CLOCK_READERS.iter().any(|(path, _)| *path == source.path);
            unused.retain(|path| *path != source.path);
            if !is_named && !source.path.starts_with("crates/os/") {
                faults.push(format!("{}:{line}", source.path));
            }
        }
    }
    faults.extend(
        unused.into_iter().map(|path| format!("{path} reads no clock: remove it from CLOCK_READERS")),
    );
    report(faults, "take the time as an argument, or read it by brigade_os::clock");
}

#[test]
fn the_changelog_has_a_section_for_what_comes_next() {
    let changelog = read("CHANGELOG.md");
    assert!(
        changelog.lines().any(|line| line.starts_with("## TBD")),
        "CHANGELOG.md has no section `## TBD`: add it above the latest release"
    );
}

#[test]
fn every_test_that_a_document_names_exists() {
    let tests: BTreeSet<String> = everything().iter().flat_map(|source| tests_of(&source.code)).collect();
    let mut faults = Vec::new();
    for document in PROMISING {
        for (line, text) in (1..).zip(read(document).lines()) {
            let missing = sentences(text).filter(|name| !tests.contains(*name));
            faults.extend(missing.map(|name| format!("{document}:{line}: {name}")));
        }
    }
    report(faults, "there is no such test: correct the name, write the test, or call the promise open");
}

#[test]
fn every_promise_names_its_test_or_is_called_open() {
    let mut faults = Vec::new();
    for document in PROMISING {
        let text = read(document);
        let rows = (1..).zip(text.lines()).filter(|(_, line)| is_row(line));
        let idle = rows.filter(|(_, row)| {
            sentences(row).next().is_none()
                && !["**open**", "**does not arise**"].iter().any(|word| row.contains(word))
        });
        faults.extend(idle.map(|(line, row)| format!("{document}:{line}: {row}")));
    }
    report(
        faults,
        "name the test in backquotes, or write **open** and when it comes, or **does not arise** and why",
    );
}

#[test]
fn every_link_of_a_document_leads_somewhere() {
    let mut faults = Vec::new();
    for document in documents() {
        let folder = document.parent().expect("a document is in a folder");
        let text = fs::read_to_string(top().join(&document)).expect("it was found");
        for (line, text) in (1..).zip(text.lines()) {
            let away = links(text).filter(|to| !top().join(folder).join(to).exists());
            faults.extend(away.map(|to| format!("{}:{line}: {to}", document.display())));
        }
    }
    report(faults, "there is no such file: correct the link");
}

#[test]
fn every_program_stands_in_the_tables_for_those_who_come_from_python() {
    let mut faults = Vec::new();
    let programs = read_all("crates/brigade/examples").into_iter().map(|source| source.path);
    let programs: Vec<String> = programs.filter(|path| !path.ends_with("/mod.rs")).collect();
    for table in ["docs/FROM_PYTHON.md", "docs/FROM_PYTHON.ko.md"] {
        let text = read(table);
        let missing = programs.iter().filter(|path| !text.contains(&format!("](../{path})")));
        faults.extend(missing.map(|path| format!("{table}: {path}")));
    }
    report(faults, "link it where its call is told");
}

#[test]
fn every_hazard_scenario_and_pain_is_accounted_for_once() {
    let mut faults = Vec::new();
    for (document, letter, most) in ACCOUNTS {
        let text = read(document);
        for number in 1..=*most {
            let start = format!("| {letter}{number} |");
            let rows = text.lines().filter(|line| line.starts_with(&start)).count();
            faults.extend((rows != 1).then(|| format!("{document}: {letter}{number}: {rows} rows")));
        }
    }
    report(faults, "there is to be one row for each");
}

#[test]
fn every_test_of_conformance_is_in_its_table() {
    let text = read("docs/CONFORMANCE.md");
    let named: BTreeSet<&str> = text.lines().flat_map(sentences).collect();
    let tests =
        read_all("crates/brigade/tests/conformance").into_iter().flat_map(|source| tests_of(&source.code));
    let faults = tests.filter(|test| !named.contains(test.as_str())).collect();
    report(faults, "docs/CONFORMANCE.md does not name it: say which scenario it shows");
}

#[test]
fn the_readme_has_every_exit_code_and_flag() {
    let (readme, exit, args) =
        (read("README.md"), read("crates/cli/src/exit.rs"), read("crates/cli/src/args.rs"));
    let code = |line: &str| Some(line.strip_prefix("  ")?.split_once(' ')?.0.to_string());
    let codes = exit.lines().filter_map(code).filter(|code| code.parse::<u8>().is_ok());
    let mut faults: Vec<String> = codes
        .filter(|code| !readme.contains(&format!("| {code} |")))
        .map(|code| format!("exit code {code}"))
        .collect();
    let variables = args.split('"').filter(|word| word.starts_with("SUPERVISOR_"));
    let flags =
        variables.map(|name| format!("--{}", name["SUPERVISOR_".len()..].to_lowercase().replace('_', "-")));
    faults.extend(
        flags.filter(|flag| !readme.contains(&format!("`{flag}"))).map(|flag| format!("flag {flag}")),
    );
    report(faults, "README.md does not name it: add it to its table");
}

/// One line each, and what to do.
fn report(faults: Vec<String>, advice: &str) {
    assert!(faults.is_empty(), "{advice}:\n  {}\n", faults.join("\n  "));
}

fn row<'a>(table: &[(&str, &'a [&'a str])], name: &str) -> Option<&'a [&'a str]> {
    table.iter().find(|(of, _)| *of == name).map(|(_, names)| *names)
}

// Manifests.

/// The folders in `crates`, and the empty name for the root package.
fn crates() -> Vec<String> {
    let folders = fs::read_dir(top().join("crates")).expect("there is a folder crates");
    let folders = folders.flatten().filter(|entry| entry.path().join("Cargo.toml").exists());
    let mut names: Vec<String> =
        folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names.push(String::new());
    names
}

struct Manifest {
    path: String,
    text: String,
    /// Name, and the kind of section that it is in.
    dependencies: BTreeMap<String, String>,
}

impl Manifest {
    fn of(krate: &str) -> Manifest {
        let path = if krate.is_empty() { "Cargo.toml".into() } else { format!("crates/{krate}/Cargo.toml") };
        let text = read(&path);
        let mut dependencies = BTreeMap::new();
        let mut section = String::new();
        for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
            if let Some(header) = line.strip_prefix('[') {
                section = header.trim_end_matches(']').to_string();
            }
            if section.starts_with("workspace") {
                continue;
            }
            let kinds = ["dev-dependencies", "build-dependencies", "dependencies"];
            let Some(kind) = kinds.into_iter().find(|kind| section.split('.').any(|part| part == *kind))
            else {
                continue;
            };
            let table = section.split_once(&format!("{kind}.")).map(|(_, name)| name);
            let entry = line.split_once(['=', '.']).map(|(name, _)| name).filter(|_| !line.starts_with('['));
            if let Some(name) = table.or(entry) {
                let name = name.trim().trim_matches('"').to_string();
                // What the code may use is the stronger of two entries.
                let known = dependencies.entry(name).or_insert_with(|| kind.to_string());
                if kind == "dependencies" {
                    *known = kind.into();
                }
            }
        }
        Manifest { path, text, dependencies }
    }
}

// Sources.

/// One Rust file.
struct Source {
    /// From the top of the repository.
    path: String,
    text: String,
    /// The same, with comments and the insides of strings blanked.
    code: String,
    /// The same, with test modules blanked.
    live: String,
}

impl Source {
    fn is_shipped(&self) -> bool {
        self.path.starts_with("bin/") || self.path.contains("/src/")
    }
}

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(top().join(path)).unwrap_or_else(|error| panic!("read {path}: {error}"))
}

fn everything() -> Vec<Source> {
    ["bin", "crates", "tests"].into_iter().flat_map(read_all).collect()
}

fn read_all(folder: &str) -> Vec<Source> {
    let mut paths = Vec::new();
    walk(&top().join(folder), &mut paths);
    paths.sort();
    paths.iter().map(|path| source(path)).collect()
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        match path.is_dir() {
            true if path.ends_with("target") => {}
            true => walk(&path, found),
            false if path.extension().is_some_and(|extension| extension == "rs") => found.push(path),
            false => {}
        }
    }
}

fn source(path: &Path) -> Source {
    let path = path.strip_prefix(top()).expect("it was found below the top").display().to_string();
    let text = read(&path);
    let code = blanked(&text);
    let live = without_test_modules(&code);
    Source { path, text, code, live }
}

/// The source with comments and the insides of strings and characters as spaces; lines stay where they are.
fn blanked(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let after_word = code.chars().next_back().is_some_and(is_word);
        let length = match comment_bytes(rest).or_else(|| if after_word { None } else { literal_bytes(rest) })
        {
            Some(length) => {
                code.extend(rest[..length].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
                length
            }
            None => {
                code.push(first);
                first.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    code
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn comment_bytes(rest: &str) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    let mut at = if rest.starts_with("/*") { 2 } else { return None };
    let mut depth = 1;
    while depth > 0 && at < rest.len() {
        let tail = &rest.as_bytes()[at..];
        let (change, step) = match tail {
            [b'/', b'*', ..] => (1, 2),
            [b'*', b'/', ..] => (-1, 2),
            _ => (0, 1),
        };
        (depth, at) = (depth + change, at + step);
    }
    Some(at)
}

/// A string, with its prefix, or a character; no lifetime.
fn literal_bytes(rest: &str) -> Option<usize> {
    let prefix = ["br", "cr", "r", "b", "c", ""].into_iter().find(|prefix| {
        let tail = rest.strip_prefix(prefix);
        tail.is_some_and(|tail| tail.starts_with('"') || (prefix.ends_with('r') && tail.starts_with("#")))
    });
    if let Some(prefix) = prefix {
        let tail = &rest[prefix.len()..];
        let hashes = tail.chars().take_while(|c| *c == '#').count();
        let inside = tail[hashes..].strip_prefix('"')?;
        let length = if prefix.ends_with('r') {
            let end = format!("\"{}", "#".repeat(hashes));
            inside.find(&end)? + end.len()
        } else {
            escaped_until(inside, '"')?
        };
        return Some(prefix.len() + hashes + 1 + length);
    }
    let inside = rest.strip_prefix('\'').or_else(|| rest.strip_prefix("b'"))?;
    let opening = rest.len() - inside.len();
    let is_character = inside.starts_with('\\') || inside.chars().nth(1) == Some('\'');
    if is_character { Some(opening + escaped_until(inside, '\'')?) } else { None }
}

/// How far it is behind the first `end` that no backslash escapes.
fn escaped_until(inside: &str, end: char) -> Option<usize> {
    let mut chars = inside.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => drop(chars.next()),
            c if c == end => return Some(at + c.len_utf8()),
            _ => {}
        }
    }
    None
}

fn without_test_modules(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut live = code.to_string();
    let mut from = 0;
    while let Some(found) = live[from..].find(MARK) {
        let start = from + found;
        let end = block_end(&live, start + MARK.len());
        let blank: String = live[start..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
        live.replace_range(start..end, &blank);
        from = start + blank.len();
    }
    live
}

/// Where the item that begins at `from` ends: behind its block, or its semicolon if it has none.
fn block_end(code: &str, from: usize) -> usize {
    let (mut braces, mut brackets) = (0_i32, 0_i32);
    for (at, c) in code[from..].char_indices() {
        match c {
            '{' => braces += 1,
            '}' => braces -= 1,
            '(' | '[' => brackets += 1,
            ')' | ']' => brackets -= 1,
            _ => {}
        }
        let is_over = (c == '}' && braces == 0) || (c == ';' && braces == 0 && brackets == 0);
        if is_over {
            return from + at + 1;
        }
    }
    code.len()
}

struct Function {
    name: String,
    line: usize,
    lines: usize,
}

/// The functions that have a body; those inside others as well.
fn functions(code: &str) -> Vec<Function> {
    let starts =
        code.match_indices("fn ").filter(|(at, _)| !code[..*at].chars().next_back().is_some_and(is_word));
    let named = starts.filter_map(|(at, _)| {
        let name: String = code[at + 3..].chars().take_while(|c| is_word(*c)).collect();
        let line = 1 + code[..at].matches('\n').count();
        let lines = 1 + code[at..block_end(code, at)].matches('\n').count();
        (!name.is_empty()).then_some(Function { name, line, lines })
    });
    named.collect()
}

/// Every word, with its line.
fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..).zip(code.lines()).flat_map(|(line, text)| {
        text.split(|c| !is_word(c)).filter(|word| !word.is_empty()).map(move |word| (line, word))
    })
}

/// The names of the functions that are marked as tests.
fn tests_of(code: &str) -> Vec<String> {
    let marked = code.split("#[test]").skip(1);
    let named = marked.filter_map(|rest| rest.split_once("fn ").map(|(_, rest)| rest));
    named.map(|rest| rest.chars().take_while(|c| is_word(*c)).collect()).collect()
}

// Documents.

/// From the top of the repository: those beside the manifest, and those in `docs`.
fn documents() -> Vec<PathBuf> {
    let files =
        ["", "docs"].into_iter().flat_map(|folder| fs::read_dir(top().join(folder)).into_iter().flatten());
    let paths = files.flatten().map(|entry| entry.path());
    let documents = paths.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    documents.map(|path| path.strip_prefix(top()).expect("it was found below the top").to_owned()).collect()
}

/// The files that a line links, without places in them.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split_once(')').map(|(to, _)| to));
    let files =
        targets.filter(|to| !to.contains("://")).map(|to| to.split_once('#').map_or(to, |(file, _)| file));
    files.filter(|file| !file.is_empty())
}

/// Names in backquotes that are sentences: four words at least, so that no function of the kernel's is taken for one.
fn sentences(text: &str) -> impl Iterator<Item = &str> {
    let quoted = text.split('`').skip(1).step_by(2).map(|name| name.rsplit("::").next().unwrap_or(name));
    quoted.filter(|name| {
        let is_plain = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        is_plain && name.matches('_').count() >= 3
    })
}

/// A row of a table, and neither its head nor the line below that.
fn is_row(line: &str) -> bool {
    let is_table = line.starts_with("| ") && line.ends_with('|');
    is_table && !line.starts_with("| --") && !line.ends_with("| test |")
}

// Tidy's own eyes.

#[test]
fn tidy_sees_code_and_nothing_else() {
    let text = "fn a() { \"}{\"; '{'; b'\\''; /* { /* } */ */ } // {\nfn b<'a>(r: &'a str) { r#\"}\"#; }\n#[cfg(test)]\nmod tests { fn c() {} }\nfn d();";
    let code = blanked(text);
    assert_eq!((code.matches('{').count(), code.matches('}').count()), (4, 4), "{code}");
    let found: Vec<_> =
        functions(&without_test_modules(&code)).into_iter().map(|f| (f.name, f.line, f.lines)).collect();
    assert_eq!(found, [("a".into(), 1, 1), ("b".into(), 2, 1), ("d".into(), 5, 1)]);
}

#[test]
fn tidy_reads_a_manifest_and_a_row() {
    let root = Manifest::of("");
    assert_eq!(
        root.dependencies.get("brigade-cli").map(String::as_str),
        Some("dependencies"),
        "{:?}",
        root.dependencies
    );
    assert!(!root.dependencies.contains_key("bincode"), "the workspace's table is no dependency of the root");
    let row = "| a stop | `a_stopped_worker_blocks` | `oom_score_adj` |";
    assert_eq!(sentences(row).collect::<Vec<_>>(), ["a_stopped_worker_blocks"]);
    assert!(is_row(row) && !is_row("| what | test |") && !is_row("| --- | --- |"));
}
