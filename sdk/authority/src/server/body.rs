//! Bodies within bounds: requests read with a size and two deadlines, files sent in pieces.

use http_body_util::{BodyExt, Either, Full};
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use std::{
    error::Error,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use thiserror::Error;
use tokio::{
    fs::File,
    io::{AsyncRead, ReadBuf},
    time::{Instant, timeout, timeout_at},
};

/// Bytes of a file that are in memory at a time.
const PIECE: usize = 64 << 10;
/// Bytes of a refused body that are read, so that the device sees the answer instead of a broken connection.
const DRAIN_BYTES: usize = 4 << 20;
const DRAIN_TIME: Duration = Duration::from_secs(2);

/// The body of a response: text, or a file.
pub(super) type Outgoing = Either<Full<Bytes>, FileBody>;

/// Why a request body was not read to its end.
#[derive(Debug, Error)]
pub(super) enum BodyError {
    #[error("the body has more than {limit} bytes")]
    TooLarge { limit: u64 },
    #[error("the body did not arrive in time")]
    TooSlow,
    #[error("the body broke off: {0}")]
    Broken(#[from] hyper::Error),
}

/// Reads a request body piece by piece.
pub(super) struct Reader {
    body: Incoming,
    limit: u64,
    read: u64,
    stall: Duration,
    deadline: Instant,
}

impl Reader {
    /// At most `limit` bytes until `within` is over, at most `stall` without any.
    pub(super) fn new(body: Incoming, limit: u64, stall: Duration, within: Duration) -> Self {
        Reader {
            body,
            limit,
            read: 0,
            stall,
            deadline: Instant::now() + within,
        }
    }

    /// The next piece; `None` = the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        // What is announced too large need not be sent.
        if self.body.size_hint().lower().saturating_add(self.read) > self.limit {
            return self.too_large().await;
        }
        loop {
            let frame = timeout(self.stall, self.body.frame());
            let frame = timeout_at(self.deadline, frame)
                .await
                .map_err(|_| BodyError::TooSlow)?
                .map_err(|_| BodyError::TooSlow)?;
            let Some(frame) = frame.transpose()? else {
                return Ok(None);
            };
            // Trailers mean nothing to us.
            let Ok(piece) = frame.into_data() else {
                continue;
            };
            self.read += piece.len() as u64;
            if self.read > self.limit {
                return self.too_large().await;
            }
            return Ok(Some(piece));
        }
    }

    /// All of it.
    pub(super) async fn collect(mut self) -> Result<Vec<u8>, BodyError> {
        let mut bytes = Vec::new();
        while let Some(piece) = self.next().await? {
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }

    async fn too_large(&mut self) -> Result<Option<Bytes>, BodyError> {
        let limit = self.limit;
        let drain = async {
            let mut drained = 0;
            while drained < DRAIN_BYTES
                && let Some(Ok(frame)) = self.body.frame().await
            {
                drained += frame.data_ref().map_or(0, Bytes::len);
            }
        };
        // Too slow for that as well: it will see a broken connection.
        let _ = timeout(DRAIN_TIME, drain).await;
        Err(BodyError::TooLarge { limit })
    }
}

/// So many bytes of a file, from its present position.
pub(super) struct FileBody {
    file: File,
    left: u64,
    piece: Vec<u8>,
}

impl FileBody {
    pub(super) fn new(file: File, bytes: u64) -> Self {
        FileBody {
            file,
            left: bytes,
            piece: vec![0; PIECE],
        }
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let this = &mut *self;
        let wanted = usize::try_from(this.left).unwrap_or(PIECE).min(PIECE);
        let mut buffer = ReadBuf::new(this.piece.get_mut(..wanted).unwrap_or_default());
        if let Err(error) = ready!(Pin::new(&mut this.file).poll_read(context, &mut buffer)) {
            return Poll::Ready(Some(Err(error.into())));
        }
        let piece = Bytes::copy_from_slice(buffer.filled());
        if piece.is_empty() {
            let cut = io::Error::from(io::ErrorKind::UnexpectedEof);
            return Poll::Ready(Some(Err(cut.into())));
        }
        this.left = this.left.saturating_sub(piece.len() as u64);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
