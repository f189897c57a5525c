//! What there is to reach: a secret in a file, somebody who listens, a process to meddle with.

use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// The scene as the process that tries sees it.
#[derive(Clone, Debug)]
pub(crate) struct Scene {
    /// A directory that anybody may write to, with `secret` and `socket` in it.
    pub(crate) directory: PathBuf,
    /// Somebody listens on this TCP port.
    pub(crate) port: u16,
    /// Another process of the same user.
    pub(crate) victim: i32,
}

/// The scene and what keeps it up.
pub(crate) struct Set {
    pub(crate) scene: Scene,
    victim: Child,
    _tcp: TcpListener,
    _unix: UnixListener,
}

impl Scene {
    pub(crate) fn build() -> std::io::Result<Set> {
        let directory = bailiwick_tests::scratch("escape")?;
        std::fs::write(directory.join("secret"), "secret")?;
        std::fs::create_dir(directory.join("folder"))?;
        let tcp = TcpListener::bind("127.0.0.1:0")?;
        let unix = UnixListener::bind(directory.join("socket"))?;
        let victim = Command::new("sleep")
            .arg("60")
            .stdout(Stdio::null())
            .spawn()?;
        Ok(Set {
            scene: Self {
                directory,
                port: tcp.local_addr()?.port(),
                victim: i32::try_from(victim.id()).map_err(std::io::Error::other)?,
            },
            victim,
            _tcp: tcp,
            _unix: unix,
        })
    }

    pub(crate) fn to_arguments(&self) -> [String; 3] {
        [
            self.directory.display().to_string(),
            self.port.to_string(),
            self.victim.to_string(),
        ]
    }

    pub(crate) fn from_arguments(arguments: &[String]) -> Option<Self> {
        let [directory, port, victim] = arguments else {
            return None;
        };
        Some(Self {
            directory: directory.into(),
            port: port.parse().ok()?,
            victim: victim.parse().ok()?,
        })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

impl Drop for Set {
    fn drop(&mut self) {
        let _ = self.victim.kill();
        let _ = self.victim.wait();
        let _ = std::fs::remove_dir_all(&self.scene.directory);
    }
}
