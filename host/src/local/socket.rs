//! The daemon's sockets: who may connect is the kernel's decision, by the mode of the file and by credentials that it
//! vouches for.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use tokio::net::{UnixListener, UnixSocket, UnixStream};

/// Connections that wait to be accepted.
const BACKLOG: u32 = 16;

/// Who may connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission<'a> {
    /// The daemon's own user and root; members of this group too (a name in `/etc/group`, or a number).
    Operator {
        /// The group.
        group: Option<&'a str>,
    },
    /// Everybody: what they show decides.
    Everybody,
}

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Somebody listens there.
    #[error("another daemon answers at {path}; stop it, or configure another path")]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// A file that is not a socket.
    #[error("{path} exists and is not a socket; remove it, or configure another path")]
    NotASocket {
        /// The file.
        path: PathBuf,
    },
    /// There is no such group.
    #[error("there is no group {group:?} in /etc/group; correct `admin-group`")]
    NoSuchGroup {
        /// As configured.
        group: String,
    },
    /// The system.
    #[error(
        "cannot {attempt} {path}: {source}; its directory must exist, belong to the daemon, and make a path of at most 107 bytes"
    )]
    System {
        /// What was tried.
        attempt: &'static str,
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The listening socket; its file goes with it.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
    /// The mode of the file decides, and not the user.
    by_mode: bool,
}

impl Socket {
    /// Listens at `path`. Takes the place of a socket that nobody listens at.
    pub fn bind(path: &Path, admission: Admission<'_>) -> Result<Self, SocketError> {
        let failed = |attempt| {
            move |source: io::Error| SocketError::System {
                attempt,
                path: path.to_owned(),
                source,
            }
        };
        let group = match admission {
            Admission::Operator { group } => group.map(group_number).transpose()?,
            Admission::Everybody => None,
        };
        remove_stale(path)?;
        let socket = UnixSocket::new_stream().map_err(failed("make a socket for"))?;
        // On Linux the file gets the mode of the socket: it is never open to others, not even for a moment.
        rustix::fs::fchmod(socket.as_fd(), Mode::RUSR | Mode::WUSR)
            .map_err(|e| failed("protect")(e.into()))?;
        socket.bind(path).map_err(failed("make"))?;
        if group.is_some() {
            std::os::unix::fs::chown(path, None, group).map_err(failed("give the group to"))?;
        }
        let mode = match (admission, group) {
            (Admission::Everybody, _) => 0o666,
            (_, Some(_)) => 0o660,
            (_, None) => 0o600,
        };
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(failed("protect"))?;
        let listener = socket.listen(BACKLOG).map_err(failed("listen at"))?;
        Ok(Self {
            listener,
            path: path.to_owned(),
            by_mode: mode != 0o600,
        })
    }

    /// The next connection of somebody who may connect. Never fails: what goes wrong with one connection is
    /// logged, and the next one is waited for.
    pub async fn accept(&self) -> UnixStream {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) if self.admits(&stream) => return stream,
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection at a socket");
                    // Out of descriptors, most likely: at once it would only fail again.
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            }
        }
    }

    fn admits(&self, stream: &UnixStream) -> bool {
        let Ok(peer) = stream.peer_cred() else {
            tracing::warn!("a peer of the admin socket without credentials was refused");
            return false;
        };
        let own = rustix::process::geteuid().as_raw();
        let admitted = may_connect(peer.uid(), own, self.by_mode);
        if !admitted {
            let (uid, pid) = (peer.uid(), peer.pid());
            tracing::warn!(
                uid,
                pid,
                "a user who is not the operator was refused at the admin socket"
            );
        }
        admitted
    }
}

/// Where the mode decides, the kernel has checked it when the peer connected.
fn may_connect(peer: u32, own: u32, by_mode: bool) -> bool {
    peer == 0 || peer == own || by_mode
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _gone = fs::remove_file(&self.path);
    }
}

