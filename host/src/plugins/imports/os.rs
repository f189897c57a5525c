//! `bailiwick:host/os`: directories and commands that the manifest names and the operator granted. Paths are resolved
//! by cap-std and cannot leave their root; a command gets no shell, no environment and no standard input.

use std::io::{ErrorKind, Read};
use std::process::Stdio;
use std::time::Duration;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

use crate::plugins::PluginError;
use crate::plugins::manifest::Os;
use crate::plugins::messages::{ImportReply, ImportRequest};

/// Largest piece of a file that is handed to a plug-in, bytes.
const FILE: u32 = 1 << 20;
/// Most names of a directory.
const NAMES: usize = 4096;
/// Most output of a command, bytes, of each stream.
const OUTPUT: u64 = 64 << 10;
/// Longest argument, bytes.
const ARGUMENT: usize = 4096;

/// Serves one request within `deadline`.
pub async fn serve(
    os: &Os,
    request: ImportRequest,
    deadline: Duration,
) -> Result<ImportReply, PluginError> {
    let work = async {
        match request {
            ImportRequest::ReadFile {
                root,
                path,
                max_len,
            } => {
                in_root(os, &root, move |dir| {
                    read_file(&dir, &path, max_len.min(FILE))
                })
                .await
            }
            ImportRequest::ListDir { root, path } => {
                in_root(os, &root, move |dir| list_dir(&dir, &path)).await
            }
            ImportRequest::ReadLink { root, path } => {
                in_root(os, &root, move |dir| {
                    let target = dir.read_link_contents(&path).map_err(error)?;
                    Ok(ImportReply::Text(target.to_string_lossy().into_owned()))
                })
                .await
            }
            ImportRequest::Run { command, arguments } => run(os, &command, &arguments).await,
            _ => Err(PluginError::NotSupported),
        }
    };
    tokio::time::timeout(deadline, work)
        .await
        .unwrap_or(Err(PluginError::TimedOut))
}

/// Runs `work` on the root's directory, off the runtime thread: a file may block.
async fn in_root(
    os: &Os,
    label: &str,
    work: impl FnOnce(Dir) -> Result<ImportReply, PluginError> + Send + 'static,
) -> Result<ImportReply, PluginError> {
    let root = os
        .roots
        .get(label)
        .cloned()
        .ok_or(PluginError::NotPermitted)?;
    let work = move || work(Dir::open_ambient_dir(root, ambient_authority()).map_err(error)?);
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or(Err(PluginError::Other(None)))
}

fn read_file(dir: &Dir, path: &str, max_len: u32) -> Result<ImportReply, PluginError> {
    // A pipe or a device would block or have effects.
    if !dir.metadata(path).map_err(error)?.is_file() {
        return Err(PluginError::InvalidArgument(Some(
            "not a regular file".into(),
        )));
    }
    let mut bytes = Vec::new();
    dir.open(path)
        .map_err(error)?
        .take(max_len.into())
        .read_to_end(&mut bytes)
        .map_err(error)?;
    Ok(ImportReply::Bytes(bytes.into()))
}

fn list_dir(dir: &Dir, path: &str) -> Result<ImportReply, PluginError> {
    let mut names = Vec::new();
    for entry in dir.read_dir(path).map_err(error)?.take(NAMES) {
        names.push(
            entry
                .map_err(error)?
                .file_name()
                .to_string_lossy()
                .into_owned(),
        );
    }
    names.sort_unstable();
    Ok(ImportReply::Names(names))
}

async fn run(os: &Os, label: &str, arguments: &[String]) -> Result<ImportReply, PluginError> {
    let template = os.commands.get(label).ok_or(PluginError::NotPermitted)?;
    let argv = fill(template, arguments)?;
    let (program, rest) = argv.split_first().ok_or(PluginError::NotSupported)?;
    let mut child = Command::new(program)
        .args(rest)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(error)?;
    let (stdout, stderr) = tokio::join!(capture(child.stdout.take()), capture(child.stderr.take()));
    let status = child.wait().await.map_err(error)?;
    Ok(ImportReply::Command {
        exit_code: status.code().unwrap_or(-1),
        stdout: stdout?.into(),
        stderr: stderr?.into(),
    })
}

/// Puts the arguments into the slots of the template, one each. An argument that could pass for an option is refused.
fn fill(template: &[String], arguments: &[String]) -> Result<Vec<String>, PluginError> {
    let invalid = |text: &str| PluginError::InvalidArgument(Some(text.into()));
    let mut arguments = arguments.iter();
    let mut argv = Vec::with_capacity(template.len());
    for part in template {
        if part != "{}" {
            argv.push(part.clone());
            continue;
        }
        let argument = arguments
            .next()
            .ok_or_else(|| invalid("fewer arguments than slots"))?;
        if argument.starts_with('-') || argument.contains('\0') || argument.len() > ARGUMENT {
            return Err(invalid(
                "an argument starts with '-', holds a NUL, or is longer than 4096 bytes",
            ));
        }
        argv.push(argument.clone());
    }
    match arguments.next() {
        Some(_) => Err(invalid("more arguments than slots")),
        None => Ok(argv),
    }
}

