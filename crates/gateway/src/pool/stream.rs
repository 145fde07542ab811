//! One connection through a Pool, which moves to another session as long as its Target has said nothing.

use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf},
    time::{Sleep, sleep},
};
use tokio_util::sync::ReusableBoxFuture;

use super::{
    FirstWord,
    desk::{Denied, Seated},
    placement::{MoveCause, Overdue},
};
use crate::stream::TunnelStream;

/// A client that sends more before the Target's first byte does not move any more.
const KEPT: usize = 16 * 1024;

/// A byte stream to the Target, like [`TunnelStream`].
///
/// Until the Target's first byte it may move to another session, which takes that it is being read.
pub struct PoolStream {
    /// Dropped before `seated`, which keeps its session.
    stream: TunnelStream,
    seated: Seated,
    /// Until the Target's first byte.
    early: Option<Box<Early>>,
}

/// What a stream needs to be opened again.
struct Early {
    patience: Duration,
    sent: Sent,
    finished: bool,
    deadline: Option<Pin<Box<Sleep>>>,
    moving: Option<ReusableBoxFuture<'static, Result<(Seated, TunnelStream), Denied>>>,
    /// The stream at hand is of no use: told if there is no other.
    dead: Option<io::Error>,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// What the client sent before the Target's first byte.
enum Sent {
    Kept(Vec<u8>),
    TooMuch,
}

impl PoolStream {
    pub(super) fn new(seated: Seated, stream: TunnelStream, first_word: FirstWord, first_byte: Duration) -> Self {
        let early = Early {
            patience: first_byte,
            sent: Sent::Kept(Vec::new()),
            finished: false,
            deadline: (first_word == FirstWord::Target).then(|| Box::pin(sleep(first_byte))),
            moving: None,
            dead: None,
            reader: None,
            writer: None,
        };
        Self { stream, seated, early: Some(Box::new(early)) }
    }

