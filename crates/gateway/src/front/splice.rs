//! Carrying bytes once both sides are logged in.

use std::{
    io,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy, sink, split},
    select,
    time::{sleep, timeout},
};

use super::ending::{Ending, EndingWatch, Stage};
use crate::connections::Open;

const BUFFER: usize = 16 * 1024;
/// For a client to read the last bytes and close, once the Target has closed.
pub(crate) const FAREWELL: Duration = Duration::from_secs(5);
/// For a client that does not read to get its farewell.
pub(crate) const LAST_WORDS: Duration = Duration::from_secs(1);

/// What is understood of the bytes that come from the server: as little as the end of a Grant needs.
pub(crate) trait Dialogue: Send {
    /// Looks at bytes on their way to the client. Returns whether the server has answered all that it was asked.
    fn walk(&mut self, bytes: &[u8]) -> bool;
    /// Whether a message of ours may come next.
    fn is_between_messages(&self) -> bool;
    /// Whether no transaction is open, by the server's last word on it.
    fn is_outside_transaction(&self) -> bool;
    /// Tells the client that the end is near; empty where the protocol has no way to.
    fn notice(&self, ending: &Ending) -> Vec<u8>;
    /// Tells the client why its connection ends.
    fn farewell(&self, ending: &Ending) -> Vec<u8>;
}

/// How a connection came to its end.
#[derive(Debug)]
pub(crate) enum Spliced {
    /// The Target closed it, after the client did or by itself.
    Finished,
    /// It broke.
    Broken(io::Error),
    /// The Grant ended.
    Ended,
}

impl Spliced {
    /// What went wrong, if anything.
    pub(crate) fn error(&self) -> Option<String> {
        match self {
            Self::Finished | Self::Ended => None,
            Self::Broken(error) => Some(error.to_string()),
        }
    }
}

/// Until the Target closes, the client is gone or the Grant ends. A client that only stops sending still gets its answer.
pub(crate) async fn splice(
    client: impl AsyncRead + AsyncWrite + Send,
    server: impl AsyncRead + AsyncWrite + Send,
    dialogue: impl Dialogue,
    open: &Open<'_>,
    ending: EndingWatch,
) -> Spliced {
    let (mut from_client, mut to_client) = split(client);
    let (mut from_server, mut to_server) = split(server);
    let asked = AtomicBool::new(false);
    let mut over = ending.clone();
    let upload = async {
        if let Err(error) = upload(&mut from_client, &mut to_server, &asked, open).await {
            return error;
        }
        std::future::pending().await
    };
    let mut download = Download { to_client: &mut to_client, dialogue, asked: &asked, open, ending };
    let spliced = select! {
        gone = upload => return Spliced::Broken(gone),
        spliced = download.run(&mut from_server) => spliced,
        () = outlived(&mut over) => Spliced::Ended,
    };
    let patience = match spliced {
        Spliced::Finished => FAREWELL,
        Spliced::Ended => LAST_WORDS,
        Spliced::Broken(_) => return spliced,
    };
    drop(timeout(LAST_WORDS, to_client.shutdown()).await);
    // Closing with unread bytes would reset the connection and take the last answer with it.
    drop(timeout(patience, copy(&mut from_client, &mut sink())).await);
    spliced
}

/// Returns when the Grant is over and the farewell has had its time.
pub(crate) async fn outlived(ending: &mut EndingWatch) {
    ending.over().await;
    sleep(LAST_WORDS).await;
}

async fn upload(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    asked: &AtomicBool,
    open: &Open<'_>,
) -> Result<(), io::Error> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            break;
        }
        asked.store(true, Relaxed);
        if to.write_all(&buffer[..length]).await.is_err() || to.flush().await.is_err() {
            // The Target has closed: what it said last is still being downloaded.
            return Ok(());
        }
        open.count_up(length);
    }
    // As above.
    drop(to.shutdown().await);
    Ok(())
}

struct Download<'a, W, D> {
    to_client: &'a mut W,
    dialogue: D,
    asked: &'a AtomicBool,
    open: &'a Open<'a>,
    ending: EndingWatch,
}

impl<W: AsyncWrite + Unpin, D: Dialogue> Download<'_, W, D> {
    async fn run(&mut self, from: &mut (impl AsyncRead + Unpin)) -> Spliced {
        match self.carry(from).await {
            Ok(spliced) => spliced,
            Err(error) => Spliced::Broken(error),
        }
    }

    async fn carry(&mut self, from: &mut (impl AsyncRead + Unpin)) -> io::Result<Spliced> {
        let mut buffer = vec![0; BUFFER];
        let mut stage = None;
        loop {
            select! {
                length = from.read(&mut buffer) => match length? {
                    0 => return Ok(Spliced::Finished),
                    length => self.pass(&buffer[..length]).await?,
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

    async fn pass(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.dialogue.walk(bytes) {
            self.asked.store(false, Relaxed);
        }
        self.write(bytes).await?;
        self.open.count_down(bytes.len());
        Ok(())
    }

    async fn follow(&mut self, stage: Stage) -> io::Result<Followed> {
        let may_speak = self.dialogue.is_between_messages();
        match stage {
            Stage::Notice(ending) | Stage::LastCall(ending) if !self.ending.holds(&ending) => Ok(Followed::Done),
            Stage::Notice(ending) if may_speak => {
                let notice = self.dialogue.notice(&ending);
                self.write(&notice).await?;
                Ok(Followed::Done)
            }
            Stage::LastCall(ending) if may_speak && self.is_idle() => self.leave(&ending).await,
            Stage::Over(ending) if may_speak => self.leave(&ending).await,
            Stage::Over(_) => Ok(Followed::Ended),
            later @ (Stage::Notice(_) | Stage::LastCall(_)) => Ok(Followed::Later(later)),
        }
    }

    async fn leave(&mut self, ending: &Ending) -> io::Result<Followed> {
        let farewell = self.dialogue.farewell(ending);
        self.write(&farewell).await?;
        Ok(Followed::Ended)
    }

    /// Conservative: a client that was answered while its next question was on the way counts as idle too early only if it
    /// sends questions ahead of answers.
    fn is_idle(&self) -> bool {
        self.dialogue.is_outside_transaction() && !self.asked.load(Relaxed)
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.to_client.write_all(bytes).await?;
        self.to_client.flush().await
    }
}

enum Followed {
    Done,
    Ended,
    Later(Stage),
}

#[cfg(test)]
mod tests;