/// Reads up to the limit and throws the rest away, so that the command can end.
async fn capture(stream: Option<impl AsyncRead + Unpin>) -> Result<Vec<u8>, PluginError> {
    let mut kept = Vec::new();
    if let Some(mut stream) = stream {
        (&mut stream)
            .take(OUTPUT)
            .read_to_end(&mut kept)
            .await
            .map_err(error)?;
        tokio::io::copy(&mut stream, &mut tokio::io::sink())
            .await
            .map_err(error)?;
    }
    Ok(kept)
}

fn error(error: std::io::Error) -> PluginError {
    match error.kind() {
        ErrorKind::NotFound => PluginError::NotFound,
        ErrorKind::PermissionDenied => PluginError::NotPermitted,
        _ => PluginError::Unavailable(Some(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn os() -> Os {
        Os {
            roots: [("tmp".to_owned(), std::env::temp_dir())].into(),
            commands: [
                (
                    "echo".to_owned(),
                    ["/bin/echo", "fixed", "{}"].map(String::from).to_vec(),
                ),
                (
                    "sleep".to_owned(),
                    ["/bin/sleep", "60"].map(String::from).to_vec(),
                ),
                (
                    "flood".to_owned(),
                    ["/bin/dd", "if=/dev/zero", "bs=1M", "count=3"]
                        .map(String::from)
                        .to_vec(),
                ),
                (
                    "env".to_owned(),
                    ["/usr/bin/env"].map(String::from).to_vec(),
                ),
            ]
            .into(),
        }
    }

    async fn ask(request: ImportRequest) -> Result<ImportReply, PluginError> {
        serve(&os(), request, Duration::from_secs(5)).await
    }

    fn command(command: &str, arguments: &[&str]) -> ImportRequest {
        let arguments = arguments.iter().map(ToString::to_string).collect();
        ImportRequest::Run {
            command: command.into(),
            arguments,
        }
    }

    fn read(path: &str) -> ImportRequest {
        ImportRequest::ReadFile {
            root: "tmp".into(),
            path: path.into(),
            max_len: 100,
        }
    }

    #[tokio::test]
    async fn no_path_leaves_its_root() {
        let link = std::env::temp_dir().join(format!("bailiwick-link-{}", std::process::id()));
        std::os::unix::fs::symlink("/etc/passwd", &link).unwrap();
        let link = link.file_name().unwrap().to_str().unwrap().to_owned();
        for path in [
            "../etc/passwd",
            "/etc/passwd",
            "x/../../etc/passwd",
            &link,
            "",
            ".",
        ] {
            assert!(ask(read(path)).await.is_err(), "{path:?} was read");
        }
        let other = ImportRequest::ReadFile {
            root: "etc".into(),
            path: "passwd".into(),
            max_len: 9,
        };
        assert_eq!(ask(other).await, Err(PluginError::NotPermitted));
        std::fs::remove_file(std::env::temp_dir().join(link)).unwrap();
    }

    #[tokio::test]
    async fn a_command_is_its_template_and_nothing_else() {
        let said = ImportReply::Command {
            exit_code: 0,
            stdout: b"fixed a; b\n".to_vec().into(),
            stderr: vec![].into(),
        };
        assert_eq!(ask(command("echo", &["a; b"])).await, Ok(said));
        for arguments in [&["-e"][..], &[], &["a", "b"], &["a\0"]] {
            assert!(matches!(
                ask(command("echo", arguments)).await,
                Err(PluginError::InvalidArgument(_))
            ));
        }
        assert_eq!(
            ask(command("sh", &[])).await,
            Err(PluginError::NotPermitted)
        );
        let nothing = ImportReply::Command {
            exit_code: 0,
            stdout: vec![].into(),
            stderr: vec![].into(),
        };
        assert_eq!(
            ask(command("env", &[])).await,
            Ok(nothing),
            "the environment leaks"
        );
    }

    #[tokio::test]
    async fn a_command_is_bounded_in_time_and_output() {
        let Ok(ImportReply::Command { stdout, .. }) = ask(command("flood", &[])).await else {
            panic!("no output");
        };
        assert_eq!(stdout.len() as u64, OUTPUT);
        let late = serve(&os(), command("sleep", &[]), Duration::from_millis(50)).await;
        assert_eq!(late, Err(PluginError::TimedOut));
    }
}
