//! How the story is told.

/// Columns of the text.
const WIDTH: usize = 100;

/// A chapter.
pub(crate) fn title(text: &str) {
    println!("\n\x1b[1m{text}\x1b[0m");
}

/// A paragraph.
pub(crate) fn say(text: &str) {
    let mut line = String::from(" ");
    for word in text.split_whitespace() {
        if line.len() + 1 + word.len() > WIDTH {
            println!("{line}");
            line = String::from(" ");
        }
        line.push(' ');
        line.push_str(word);
    }
    println!("{line}");
}

/// A command, as somebody would type it.
pub(crate) fn typed(words: &[&str]) {
    let quoted = words.iter().map(|word| match word.contains(['{', ' ']) {
        true => format!("'{word}'"),
        false => (*word).to_owned(),
    });
    println!(
        "\n    \x1b[2m$\x1b[0m {}",
        quoted.collect::<Vec<_>>().join(" ")
    );
}

/// What it printed.
pub(crate) fn printed(text: &str) {
    for line in text.trim_end().lines() {
        println!("    {line}");
    }
    println!();
}
