//! A program in the background: started, waited for, and stopped whatever happens.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How long a program may take to be ready, or to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// A program that runs in the background. Dropped, it is killed.
pub(crate) struct Process {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command`; what it prints goes to the file `log`.
    pub(crate) fn start(name: &'static str, command: &mut Command, log: &Path) -> Result<Self> {
        let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Self {
            name,
            child,
            log: log.to_owned(),
        })
    }

    /// Waits until `ready` gives something; fails if the program ends before, or takes too long.
    pub(crate) fn wait_for<T>(
        &mut self,
        what: &str,
        mut ready: impl FnMut() -> Option<T>,
    ) -> Result<T> {
        let begun = Instant::now();
        loop {
            if let Some(found) = ready() {
                return Ok(found);
            }
            if let Some(status) = self.child.try_wait()? {
                bail!(
                    "{} ended with {status}, before {what}{}",
                    self.name,
                    self.last_words()
                );
            }
            if begun.elapsed() > PATIENCE {
                bail!("{}: no sign of {what}{}", self.name, self.last_words());
            }
            pause();
        }
    }

    /// Asks the program to end, as a service manager does, and waits until it has.
    pub(crate) fn stop(mut self) -> Result<()> {
        let ask = format!("kill -TERM {}", self.child.id());
        Command::new("sh")
            .args(["-c", &ask])
            .status()
            .context("cannot start sh")?;
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            if begun.elapsed() > PATIENCE {
                bail!("{} does not end{}", self.name, self.last_words());
            }
            pause();
        };
        if !status.success() {
            bail!("{} ended with {status}{}", self.name, self.last_words());
        }
        Ok(())
    }

    /// The end of its log, for an error message.
    fn last_words(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        let lines: Vec<_> = text.lines().collect();
        let last = lines[lines.len().saturating_sub(10)..].join("\n  ");
        format!("; the end of {}:\n  {last}", self.log.display())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has ended already if all went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn pause() {
    #[expect(
        clippy::disallowed_methods,
        reason = "looking for a state of another process, again and again"
    )]
    std::thread::sleep(Duration::from_millis(20));
}
