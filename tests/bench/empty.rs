//! The least that a Rust process can do; what a start costs is measured against it.

fn main() {}
