//! House rules that the compiler and clippy do not know: lengths, floors, headers, sources of numbers.
//!
//! Reads text, trusts rustfmt's layout, uses the standard library only. Every failure names file and line.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// Where Rust code of the repository lives.
const ROOTS: &[&str] = &["src", "tests", "examples", "benches", "fuzz/fuzz_targets", "fuzz/src"];
/// What builds leave in them.
const BUILT: &str = "target";
const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;

/// What each floor must not name. Comments may.
const FLOORS: &[(&str, &[&str])] = &[
    ("src/storage", &["crate::", "tokio", "std::net", "std::time"]),
    ("src/wire", &["crate::proto", "crate::net", "crate::api", "crate::sim", "tokio", "UdpSocket"]),
    ("src/proto", &["crate::net", "crate::api", "crate::sim", "crate::cli", "tokio", "UdpSocket"]),
    (
        "src/link",
        &["crate::proto", "crate::net", "crate::api", "crate::sim", "crate::cli", "tokio", "UdpSocket"],
    ),
    ("src/sim", &["crate::net", "crate::api", "crate::cli", "tokio", "UdpSocket", "std::thread"]),
    ("src/net", &["crate::api", "crate::cli"]),
    ("src/api", &["crate::cli"]),
    ("src/api/reactor", &["tokio", "std::thread"]),
];

/// Floors that are pure: time and chance come in through arguments.
const PURE: &[&str] = &["src/wire", "src/storage", "src/proto", "src/link", "src/sim"];
const IMPURE: &[&str] = &[
    "Instant::now",
    "SystemTime",
    "thread::sleep",
    "rand::rng(",
    "rand::random",
    "SysRng",
    "getrandom",
    "RandomState",
];

/// Words that mean unfinished or forgotten work.
const UNFINISHED: &[&str] =
    &["TODO", "FIXME", "XXX", "HACK", "todo!(", "unimplemented!(", "dbg!(", "#[ignore"];

/// Tables whose hash is not keyed by the endpoint: peers choose addresses and ids, and could choose them to collide.
/// What the standard library draws for itself would also make a replay do something else.
const UNKEYED: &[&str] = &[
    "HashMap::new",
    "HashMap::default",
    "HashMap::with_capacity",
    "HashMap::from",
    "HashSet::new",
    "HashSet::default",
    "HashSet::with_capacity",
    "HashSet::from",
    "DefaultHasher",
    "FxHash",
    "FxHasher",
    "fxhash",
    "rustc_hash",
    "ahash",
    "fnv",
    "nohash",
];

/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &["utils", "util", "helpers", "common", "misc", "types"];

/// A number in the protocol states in its first word where it comes from.
const SOURCES: &[&str] = &["BEP", "RFC", "libutp", "libtorrent", "Measured", "Ours"];
const NUMBERS: &[&str] = &[
    "u8", "u16", "u32", "u64", "u128", "usize", "i8", "i16", "i32", "i64", "i128", "isize", "f32", "f64",
    "Duration", "Instant",
];

struct Source {
    /// Relative to the repository, with forward slashes.
    path: String,
    text: String,
    /// Only compiled for tests.
    is_test: bool,
}

impl Source {
    fn lines(&self) -> Vec<&str> {
        self.text.lines().collect()
    }

    fn is_in(&self, folder: &str) -> bool {
        self.path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
    }

    /// Lines of code with their number, comments cut off.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, without_comment(line)))
    }

    /// The line where the tests of this file begin; all of a file that is tests only.
    fn tests_from(&self) -> usize {
        if self.is_test {
            return 0;
        }
        let lines = self.lines();
        let found = lines.windows(2).position(|pair| pair[0] == "#[cfg(test)]" && pair[1].ends_with('{'));
        found.unwrap_or(lines.len())
    }
}

fn without_comment(line: &str) -> &str {
    match line.find("//") {
        // An address such as http://… is not a comment.
        Some(at) if !line[..at].ends_with(':') => &line[..at],
        _ => line,
    }
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = ROOTS.iter().map(|root| repository().join(root)).collect();
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry.expect("a readable folder").path();
            if path.is_dir() && path.ends_with(BUILT) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("sources are UTF-8");
                let relative = path.strip_prefix(repository()).expect("below the repository");
                found.push(Source {
                    path: relative.display().to_string().replace('\\', "/"),
                    text,
                    is_test: false,
                });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(found.len() > 10, "the sources are where this test looks for them");
    let modules: Vec<String> = found.iter().flat_map(test_modules).collect();
    for source in &mut found {
        source.is_test = modules.iter().any(|module| source.path.starts_with(module.as_str()));
    }
    found
}

