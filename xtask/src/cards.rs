//! The PIV card of the tests: a workspace of its own, because what it is made of has no place in the device's lock file.

use anyhow::Result;

use crate::plugins;
use crate::setup::{self, Package};
use crate::shell::{self, cargo, step};

/// Builds it, where what its C code needs is there; without it, tests of that card are skipped.
pub(crate) fn cards(missing: &[&Package]) -> Result<()> {
    if setup::is_among(missing, setup::LIBCLANG) {
        return Ok(());
    }
    step("the PIV card of the tests (a minute the first time)");
    let manifest = shell::root().join("tests/cards/piv/Cargo.toml");
    let mut build = cargo(["build", "--locked", "--manifest-path"]);
    build.arg(manifest).arg("--target-dir");
    shell::run(build.arg(plugins::target_directory()?.join("cards")))
}
