//! Turns a component into machine code, in a process of its own that can do nothing else. What the component imports
//! is compared with its grants before the compiler sees it.

use std::process::Stdio;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use super::messages::Interface;
use crate::config::Isolation;
use crate::isolation::Role;

/// Address space of the compiler, bytes. Stops code that is made to fill memory while it is compiled.
#[cfg(feature = "compiler")]
const MEMORY: u64 = 4 << 30;
/// Largest compiled code, bytes.
pub(super) const CODE: u64 = 256 << 20;

/// First line of the conversation, before the component.
#[derive(Debug, Serialize, Deserialize)]
struct Request {
    grants: Vec<Interface>,
    isolation: Isolation,
    seconds: u64,
}

/// Why there is no code.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CompileError {
    /// The compiler process could not be run.
    #[error("the compiler cannot be run: {0}")]
    Process(String),
    /// The component asks for too much, or is not a component.
    #[error("{0}")]
    Refused(String),
    /// It took too long.
    #[error("compiling took longer than {0} ms; raise `compile-ms` or ship compiled code")]
    TimedOut(u64),
    /// This executable cannot compile.
    #[error(
        "there is no compiled code for this component, engine and device, and this `lean` executable has no compiler; \
         run `bailiwick compile` of a full build of the same version on this state directory"
    )]
    NoCompiler,
}

/// Compiles `component` in a process of its own.
pub async fn compile(
    component: &[u8],
    grants: &[Interface],
    isolation: Isolation,
    deadline: Duration,
) -> Result<Vec<u8>, CompileError> {
    if cfg!(not(feature = "compiler")) {
        return Err(CompileError::NoCompiler);
    }
    let milliseconds = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
    match tokio::time::timeout(deadline, converse(component, grants, isolation, deadline)).await {
        Ok(result) => result,
        Err(_) => Err(CompileError::TimedOut(milliseconds)),
    }
}

async fn converse(
    component: &[u8],
    grants: &[Interface],
    isolation: Isolation,
    deadline: Duration,
) -> Result<Vec<u8>, CompileError> {
    let failed = |error: &dyn std::fmt::Display| CompileError::Process(error.to_string());
    let mut child = Command::new("/proc/self/exe")
        .args(["role", Role::Compiler.name()])
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(&error))?;
    let (Some(mut input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(failed(&"it has no standard input or output"));
    };
    let request = Request {
        grants: grants.to_vec(),
        isolation,
        seconds: deadline.as_secs() + 1,
    };
    let request = postcard::to_stdvec(&request).map_err(|error| failed(&error))?;
    let send = async {
        input
            .write_all(&(request.len() as u32).to_le_bytes())
            .await?;
        input.write_all(&request).await?;
        input.write_all(component).await?;
        drop(input);
        Ok::<(), std::io::Error>(())
    };
    let mut answer = Vec::new();
    let mut output = output.take(CODE);
    // A refusal closes the pipe while the component is still being sent.
    let (_sent, received) = tokio::join!(send, output.read_to_end(&mut answer));
    received.map_err(|error| failed(&error))?;
    let status = child.wait().await.map_err(|error| failed(&error))?;
    match answer.split_first() {
        Some((0, code)) if status.success() => Ok(code.to_vec()),
        Some((1, reason)) => Err(CompileError::Refused(
            String::from_utf8_lossy(reason).into_owned(),
        )),
        _ => Err(failed(&format!("it ended with {status}"))),
    }
}

/// The process: `bailiwick role compiler`.
#[cfg(feature = "compiler")]
pub fn main() -> std::process::ExitCode {
    use std::io::Write;
    let _ = rustix::process::nice(10);
    let (head, body) = match serve() {
        Ok(code) => (0, code),
        Err(reason) => (1, reason.into_bytes()),
    };
    let mut output = std::io::stdout().lock();
    let written = output
        .write_all(&[head])
        .and_then(|()| output.write_all(&body))
        .and_then(|()| output.flush());
    if written.is_ok() {
        std::process::ExitCode::SUCCESS
    } else {
        std::process::ExitCode::FAILURE
    }
}

/// A `lean` executable has no compiler.
#[cfg(not(feature = "compiler"))]
pub fn main() -> std::process::ExitCode {
    eprintln!("bailiwick: {}", CompileError::NoCompiler);
    std::process::ExitCode::FAILURE
}

#[cfg(feature = "compiler")]
fn serve() -> Result<Vec<u8>, String> {
    use std::io::Read;
    let engine = crate::worker::engine::new()
        .map_err(|error| format!("cannot set up the engine: {error}"))?;
    let mut input = std::io::stdin().lock();
    // The request comes from the host; the component behind it does not.
    let mut length = [0; 4];
    input
        .read_exact(&mut length)
        .map_err(|error| error.to_string())?;
    let mut request = vec![0; (u32::from_le_bytes(length) as usize).min(64 << 10)];
    input
        .read_exact(&mut request)
        .map_err(|error| error.to_string())?;
    let request: Request = postcard::from_bytes(&request).map_err(|error| error.to_string())?;
    crate::isolation::compiler(request.isolation, request.seconds, MEMORY)
        .map_err(|error| error.to_string())?;
    let mut component = Vec::new();
    input
        .read_to_end(&mut component)
        .map_err(|error| error.to_string())?;
    let refused = crate::worker::refusals(&imports(&component)?, &request.grants);
    if !refused.is_empty() {
        return Err(refused.join("; "));
    }
    engine
        .precompile_component(&component)
        .map_err(|error| format!("it does not compile: {error:#}"))
}

/// What a component imports, before anything of it is compiled.
#[cfg(feature = "compiler")]
fn imports(component: &[u8]) -> Result<Vec<String>, String> {
    use wasmparser::{Encoding, Parser, Payload};
    let mut names = Vec::new();
    let mut depth = 0_u32;
    let mut is_component = false;
    for payload in Parser::new(0).parse_all(component) {
        match payload.map_err(|error| format!("it is not a component: {error}"))? {
            Payload::Version { encoding, .. } => {
                is_component |= encoding == Encoding::Component && depth == 0
            }
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    let import =
                        import.map_err(|error| format!("it is not a component: {error}"))?;
                    names.push(import.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    if is_component {
        Ok(names)
    } else {
        Err("it is a core module, not a component".into())
    }
}
