//! From the client to the Target, and back.

use std::{io, sync::atomic::Ordering::Relaxed};

use bytes::BytesMut;
use db_proto::mysql::{Activity, ErrPacket, FromClient, put_packet};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    select,
};

use super::{Stop, Talk};
use crate::front::{
    ending::{Ending, EndingWatch, Stage},
    mysql::{
        server_link::{Incoming, Outgoing},
        words,
    },
    splice::Spliced,
};

const BUFFER: usize = 32 * 1024;
/// `ER_CLIENT_LOCAL_FILES_DISABLED`.
const LOCAL_FILES_DISABLED: u16 = 3948;

/// Commands.
pub(super) struct Upload<'a, R> {
    pub(super) from: &'a mut R,
    pub(super) to: &'a mut Outgoing,
    pub(super) talk: &'a Talk<'a>,
}

impl<R: AsyncRead + Unpin> Upload<'_, R> {
    /// Until the client asks for something that is answered here, or breaks. When it or the Target only closes, the last
    /// answers are still on their way and this waits for ever.
    pub(super) async fn run(&mut self) -> Stop {
        let mut buffer = vec![0; BUFFER];
        let mut file = false;
        loop {
            loop {
                match self.talk.poll_client() {
                    Err(error) => {
                        return Stop::End(Spliced::Broken(io::Error::new(io::ErrorKind::InvalidData, error)));
                    }
                    Ok(None) => break,
                    Ok(Some((FromClient::Forward { bytes, begins_command }, in_file))) => {
                        if in_file && !std::mem::replace(&mut file, in_file) {
                            self.to.continue_from(self.talk.server_number.load(Relaxed));
                        }
                        file = in_file;
                        if self.to.send(&bytes, begins_command).await.is_err() {
                            return std::future::pending().await;
                        }
                        self.talk.open.count_up(bytes.len());
                    }
                    Ok(Some((asked, _))) => {
                        self.talk.quiet().await;
                        return Stop::Asked(asked);
                    }
                }
            }
            match self.from.read(&mut buffer).await {
                Ok(0) => break,
                Err(error) if is_end(&error) => break,
                Ok(length) => self.talk.lock().phase.receive_from_client(&buffer[..length]),
                Err(error) => return Stop::End(Spliced::Broken(error)),
            }
        }
        self.talk.client_left.store(true, Relaxed);
        drop(self.to.close().await);
        std::future::pending().await
    }
}

/// MySQL's programs close their connections without a word of TLS; `COM_QUIT` is their farewell.
fn is_end(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::UnexpectedEof
}

/// Answers.
pub(super) struct Download<'a, W> {
    pub(super) from: &'a mut Incoming,
    pub(super) to: &'a mut W,
    pub(super) talk: &'a Talk<'a>,
    pub(super) ending: &'a mut EndingWatch,
}

impl<W: AsyncWrite + Unpin> Download<'_, W> {
    /// Until the Target closes or the Grant ends.
    pub(super) async fn run(&mut self) -> Stop {
        Stop::End(match self.carry().await {
            Ok(spliced) => spliced,
            // MySQL may have last words for a client that left without a farewell.
            Err(_) if self.talk.client_left.load(Relaxed) => Spliced::Finished,
            Err(error) => Spliced::Broken(error),
        })
    }

    async fn carry(&mut self) -> io::Result<Spliced> {
        let mut stage = None;
        loop {
            select! {
                bytes = self.from.next() => match bytes {
                    Ok(bytes) if bytes.is_empty() => return Ok(Spliced::Finished),
                    Ok(bytes) => self.pass(bytes).await?,
                    Err(error) if is_end(&error) => return Ok(Spliced::Finished),
                    Err(error) => return Err(error),
                },
                next = self.ending.next() => stage = Some(next),
            }
            if let Some(next) = stage.take() {
                stage = match self.follow(next).await? {
                    Followed::Ended => return Ok(Spliced::Ended),
                    Followed::Later(stage) => Some(stage),
                    Followed::Done => None,
                };
            }
        }
    }

    async fn pass(&mut self, mut bytes: BytesMut) -> io::Result<()> {
        self.talk.note_server_number(self.from.next_number());
        let walked = {
            let mut state = self.talk.lock();
            state.delivering = true;
            state.phase.walk_answer(&mut bytes)
        };
        if let Err(fault) = walked {
            self.write_error(1, &ErrPacket::new(LOCAL_FILES_DISABLED, "42000", fault.to_string())).await?;
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, fault));
        }
        self.to.write_all(&bytes).await?;
        self.to.flush().await?;
        self.talk.lock().delivering = false;
        self.talk.delivered.notify_one();
        self.talk.open.count_down(bytes.len());
        Ok(())
    }

    /// The protocol has no way to tell a client anything that it did not ask for, except that its connection ends.
    async fn follow(&mut self, stage: Stage) -> io::Result<Followed> {
        let (activity, number) = {
            let state = self.talk.lock();
            (state.phase.activity(), state.phase.next_number())
        };
        match (stage, number) {
            (Stage::Notice(_), _) => Ok(Followed::Done),
            (Stage::LastCall(ending), _) if !self.ending.holds(&ending) => Ok(Followed::Done),
            (Stage::LastCall(ending), Some(number)) if activity == Activity::Idle => self.leave(number, &ending).await,
            (Stage::Over(ending), Some(number)) => self.leave(number, &ending).await,
            (Stage::Over(_), None) => Ok(Followed::Ended),
            (later @ Stage::LastCall(_), _) => Ok(Followed::Later(later)),
        }
    }

    async fn leave(&mut self, number: u8, ending: &Ending) -> io::Result<Followed> {
        self.talk.lock().delivering = true;
        self.write_error(number, &words::ended(ending)).await?;
        Ok(Followed::Ended)
    }

    async fn write_error(&mut self, number: u8, error: &ErrPacket) -> io::Result<()> {
        let mut packet = Vec::new();
        put_packet(&mut packet, number, &error.payload());
        self.to.write_all(&packet).await?;
        self.to.flush().await
    }
}

enum Followed {
    Done,
    Ended,
    Later(Stage),
}