/// Removes the socket of a daemon that died. Whoever listens there, or anything but a socket, stays.
fn remove_stale(path: &Path) -> Result<(), SocketError> {
    let failed = |attempt| {
        move |source| SocketError::System {
            attempt,
            path: path.to_owned(),
            source,
        }
    };
    match fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(failed("look at")(e)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(SocketError::NotASocket {
                path: path.to_owned(),
            });
        }
        Ok(_) => {}
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err(SocketError::InUse {
            path: path.to_owned(),
        }),
        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(failed("remove the old socket"))
        }
        Err(e) => Err(failed("try")(e)),
    }
}

/// The number of a group; of local groups only, since a daemon without a name service must start too.
fn group_number(group: &str) -> Result<u32, SocketError> {
    if let Ok(number) = group.parse() {
        return Ok(number);
    }
    let groups = fs::read_to_string("/etc/group").unwrap_or_default();
    find_group(&groups, group).ok_or_else(|| SocketError::NoSuchGroup {
        group: group.to_owned(),
    })
}

/// `name:password:number:members`, a line each.
fn find_group(groups: &str, name: &str) -> Option<u32> {
    let lines = groups
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>());
    lines
        .filter(|fields| fields.first() == Some(&name))
        .find_map(|f| f.get(2)?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    const OPERATOR: Admission<'_> = Admission::Operator { group: None };

    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("bw-{name}-{}", std::process::id()));
            let _old = fs::remove_dir_all(&path);
            fs::create_dir(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _gone = fs::remove_dir_all(&self.0);
        }
    }

    #[tokio::test]
    async fn only_the_operator_can_open_the_file() {
        let directory = Directory::new("mode");
        let path = directory.0.join("admin.sock");
        let own = rustix::process::getegid().as_raw().to_string();
        let operator = |group| Admission::Operator { group };
        for (admission, mode) in [
            (operator(None), 0o600),
            (operator(Some(own.as_str())), 0o660),
            (Admission::Everybody, 0o666),
        ] {
            let socket = Socket::bind(&path, admission).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, mode);
            let client = UnixStream::connect(&path).await.unwrap();
            socket.accept().await;
            drop((client, socket));
            assert!(!path.exists(), "the file goes with the socket");
        }
    }

    #[tokio::test]
    async fn a_dead_socket_is_replaced_and_a_live_one_is_not() {
        let directory = Directory::new("stale");
        let path = directory.0.join("admin.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let socket = Socket::bind(&path, OPERATOR).unwrap();
        let error = Socket::bind(&path, OPERATOR).unwrap_err();
        assert!(matches!(error, SocketError::InUse { .. }), "{error}");
        drop(socket);
    }

    #[tokio::test]
    async fn nothing_but_a_socket_is_replaced() {
        let directory = Directory::new("file");
        let path = directory.0.join("admin.sock");
        fs::write(&path, "precious").unwrap();
        let error = Socket::bind(&path, OPERATOR).unwrap_err();
        assert!(matches!(error, SocketError::NotASocket { .. }), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");

        let long = directory.0.join("x".repeat(120));
        let error = Socket::bind(&long, OPERATOR).unwrap_err();
        assert!(error.to_string().contains("at most 107 bytes"), "{error}");
        let error = Socket::bind(
            &path,
            Admission::Operator {
                group: Some("no such group"),
            },
        )
        .unwrap_err();
        assert!(matches!(error, SocketError::NoSuchGroup { .. }), "{error}");
    }

    #[test]
    fn who_may_connect() {
        for (peer, own, group, expected) in [
            (0, 0, false, true),
            (0, 990, false, true),
            (990, 990, false, true),
            (1000, 990, false, false),
            (1000, 0, false, false),
            (1000, 990, true, true),
        ] {
            assert_eq!(
                may_connect(peer, own, group),
                expected,
                "{peer} {own} {group}"
            );
        }
    }

    #[test]
    fn groups_are_found_by_name() {
        let groups = "root:x:0:\nadm:x:4:syslog\nbroken\nadm2:x:no:\n";
        let rows = [
            ("root", Some(0)),
            ("adm", Some(4)),
            ("adm2", None),
            ("ad", None),
            ("", None),
        ];
        for (name, expected) in rows {
            assert_eq!(find_group(groups, name), expected, "{name}");
        }
    }
}
