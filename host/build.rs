//! Tells the crate which wasmtime it is built with: compiled code is bound to the full version, and wasmtime
//! itself exports only the major one.

fn main() {
    println!("cargo::rerun-if-changed=../Cargo.lock");
    let lock = std::fs::read_to_string("../Cargo.lock")
        .expect("Cargo.lock lies beside the workspace's Cargo.toml");
    let version = lock
        .split("[[package]]")
        .find(|package| package.contains("\nname = \"wasmtime\"\n"))
        .and_then(|package| {
            package
                .lines()
                .find_map(|line| line.strip_prefix("version = \""))
        })
        .and_then(|rest| rest.strip_suffix('"'))
        .expect("Cargo.lock names wasmtime");
    println!("cargo::rustc-env=WASMTIME_VERSION={version}");
}