/// Where the modules live that a file declares for tests only: without `.rs`, so folders are meant too.
fn test_modules(source: &Source) -> Vec<String> {
    let (folder, name) = source.path.rsplit_once('/').unwrap_or_default();
    let stem = name.trim_end_matches(".rs");
    let own = if ["mod", "lib", "main"].contains(&stem) { String::new() } else { format!("{stem}/") };
    let lines = source.lines();
    let declared = lines.windows(2).filter(|pair| pair[0] == "#[cfg(test)]");
    let names =
        declared.filter_map(|pair| pair[1].strip_suffix(';')?.rsplit_once("mod ").map(|(_, name)| name));
    names.flat_map(|name| ["/", ".rs"].map(|end| format!("{folder}/{own}{name}{end}"))).collect()
}

#[derive(Default)]
struct Complaints(String);

impl Complaints {
    fn add(&mut self, path: &str, line: usize, what: impl AsRef<str>) {
        writeln!(self.0, "{path}:{line}: {}", what.as_ref()).expect("a string takes everything");
    }

    fn finish(self) {
        assert!(self.0.is_empty(), "\n{}", self.0);
    }
}

/// Whether `text` holds `word`, not as a part of a longer name.
fn names(text: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back().is_some_and(part);
        let after = text[at + word.len()..].chars().next().is_some_and(part);
        let (first, last) = (word.starts_with(part), word.ends_with(part));
        !(before && first || after && last)
    })
}

/// First line (from 0) and length of each function.
fn functions(lines: &[&str]) -> Vec<(usize, usize)> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let head = line.split('(').next().unwrap_or_default();
        let words: Vec<&str> = head.split_whitespace().collect();
        let named = words.iter().position(|word| *word == "fn").is_some_and(|at| at + 1 < words.len());
        let comment = head.trim_start().starts_with("//");
        if !named || comment || line.ends_with(';') || line.ends_with('}') {
            continue;
        }
        let closes = |other: &&str| {
            let declared = other.starts_with(')') || other.trim_start().starts_with(')');
            indent(other) == indent(line)
                && (other.trim_start().starts_with('}') || (declared && other.ends_with(';')))
        };
        if let Some(end) = lines[start..].iter().position(closes) {
            found.push((start, end + 1));
        }
    }
    found
}

/// The doc comment above a line, as one text.
fn doc_above(lines: &[&str], at: usize) -> String {
    let above = lines[..at].iter().rev().map(|line| line.trim());
    let mut doc: Vec<&str> = above
        .take_while(|line| line.starts_with("///") || line.starts_with("#["))
        .filter_map(|line| line.strip_prefix("///"))
        .map(str::trim)
        .collect();
    doc.reverse();
    doc.join(" ").trim().to_owned()
}

#[test]
fn files_and_functions_stay_short() {
    let mut complaints = Complaints::default();
    for source in sources() {
        let lines = source.lines();
        if lines.len() > FILE_LINES_MAX {
            complaints.add(&source.path, lines.len(), format!("more than {FILE_LINES_MAX} lines"));
        }
        for (start, length) in functions(&lines) {
            if length > FUNCTION_LINES_MAX {
                let what = format!("a function of {length} lines, at most {FUNCTION_LINES_MAX}");
                complaints.add(&source.path, start + 1, what);
            }
        }
    }
    complaints.finish();
}

#[test]
fn every_file_opens_with_its_purpose() {
    let mut complaints = Complaints::default();
    for source in sources() {
        if !source.text.starts_with("//! ") {
            complaints.add(&source.path, 1, "does not open with `//! `");
        }
        let stem = source.path.rsplit('/').next().and_then(|name| name.strip_suffix(".rs"));
        if stem.is_some_and(|stem| EMPTY_NAMES.contains(&stem)) {
            complaints.add(&source.path, 1, "a name that says nothing about the content");
        }
    }
    complaints.finish();
}

#[test]
fn floors_only_know_what_is_below() {
    let mut complaints = Complaints::default();
    for source in sources() {
        for (floor, banned) in FLOORS.iter().filter(|(floor, _)| source.is_in(floor)) {
            for (line, code) in source.code() {
                for word in banned.iter().filter(|word| names(code, word)) {
                    complaints.add(&source.path, line, format!("{floor} must not know `{word}`"));
                }
            }
        }
    }
    complaints.finish();
}

#[test]
fn time_and_chance_come_in_through_the_door() {
    let mut complaints = Complaints::default();
    for source in sources().iter().filter(|source| PURE.iter().any(|floor| source.is_in(floor))) {
        for (line, code) in source.code() {
            for word in IMPURE.iter().filter(|word| names(code, word)) {
                complaints.add(&source.path, line, format!("`{word}` in a pure floor"));
            }
        }
    }
    complaints.finish();
}

