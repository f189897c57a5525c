//! The real daemon as a process: started, asked through its admin socket, stopped or killed.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// How long the daemon may take to start, to answer, or to stop.
const PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks at a process that starts or stops.
const LOOK: Duration = Duration::from_millis(2);

/// Lines of the log that are shown when something went wrong.
const LAST_WORDS: usize = 12;

/// Waits while a process or the clock goes on, which no future tells of.
#[expect(
    clippy::disallowed_methods,
    reason = "blocks a thread of a test, and no session"
)]
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// A running daemon; killed when dropped.
pub struct Daemon {
    child: Child,
    /// The process itself, where the child is a program around it.
    process: Pid,
    socket: PathBuf,
    log: PathBuf,
}

impl Daemon {
    /// Starts the daemon with the configuration `bailiwick.toml` of a directory, in which its admin socket is
    /// `admin.sock`, and waits until it answers. What it prints goes to `log` there.
    pub fn start(directory: &Path) -> io::Result<Self> {
        let mut command = Command::new(crate::executable("bailiwick"));
        Self::start_with(&mut command, directory)
    }

    /// The same with a command that runs the daemon in the end, such as a tracer.
    pub fn start_with(command: &mut Command, directory: &Path) -> io::Result<Self> {
        let log = directory.join("log");
        let output = File::options().create(true).append(true).open(&log)?;
        command
            .arg("--config")
            .arg(directory.join("bailiwick.toml"))
            .arg("run")
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        // Of an earlier daemon that was killed.
        let socket = directory.join("admin.sock");
        match fs::remove_file(&socket) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let child = command.spawn()?;
        let process = Pid::from_child(&child);
        let mut daemon = Self {
            child,
            process,
            socket,
            log,
        };
        daemon.wait_for_answer()?;
        Ok(daemon)
    }

    fn wait_for_answer(&mut self) -> io::Result<()> {
        let begun = Instant::now();
        while UnixStream::connect(&self.socket).is_err() {
            if let Some(status) = self.child.try_wait()? {
                return Err(self.failed(&format!("the daemon ended with {status}")));
            }
            if begun.elapsed() > PATIENCE {
                return Err(self.failed("the daemon does not listen"));
            }
            pause(LOOK);
        }
        self.call("Accounts", json!({})).map(drop)
    }

    /// Says that the daemon is the only child of the process that was started.
    pub fn is_inside(&mut self) -> io::Result<()> {
        let outer = self.child.id();
        let children = fs::read_to_string(format!("/proc/{outer}/task/{outer}/children"))?;
        let inner = children
            .split_whitespace()
            .next()
            .and_then(|pid| pid.parse().ok());
        self.process = inner
            .and_then(Pid::from_raw)
            .ok_or_else(|| self.failed("there is no child"))?;
        Ok(())
    }

    /// Calls a method of `org.bailiwick.Admin`; an error that the daemon reports is one here.
    pub fn call(&self, method: &str, parameters: Value) -> io::Result<Value> {
        self.client()
            .call(method, parameters)
            .map_err(|error| self.failed(&error.to_string()))
    }

    /// Somebody who can call, also from another thread.
    pub fn client(&self) -> Client {
        Client {
            socket: self.socket.clone(),
        }
    }

    /// An error if it has ended.
    pub fn assert_running(&mut self) -> io::Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => Err(self.failed(&format!("the daemon ended with {status}"))),
        }
    }

    /// Asks it to stop, as a service manager does, and waits until it has.
    pub fn stop(mut self) -> io::Result<()> {
        kill_process(self.process, Signal::TERM)?;
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            if begun.elapsed() > PATIENCE {
                return Err(self.failed("the daemon does not stop"));
            }
            pause(LOOK);
        };
        match status.success() {
            true => Ok(()),
            false => Err(self.failed(&format!("the daemon ended with {status}"))),
        }
    }

    /// Ends it at this very moment.
    pub fn kill(mut self) -> io::Result<ExitStatus> {
        kill_process(self.process, Signal::KILL)?;
        self.child.wait()
    }

    fn failed(&self, what: &str) -> io::Error {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(LAST_WORDS)..].join("\n");
        io::Error::other(format!("{what}; its log ends:\n{last}"))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _gone = kill_process(self.process, Signal::KILL);
        let _gone = self.child.wait();
    }
}

/// A caller at the admin socket.
#[derive(Clone)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    /// Calls a method of `org.bailiwick.Admin`.
    pub fn call(&self, method: &str, parameters: Value) -> io::Result<Value> {
        let mut stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let call =
            json!({ "method": format!("org.bailiwick.Admin.{method}"), "parameters": parameters });
        stream.write_all(&[&serde_json::to_vec(&call)?[..], b"\0"].concat())?;
        let mut reply = Vec::new();
        let mut buffer = [0; 16 << 10];
        while !reply.ends_with(b"\0") {
            match stream.read(&mut buffer)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => reply.extend_from_slice(&buffer[..read]),
            }
        }
        reply.pop();
        let mut reply: Value = serde_json::from_slice(&reply)?;
        match reply.get("error") {
            Some(error) => Err(io::Error::other(format!(
                "{method}: {error} {}",
                reply["parameters"]
            ))),
            None => Ok(reply["parameters"].take()),
        }
    }
}
