//! The service manager is told when the daemon is ready and when it stops (`sd_notify(3)`).

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Where a service manager listens, if one does.
const VARIABLE: &str = "NOTIFY_SOCKET";

/// Tells the service manager, if there is one. That it cannot be told is logged and does not matter.
pub(super) fn service_manager(state: &str) {
    let Some(socket) = std::env::var_os(VARIABLE) else {
        return;
    };
    if let Err(error) = send(&socket, state) {
        tracing::warn!(%error, state, "the service manager was not told");
    }
}

/// A path, or an abstract name that begins with `@`.
fn send(socket: &OsStr, state: &str) -> io::Result<()> {
    let address = match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    let datagram = UnixDatagram::unbound()?;
    // A service manager that does not read must not stop the daemon.
    datagram.set_nonblocking(true)?;
    datagram.send_to_addr(state.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_abstract_names_are_reached() {
        let path = std::env::temp_dir().join(format!("bw-notify-{}", std::process::id()));
        let name = format!("bw-notify-{}", std::process::id());
        let rows = [
            (
                path.clone().into_os_string(),
                UnixDatagram::bind(&path).unwrap(),
            ),
            (
                format!("@{name}").into(),
                UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap(),
            ),
        ];
        for (socket, manager) in rows {
            send(&socket, "READY=1").unwrap();
            let mut heard = [0; 32];
            let read = manager.recv(&mut heard).unwrap();
            assert_eq!(&heard[..read], b"READY=1");
        }
        std::fs::remove_file(&path).unwrap();
        send(path.as_os_str(), "READY=1").unwrap_err();
    }
}
