//! Rust files as the rules of `architecture.rs` and `requirements.rs` see them: code without comments and strings.

use std::fs;
use std::path::Path;

use bailiwick_tests::root;

/// One Rust file.
pub(crate) struct Source {
    /// Relative to the project's root, with `/`.
    pub(crate) path: String,
    /// As it is.
    pub(crate) text: String,
    /// Without comments and the content of strings; lines stay where they are.
    pub(crate) code: String,
}

/// Every Rust file of the project below `directory` (relative to the root), in order of path.
pub(crate) fn sources(directory: &str) -> Vec<Source> {
    let mut found = Vec::new();
    collect(&root().join(directory), &mut found);
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(!found.is_empty(), "no Rust file in {directory:?}");
    found
}

fn collect(directory: &Path, found: &mut Vec<Source>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            if name != "target" && !name.starts_with('.') {
                collect(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let relative = path.strip_prefix(root()).unwrap().to_str().unwrap();
            found.push(Source::new(relative, &fs::read_to_string(&path).unwrap()));
        }
    }
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
            code: code_of(text),
        }
    }

    /// The room of `host/src` that this file belongs to.
    pub(crate) fn room(&self) -> String {
        let inside = self.path.trim_start_matches("host/src/");
        let room = inside.split(['/', '.']).next().unwrap_or_default();
        room.to_owned()
    }

    /// The names that follow `crate::` or a chain of `super::`, sorted: the rooms that this file uses, and maybe more.
    pub(crate) fn rooms_used(&self) -> Vec<String> {
        let mut used = self.names_after("crate::");
        used.extend(self.names_after("super::super::"));
        used.sort();
        used.dedup();
        used
    }

    /// The first name of each path that follows `prefix`, those of a group in braces too.
    pub(crate) fn names_after(&self, prefix: &str) -> Vec<String> {
        let code: String = self.code.split_whitespace().collect::<Vec<_>>().join(" ");
        let code = code.replace(" ::", "::").replace(":: ", "::");
        let mut names = Vec::new();
        for (start, _) in code.match_indices(prefix) {
            let rest = code[start + prefix.len()..].trim_start_matches("super::");
            names.extend(first_names(rest).into_iter().map(str::to_owned));
        }
        names
    }

    /// Whether a path begins with the name of this crate.
    pub(crate) fn names_crate(&self, name: &str) -> bool {
        self.code.match_indices(name).any(|(start, _)| {
            let (before, after) = (&self.code[..start], &self.code[start + name.len()..]);
            !ends_in_word(before) && after.trim_start().starts_with("::")
        })
    }

    /// The identifiers and keywords of the code, in order.
    pub(crate) fn words(&self) -> impl Iterator<Item = &str> {
        Self::words_of(&self.code)
    }

    pub(crate) fn words_of(code: &str) -> impl Iterator<Item = &str> {
        code.split(|c: char| !c.is_alphanumeric() && c != '_')
            .filter(|word| !word.is_empty())
    }
}

/// `a::b` gives a; `{a::b, c::{d, e}}` gives a and c.
fn first_names(path: &str) -> Vec<&str> {
    let Some(group) = path.strip_prefix('{') else {
        return Source::words_of(path).take(1).collect();
    };
    let mut names = Vec::new();
    let (mut depth, mut start) = (1, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if (depth == 1 && c == ',') || depth == 0 {
            names.extend(Source::words_of(&group[start..at]).next());
            start = at + 1;
        }
        if depth == 0 {
            break;
        }
    }
    names
}

/// `text` with comments and the content of strings and characters replaced by nothing, line breaks kept.
fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if first == '"' {
            quoted(rest, '"')
        } else if let Some(hashes) = raw_string(rest).filter(|_| !ends_in_word(&code)) {
            let end = format!("\"{}", "#".repeat(hashes));
            let start = rest.find('"').unwrap_or(0) + 1;
            let length = rest[start..].find(&end).unwrap_or(rest.len() - start);
            (start + length + end.len()).min(rest.len())
        } else if first == '\'' && is_character(rest) {
            quoted(rest, '\'')
        } else {
            code.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        code.push(' ');
        code.extend(rest[..skipped].matches('\n'));
        rest = &rest[skipped..];
    }
    code
}

fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest[at..].starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                break;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    at
}

/// Length of a literal that starts and ends with `quote`.
fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// Number of `#` if a raw string starts here.
fn raw_string(rest: &str) -> Option<usize> {
    let after = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r'))?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    after[hashes..].starts_with('"').then_some(hashes)
}

/// `'a'` and `'\n'` are characters, `'a` is a lifetime.
fn is_character(rest: &str) -> bool {
    let mut following = rest.chars().skip(1);
    match following.next() {
        Some('\\') => true,
        Some(_) => following.next() == Some('\''),
        None => false,
    }
}

fn ends_in_word(code: &str) -> bool {
    code.chars()
        .next_back()
        .is_some_and(|c| c.is_alphanumeric() || c == '_')
}
