//! The handshake runs on a thread of its own: it waits for signatures of cards, which take seconds, and nobody else's
//! session may wait with it. Afterwards the connection is the runtime's again.

use std::io::{self, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::RecvFlags;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Runs the handshake until `deadline`; an error of kind `TimedOut` says that it has passed.
pub(super) async fn run(
    config: ClientConfig,
    name: ServerName<'static>,
    stream: TcpStream,
    deadline: Instant,
) -> io::Result<TlsStream<Socket>> {
    let stream = stream.into_std()?;
    stream.set_nonblocking(false)?;
    let mut abandoned = Abandoned(Some(stream.try_clone()?));
    let connector = TlsConnector::from(Arc::new(config));
    let handshake = tokio::task::spawn_blocking(move || {
        let waiting = stream.try_clone()?;
        let mut handshake = pin!(connector.connect(name, Socket::Blocking { stream, deadline }));
        loop {
            match handshake
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()))
            {
                Poll::Ready(outcome) => return outcome,
                Poll::Pending => wait(&waiting, deadline)?,
            }
        }
    });
    let outcome = handshake.await.map_err(io::Error::other)?;
    abandoned.0 = None;
    let mut stream = outcome?;
    stream.get_mut().0.register()?;
    Ok(stream)
}

/// Ends the thread's wait for the server when nobody waits for the handshake any more.
struct Abandoned(Option<std::net::TcpStream>);

impl Drop for Abandoned {
    fn drop(&mut self) {
        if let Some(stream) = &self.0 {
            let _closed = stream.shutdown(Shutdown::Both);
        }
    }
}

/// What TLS runs over.
#[derive(Debug)]
pub(super) enum Socket {
    /// In the handshake: it blocks in writing, and reads what is there; [`wait`] waits for more.
    Blocking {
        stream: std::net::TcpStream,
        deadline: Instant,
    },
    /// After the handshake.
    Registered(TcpStream),
}

impl Socket {
    /// Gives it to the runtime that this is called in.
    fn register(&mut self) -> io::Result<()> {
        if let Self::Blocking { stream, .. } = self {
            let stream = stream.try_clone()?;
            stream.set_nonblocking(true)?;
            *self = Self::Registered(TcpStream::from_std(stream)?);
        }
        Ok(())
    }
}

/// Until there is something to read, or an end.
fn wait(stream: &std::net::TcpStream, deadline: Instant) -> io::Result<()> {
    blocking(|| {
        stream.set_read_timeout(Some(left(deadline)?))?;
        stream.peek(&mut [0]).map(drop)
    })
}

/// What is left until then; nothing: an error of kind `TimedOut`.
fn left(deadline: Instant) -> io::Result<Duration> {
    deadline
        .checked_duration_since(Instant::now())
        .filter(|left| !left.is_zero())
        .ok_or_else(|| io::ErrorKind::TimedOut.into())
}

/// The system says of a time-out what it says of a socket that does not block.
fn blocking<T>(mut work: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match work() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            outcome => return outcome,
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Registered(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Blocking { stream, .. } => {
                let room = buf.initialize_unfilled();
                match rustix::net::recv(stream.as_fd(), room, RecvFlags::DONTWAIT) {
                    Ok((read, _)) => {
                        buf.advance(read);
                        Poll::Ready(Ok(()))
                    }
                    Err(Errno::AGAIN | Errno::INTR) => Poll::Pending,
                    Err(error) => Poll::Ready(Err(error.into())),
                }
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Registered(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Blocking { stream, deadline } => Poll::Ready(blocking(|| {
                stream.set_write_timeout(Some(left(*deadline)?))?;
                stream.write(buf)
            })),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Registered(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Blocking { stream, deadline } => Poll::Ready(blocking(|| {
                stream.set_write_timeout(Some(left(*deadline)?))?;
                stream.write_vectored(bufs)
            })),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Registered(stream) => Pin::new(stream).poll_flush(cx),
            Self::Blocking { .. } => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Registered(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Blocking { stream, .. } => Poll::Ready(stream.shutdown(Shutdown::Write)),
        }
    }
}
