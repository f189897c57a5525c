//! Commands that the documentation shows are run by tests, as they are written there.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::root;

/// The block of code in `docs/FILE` that contains `part`.
///
/// # Panics
///
/// If there is none.
pub fn block(file: &str, part: &str) -> String {
    let text = fs::read_to_string(root().join("docs").join(file)).expect("a document");
    let blocks = text.split("\n```").skip(1).step_by(2);
    // After the fence comes the language, if there is one.
    let mut blocks = blocks.map(|block| block.split_once('\n').unwrap_or_default().1);
    let found = blocks.find(|block| block.contains(part));
    found
        .unwrap_or_else(|| panic!("no block with {part} in docs/{file}"))
        .to_owned()
}

/// Runs a block in `directory`, with these variables; each line has to succeed.
///
/// # Panics
///
/// If one does not.
pub fn run(block: &str, directory: &Path, environment: &[(&str, &str)]) {
    let output = Command::new("sh")
        .args(["-e", "-c", block])
        .current_dir(directory)
        .envs(environment.iter().copied())
        .output()
        .expect("a shell");
    assert!(
        output.status.success(),
        "{block}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