    /// Until the Target's first byte.
    fn poll_first(&mut self, mut early: Box<Early>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Progress {
        loop {
            if early.dead.is_none() {
                let filled = buffer.filled().len();
                if let Poll::Ready(outcome) = Pin::new(&mut self.stream).poll_read(cx, buffer) {
                    let nothing = buffer.filled().len() == filled;
                    match self.lost(&early, &outcome, nothing) {
                        Some(cause) => {
                            early.dead = Some(outcome.err().unwrap_or_else(|| self.stream.lost_session()));
                            self.begin_move(&mut early, cause);
                        }
                        None if nothing && outcome.is_ok() && self.stream.has_lost_session() => {
                            return Progress::Over(early, Err(self.stream.lost_session()));
                        }
                        None => return Progress::Over(early, outcome),
                    }
                }
            }
            match early.poll_move(cx) {
                Poll::Ready(Some(Ok((seated, stream)))) => {
                    self.stream = stream;
                    self.seated = seated;
                    if early.finished {
                        // Always ready: it only makes a note.
                        drop(Pin::new(&mut self.stream).poll_shutdown(cx));
                    }
                }
                Poll::Ready(Some(Err(denied))) => match (early.dead.take(), denied) {
                    (Some(_), Denied::Refused(error)) => {
                        return Progress::Over(early, Err(io::Error::new(io::ErrorKind::ConnectionAborted, error)));
                    }
                    (Some(error), Denied::Stay) => return Progress::Over(early, Err(error)),
                    (None, _) => early.deadline = None,
                },
                Poll::Pending => return Progress::Wait(early),
                Poll::Ready(None) => match early.poll_deadline(cx) {
                    Poll::Pending => return Progress::Wait(early),
                    Poll::Ready(()) => self.look_after(&mut early),
                },
            }
        }
    }

    /// Whether the stream has ended in a way that another session may mend.
    fn lost(&self, early: &Early, outcome: &io::Result<()>, nothing: bool) -> Option<MoveCause> {
        if matches!(early.sent, Sent::TooMuch) {
            return None;
        }
        match outcome {
            Ok(()) if nothing && self.stream.has_lost_session() => {
                self.seated.lost_session().then_some(MoveCause::Ended)
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                self.seated.refused().then_some(MoveCause::Refused)
            }
            Ok(()) | Err(_) => None,
        }
    }

    fn look_after(&self, early: &mut Early) {
        match self.seated.overdue() {
            Overdue::Again(at) => {
                if let Some(deadline) = &mut early.deadline {
                    deadline.as_mut().reset(at.into());
                }
            }
            Overdue::Move => self.begin_move(early, MoveCause::Stalled),
            Overdue::Stay => early.deadline = None,
        }
    }

    fn begin_move(&self, early: &mut Early, cause: MoveCause) {
        let Sent::Kept(sent) = &early.sent else { return };
        if early.moving.is_some() {
            return;
        }
        let (sent, asked) = (sent.clone(), self.seated.ask_to_move(cause));
        early.moving = Some(ReusableBoxFuture::new(async move {
            let (seated, mut stream) = asked.open().await?;
            // All of it fits; if the session ends at once, reading tells.
            drop(stream.write_all(&sent).await);
            Ok((seated, stream))
        }));
    }
}

enum Progress {
    /// The Target has said something, or never will.
    Over(Box<Early>, io::Result<()>),
    Wait(Box<Early>),
}

impl Early {
    /// `None` if it does not move.
    fn poll_move(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<(Seated, TunnelStream), Denied>>> {
        let Some(moving) = &mut self.moving else { return Poll::Ready(None) };
        let moved = ready!(moving.poll(cx));
        self.moving = None;
        if moved.is_ok() {
            self.dead = None;
            self.deadline = self.deadline.take().map(|_| Box::pin(sleep(self.patience)));
        }
        self.wake_writer();
        Poll::Ready(Some(moved))
    }

    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.deadline {
            Some(deadline) => deadline.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }

    fn sent(&mut self, bytes: &[u8]) {
        match &mut self.sent {
            Sent::Kept(kept) if kept.len() + bytes.len() <= KEPT => {
                kept.extend_from_slice(bytes);
                if self.deadline.is_none() && kept.len() == bytes.len() && !bytes.is_empty() {
                    self.deadline = Some(Box::pin(sleep(self.patience)));
                }
            }
            Sent::Kept(_) => {
                self.sent = Sent::TooMuch;
                self.deadline = None;
            }
            Sent::TooMuch => return,
        }
        self.reader.take().into_iter().for_each(Waker::wake);
    }

    fn has_room(&self, length: usize) -> bool {
        matches!(&self.sent, Sent::Kept(kept) if kept.len() + length <= KEPT)
    }

    fn wake_writer(&mut self) {
        self.writer.take().into_iter().for_each(Waker::wake);
    }
}

impl AsyncRead for PoolStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let filled = buffer.filled().len();
        let outcome = match self.early.take() {
            None => ready!(Pin::new(&mut self.stream).poll_read(cx, buffer)),
            Some(early) => match self.poll_first(early, cx, buffer) {
                Progress::Over(mut early, outcome) => {
                    early.wake_writer();
                    if outcome.is_ok() {
                        self.seated.answered();
                    }
                    outcome
                }
                Progress::Wait(mut early) => {
                    early.reader = Some(cx.waker().clone());
                    self.early = Some(early);
                    return Poll::Pending;
                }
            },
        };
        self.seated.moved(buffer.filled().len() - filled);
        Poll::Ready(outcome)
    }
}

impl AsyncWrite for PoolStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(early) = &mut self.early
            && early.moving.is_some()
        {
            early.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let outcome = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes));
        let lost = outcome.is_err() && self.stream.has_lost_session();
        let taken = match (outcome, &mut self.early) {
            (Ok(taken), Some(early)) => {
                early.sent(&bytes[..taken]);
                taken
            }
            (Ok(taken), None) => taken,
            // The session has ended, which reading finds out: the bytes go out when the stream has moved.
            (Err(_), Some(early)) if lost && early.has_room(bytes.len()) => {
                early.sent(bytes);
                bytes.len()
            }
            (Err(error), _) => return Poll::Ready(Err(error)),
        };
        self.seated.moved(taken);
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(early) = &mut self.early {
            early.finished = true;
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl fmt::Debug for PoolStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolStream").field("stream", &self.stream).finish_non_exhaustive()
    }
}
