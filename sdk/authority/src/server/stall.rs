//! A stream whose writes fail when the peer takes nothing for too long. Reads have deadlines of their own, in HTTP.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};

/// The stream, and how long it may stall.
pub(super) struct Stall<S> {
    stream: S,
    limit: Duration,
    /// Runs while a write is pending.
    deadline: Pin<Box<Sleep>>,
    is_pending: bool,
}

impl<S: AsyncWrite + Unpin> Stall<S> {
    pub(super) fn new(stream: S, limit: Duration) -> Self {
        Stall {
            stream,
            limit,
            deadline: Box::pin(sleep(limit)),
            is_pending: false,
        }
    }

    fn write<T>(
        &mut self,
        context: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match write(Pin::new(&mut self.stream), context) {
            Poll::Ready(result) => {
                self.is_pending = false;
                Poll::Ready(result)
            }
            Poll::Pending => {
                if !self.is_pending {
                    self.is_pending = true;
                    self.deadline.as_mut().reset(Instant::now() + self.limit);
                }
                match self.deadline.as_mut().poll(context) {
                    Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
                    Poll::Pending => Poll::Pending,
                }
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Stall<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Stall<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.write(context, |stream, context| stream.poll_write(context, bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write(context, AsyncWrite::poll_flush)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write(context, AsyncWrite::poll_shutdown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn a_peer_that_stops_reading_is_cut() {
        let (ours, _theirs) = tokio::io::duplex(4);
        let mut stream = Stall::new(ours, Duration::from_millis(10));
        let error = stream.write_all(b"more than four bytes").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_peer_that_reads_is_not() {
        let (ours, mut theirs) = tokio::io::duplex(4);
        let mut stream = Stall::new(ours, Duration::from_secs(60));
        let reader = tokio::spawn(async move {
            let mut all = vec![0; 20];
            theirs.read_exact(&mut all).await.map(|_| all)
        });
        stream.write_all(b"more than four bytes").await.unwrap();
        assert_eq!(reader.await.unwrap().unwrap(), b"more than four bytes");
    }
}
