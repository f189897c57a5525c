//! `cargo xtask bench`: ratios and differences inside one run, and sizes, each with its goal.
//!
//! `inside` measures in this process and its workers, `daemon` the released executables from outside.

mod daemon;
mod inside;
mod table;

use std::path::Path;
use std::process::ExitCode;

use table::Table;

fn main() -> anyhow::Result<ExitCode> {
    if let Some(code) = bailiwick_tests::role() {
        return Ok(code);
    }
    let mut table = Table::default();
    println!(
        "      {:<58} {:>10} {:<9} {:>9}   where from",
        "what", "value", "unit", "goal"
    );
    inside::measure(&mut table)?;
    daemon::measure(&mut table)?;
    let summary = bailiwick_tests::root().join("target/bench/summary.json");
    table.write(&summary)?;
    let written = summary.canonicalize()?;
    println!(
        "\n{} goals missed; written to {}",
        table.missed(),
        relative(&written).display()
    );
    Ok(ExitCode::SUCCESS)
}

fn relative(path: &Path) -> &Path {
    let root = bailiwick_tests::root().canonicalize().unwrap_or_default();
    path.strip_prefix(root).unwrap_or(path)
}
