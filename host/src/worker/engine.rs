//! The engine: one configuration for the process that compiles and those that run, and the one function
//! that loads compiled code.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use wasmtime::component::Component;
use wasmtime::{Config, Engine, ModuleVersionStrategy};

/// Names the settings below; raise it whenever one of them changes.
const PROFILE: &str = "3";

/// What compiled code is bound to: the full version of the engine and our settings. Wasmtime itself would
/// take code of any patch release, miscompiled code among it.
pub fn version() -> String {
    format!(
        "wasmtime-{}+profile-{PROFILE}-{}",
        env!("WASMTIME_VERSION"),
        std::env::consts::ARCH
    )
}

/// The engine of a worker or of the compiler. `memory_bytes` reserves address space, no more than one sandbox may use.
pub fn new() -> wasmtime::Result<Engine> {
    let mut config = Config::new();
    config
        .concurrency_support(false)
        .epoch_interruption(true)
        .wasm_memory64(false)
        .wasm_relaxed_simd(false)
        // A trap is told by its reason; what only debuggers read is left out of the code, which each worker holds.
        .generate_address_map(false)
        .native_unwind_info(false)
        .wasm_backtrace_max_frames(None)
        // Copy-on-write images need files, which a worker can neither open nor make.
        .memory_init_cow(false)
        .memory_reservation(16 << 20)
        .memory_guard_size(64 << 10)
        .memory_reservation_for_growth(1 << 20)
        .max_wasm_stack(256 << 10)
        .async_stack_size(512 << 10)
        .module_version(ModuleVersionStrategy::Custom(version()))?;
    #[cfg(feature = "compiler")]
    config.cranelift_opt_level(wasmtime::OptLevel::Speed);
    Engine::new(&config)
}

/// Loads compiled code from a descriptor.
///
/// # Safety
///
/// Compiled code is as powerful as this process. The host hands over only memory files that it has sealed against
/// writing, with content whose authentication code (`plugins::cache`) it checked after sealing; nothing else may be
/// passed here. This is the only `unsafe` function of the code base.
#[allow(
    unsafe_code,
    reason = "loading compiled code is what wasmtime declares unsafe"
)]
pub(super) unsafe fn load(engine: &Engine, code: OwnedFd) -> wasmtime::Result<Component> {
    let bytes = read_whole(&File::from(code))?;
    // SAFETY: the caller's promise is the one that wasmtime asks for.
    unsafe { Component::deserialize(engine, bytes) }
}

/// The whole file, from its start whatever its position is, which all that hold the descriptor share. A worker may
/// neither open a path nor ask after one, so the code is copied, not mapped from the file.
fn read_whole(mut file: &File) -> io::Result<Vec<u8>> {
    let length = file.seek(SeekFrom::End(0))?;
    let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}