#[test]
fn t05_tables_that_strangers_have_a_say_in_hash_with_a_key() {
    let mut complaints = Complaints::default();
    for source in sources().iter().filter(|source| source.is_in("src/proto")) {
        for (line, code) in source.code().take(source.tests_from()) {
            for word in UNKEYED.iter().filter(|word| names(code, word)) {
                complaints.add(&source.path, line, format!("`{word}`: use the endpoint's `Keyed`"));
            }
            let typed = ["HashMap<", "HashSet<"].iter().any(|table| code.contains(table));
            if typed && !code.contains("Keyed") {
                complaints.add(&source.path, line, "a table without the endpoint's `Keyed`");
            }
        }
    }
    complaints.finish();
}

#[test]
fn nothing_is_left_unfinished() {
    let mut complaints = Complaints::default();
    // This file has to spell the words out.
    for source in sources().iter().filter(|source| source.path != "tests/tidy.rs") {
        for (index, line) in source.text.lines().enumerate() {
            for word in UNFINISHED.iter().filter(|word| names(line, word)) {
                complaints.add(&source.path, index + 1, format!("`{word}`"));
            }
        }
    }
    complaints.finish();
}

#[test]
fn every_number_of_the_protocol_has_a_source() {
    let mut complaints = Complaints::default();
    for source in sources().iter().filter(|source| source.is_in("src/proto")) {
        let lines = source.lines();
        for (index, line) in lines.iter().enumerate().take(source.tests_from()) {
            let Some((_, rest)) = line.split_once("const ") else { continue };
            let Some((name, rest)) = rest.split_once(": ") else { continue };
            let Some((kind, _)) = rest.split_once(" =") else { continue };
            let function = name.contains(['(', ' ']);
            if function || line.trim_start().starts_with("//") || !NUMBERS.contains(&kind) {
                continue;
            }
            let doc = doc_above(&lines, index);
            let first = doc.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
            if !SOURCES.contains(&first) {
                complaints.add(
                    &source.path,
                    index + 1,
                    format!("the doc of {name} opens with none of {SOURCES:?}"),
                );
            }
        }
    }
    complaints.finish();
}

#[test]
fn every_setter_states_its_default() {
    let mut complaints = Complaints::default();
    let text = read("src/config.rs");
    let lines: Vec<&str> = text.lines().collect();
    let mut setters = 0;
    for (index, line) in lines.iter().enumerate() {
        if line.trim_start().starts_with("pub ") && line.contains("fn ") && line.contains("(mut self") {
            setters += 1;
            if !doc_above(&lines, index).to_lowercase().contains("default") {
                complaints.add("src/config.rs", index + 1, "a setter that does not state its default");
            }
        }
    }
    assert!(setters > 0, "setters look as this test expects");
    complaints.finish();
}

#[test]
fn the_readme_tells_the_truth() {
    let mut complaints = Complaints::default();
    let manifest = read("Cargo.toml");
    let msrv = manifest.lines().find_map(|line| line.strip_prefix("rust-version = \"")?.strip_suffix('"'));
    let msrv = msrv.expect("the manifest states rust-version");
    for (index, line) in read("README.md").lines().enumerate() {
        for (at, _) in line.match_indices("Rust 1.") {
            let stated = line[at + 5..].split(|c: char| !c.is_ascii_digit() && c != '.').next();
            let stated = stated.unwrap_or_default().trim_end_matches('.');
            if stated != msrv {
                complaints.add("README.md", index + 1, format!("Rust {stated}, the manifest says {msrv}"));
            }
        }
        for lead in ["--example ", "examples/"] {
            for (at, _) in line.match_indices(lead) {
                let rest = &line[at + lead.len()..];
                let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                let folder = repository().join("examples");
                let exists = folder.join(&name).join("main.rs").exists()
                    || folder.join(format!("{name}.rs")).exists()
                    || (lead == "examples/" && folder.join(&name).exists());
                if !exists {
                    complaints.add("README.md", index + 1, format!("no example {name:?}"));
                }
            }
        }
    }
    complaints.finish();
}

#[test]
fn the_rules_themselves_bite() {
    assert!(names("use tokio::net;", "tokio") && !names("my_tokio_thing", "tokio"));
    assert!(names("let t = Instant::now();", "Instant::now"));
    assert_eq!(without_comment("a(); // tokio"), "a(); ");
    let lines =
        ["fn one() {}", "    fn two(", "        a: u8,", "    ) {", "        a", "    }", "fn three();"];
    assert_eq!(functions(&lines), [(1, 5)]);
    assert_eq!(doc_above(&["/// Ours: because.", "#[inline]", "const A: u8 = 1;"], 2), "Ours: because.");
}
