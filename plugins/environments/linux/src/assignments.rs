//! `NAME=value` files with the quoting of a shell, as os-release(5) and locale.conf(5) describe them.

use std::collections::BTreeMap;

/// The assignments of a file; the last one of a name counts.
pub(crate) struct Assignments(BTreeMap<String, String>);

impl Assignments {
    /// Reads a file. Lines that are no assignment are left out, so that one of them does not hide the others.
    pub(crate) fn parse(text: &str) -> Self {
        let lines = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.starts_with('#'));
        Self(lines.filter_map(assignment).collect())
    }

    /// The value, or an empty text.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.0.get(name).map(String::as_str).unwrap_or_default()
    }
}

fn assignment(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once('=')?;
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(is_name) {
        return None;
    }
    Some((name.into(), unquoted(value)?))
}

/// `None` if a quote is not closed or something follows it.
fn unquoted(value: &str) -> Option<String> {
    let quote = match value.chars().next() {
        Some(quote @ ('"' | '\'')) => quote,
        _ => return Some(value.into()),
    };
    let mut text = String::new();
    let mut rest = value[1..].chars();
    loop {
        match rest.next()? {
            '\\' if quote == '"' => text.push(rest.next()?),
            c if c == quote => break,
            c => text.push(c),
        }
    }
    rest.next().is_none().then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: &str) {
        assert_eq!(Assignments::parse(line).get("NAME"), expected, "{line}");
    }

    #[test]
    fn values_are_unquoted_as_a_shell_would() {
        check("NAME=Debian", "Debian");
        check("NAME=\"Debian GNU/Linux\"", "Debian GNU/Linux");
        check("NAME='Debian GNU/Linux'", "Debian GNU/Linux");
        check(r#"NAME="a \"b\" \$c \\""#, r#"a "b" $c \"#);
        check(r"NAME='a \b'", r"a \b");
        check("  NAME=indented  ", "indented");
        check("NAME=", "");
        check("NAME=\"\"", "");
        check("NAME=first\nNAME=last", "last");
    }

    #[test]
    fn what_is_no_assignment_is_left_out_alone() {
        for bad in [
            "",
            "#NAME=x",
            "NAME",
            "=x",
            "NA ME=x",
            "NAME =x",
            "NAME=\"open",
            "NAME='a'b",
        ] {
            check(bad, "");
            check(&format!("{bad}\nNAME=good"), "good");
        }
        check(r#"NAME="ends in \"#, "");
    }
}
