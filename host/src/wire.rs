//! How two of our processes exchange messages: a stream socket, frames of bounded length, and at most
//! one descriptor with a frame. Both ends are the same executable, so there is no version to agree on.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::Notify;

/// Bytes of the length before each frame.
const HEADER: usize = 4;
/// Room for one read.
const CHUNK: usize = 16 << 10;
/// A buffer that has grown beyond this is let go when it is empty.
const KEEP: usize = 64 << 10;

/// Why a conversation ended.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The other process has gone.
    #[error("the other process has closed the connection")]
    Closed,
    /// The socket failed.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    /// More than the limit.
    #[error("a message of {size} bytes is over the limit of {limit}")]
    TooLarge {
        /// Its size.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// Not a message of ours.
    #[error("a message does not decode: {0}")]
    Malformed(#[from] postcard::Error),
}

/// One end of the conversation: sends `Out`, receives `In`. One task receives; any task may send.
pub struct Wire<In, Out> {
    socket: UnixStream,
    limit: usize,
    incoming: Mutex<Incoming>,
    outgoing: Mutex<Outgoing>,
    blocked: Notify,
    /// Nanoseconds that reading and decoding messages has taken since that was asked last.
    decoding: AtomicU64,
    types: PhantomData<fn() -> (In, Out)>,
}

#[derive(Default)]
struct Incoming {
    bytes: Vec<u8>,
    /// Where the next frame begins in `bytes`.
    start: usize,
    descriptors: VecDeque<OwnedFd>,
}

#[derive(Default)]
struct Outgoing {
    /// Frames that the socket has not taken yet, the first one perhaps in part.
    frames: VecDeque<(Vec<u8>, usize, Option<OwnedFd>)>,
}

impl<In: DeserializeOwned, Out: Serialize> Wire<In, Out> {
    /// Talks over `socket`; frames above `limit` bytes are refused, both ways.
    pub fn new(socket: StdUnixStream, limit: usize) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket: UnixStream::from_std(socket)?,
            limit,
            incoming: Mutex::default(),
            outgoing: Mutex::default(),
            blocked: Notify::new(),
            decoding: AtomicU64::new(0),
            types: PhantomData,
        })
    }

    /// Sends a message: at once where the socket takes it, else when [`Self::flush`] finds room.
    pub fn send(&self, message: &Out, descriptor: Option<OwnedFd>) -> Result<(), WireError> {
        let mut frame = postcard::to_extend(message, vec![0; HEADER])?;
        let size = frame.len() - HEADER;
        if size > self.limit {
            return Err(WireError::TooLarge {
                size,
                limit: self.limit,
            });
        }
        let length = u32::try_from(size).unwrap_or(u32::MAX).to_le_bytes();
        frame
            .iter_mut()
            .zip(length)
            .for_each(|(to, from)| *to = from);
        lock(&self.outgoing)
            .frames
            .push_back((frame, 0, descriptor));
        self.write_out()?;
        if !lock(&self.outgoing).frames.is_empty() {
            self.blocked.notify_one();
        }
        Ok(())
    }

    /// Writes what is left over, for as long as the conversation lasts. Run it beside the receiving task.
    pub async fn flush(&self) -> Result<(), WireError> {
        loop {
            self.blocked.notified().await;
            while !lock(&self.outgoing).frames.is_empty() {
                self.socket.writable().await?;
                self.write_out()?;
            }
        }
    }

    fn write_out(&self) -> Result<(), WireError> {
        let mut outgoing = lock(&self.outgoing);
        while let Some((frame, sent, descriptor)) = outgoing.frames.front_mut() {
            let rest = frame.get(*sent..).unwrap_or_default();
            let attached = descriptor.as_ref().map(AsFd::as_fd);
            match self.socket.try_io(Interest::WRITABLE, || {
                send_some(self.socket.as_fd(), rest, attached)
            }) {
                Ok(count) => {
                    *sent += count;
                    *descriptor = None;
                    if *sent >= frame.len() {
                        outgoing.frames.pop_front();
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// The next message. Not to be called by two tasks at once.
    pub async fn receive(&self) -> Result<In, WireError> {
        loop {
            if let Some(message) = self.timed(|| self.take_frame())? {
                return Ok(message);
            }
            self.socket.readable().await?;
            self.timed(|| self.read_some())?;
        }
    }

    /// Whether more has been read than the last message.
    pub fn has_more(&self) -> bool {
        let incoming = lock(&self.incoming);
        incoming.start < incoming.bytes.len()
    }

    /// How long reading and decoding messages has taken since this was called last.
    pub fn take_decoding(&self) -> Duration {
        Duration::from_nanos(self.decoding.swap(0, Ordering::Relaxed))
    }

    fn timed<T>(&self, work: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let outcome = work();
        let nanoseconds = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.decoding.fetch_add(nanoseconds, Ordering::Relaxed);
        outcome
    }

    /// The descriptor that came with the message received last.
    pub fn take_descriptor(&self) -> Option<OwnedFd> {
        lock(&self.incoming).descriptors.pop_front()
    }

    fn take_frame(&self) -> Result<Option<In>, WireError> {
        let mut incoming = lock(&self.incoming);
        let pending = incoming.bytes.get(incoming.start..).unwrap_or_default();
        let Some((header, rest)) = pending.split_first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let size = u32::from_le_bytes(*header) as usize;
        if size > self.limit {
            return Err(WireError::TooLarge {
                size,
                limit: self.limit,
            });
        }
        let Some(frame) = rest.get(..size) else {
            return Ok(None);
        };
        let message = postcard::from_bytes(frame)?;
        incoming.start += HEADER + size;
        if incoming.start == incoming.bytes.len() {
            incoming.start = 0;
            if incoming.bytes.capacity() > KEEP {
                incoming.bytes = Vec::new();
            } else {
                incoming.bytes.clear();
            }
        }
        Ok(Some(message))
    }

    fn read_some(&self) -> Result<(), WireError> {
        let mut incoming = lock(&self.incoming);
        let Incoming {
            bytes,
            start,
            descriptors,
        } = &mut *incoming;
        if *start > 0 {
            bytes.drain(..*start);
            *start = 0;
        }
        let filled = bytes.len();
        bytes.resize(filled + CHUNK, 0);
        let room = bytes.get_mut(filled..).unwrap_or_default();
        let outcome = self.socket.try_io(Interest::READABLE, || {
            receive_some(self.socket.as_fd(), room, descriptors)
        });
        bytes.truncate(filled + *outcome.as_ref().unwrap_or(&0));
        match outcome {
            Ok(0) => Err(WireError::Closed),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Err(WireError::Closed),
            Err(error) => Err(error.into()),
        }
    }
}

/// A panic while the lock was held leaves whole frames behind; go on with them.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn send_some(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    descriptor: Option<BorrowedFd<'_>>,
) -> io::Result<usize> {
    let Some(descriptor) = descriptor else {
        return Ok(rustix::net::send(socket, bytes, SendFlags::NOSIGNAL)?);
    };
    let descriptors = [descriptor];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
    let slices = [IoSlice::new(bytes)];
    Ok(rustix::net::sendmsg(
        socket,
        &slices,
        &mut ancillary,
        SendFlags::NOSIGNAL,
    )?)
}

fn receive_some(
    socket: BorrowedFd<'_>,
    room: &mut [u8],
    descriptors: &mut VecDeque<OwnedFd>,
) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut slices = [IoSliceMut::new(room)];
    let message =
        rustix::net::recvmsg(socket, &mut slices, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    for received in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(sent) = received {
            descriptors.extend(sent);
        }
    }
    if message.flags.contains(ReturnFlags::CTRUNC) || descriptors.len() > 4 {
        return Err(io::Error::other(
            "more descriptors than a message may carry",
        ));
    }
    Ok(message.bytes)
}
