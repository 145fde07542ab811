//! The SSM agent's side of smux version 1, with its bounds: one bucket of 4 MiB for all streams, frames of 32,768 bytes,
//! one dial at a time, no half-close.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

const VERSION: u8 = 1;
const SYN: u8 = 0;
const FIN: u8 = 1;
const PSH: u8 = 2;
const NOP: u8 = 3;
const HEADER: usize = 8;
const LONGEST_FRAME: usize = 32_768;
const BUCKET: usize = 4 * 1024 * 1024;
const BACKLOG: usize = 1_024;
const KEEPALIVE_EVERY: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(30);

/// Why the multiplexer stopped.
#[derive(Debug, thiserror::Error)]
pub(super) enum MuxError {
    #[error("invalid protocol")]
    InvalidProtocol,
    #[error("timeout")]
    KeepaliveTimeout,
    #[error(transparent)]
    Pipe(#[from] io::Error),
}

/// Where accepted streams go.
pub(super) trait Dial: Send + Sync + 'static {
    /// Connects one stream; streams that wait behind it wait.
    fn dial(&self) -> impl Future<Output = io::Result<TcpStream>> + Send;

    /// Tells the client that the last dial failed; the stream's FIN follows.
    fn refused(&self) -> impl Future<Output = ()> + Send;
}

/// Accepts streams from `pipe` and joins each with a connection, until the pipe or the protocol breaks.
pub(super) async fn serve(pipe: DuplexStream, keepalive: bool, dial: impl Dial) -> Result<(), MuxError> {
    let (from_client, to_client) = tokio::io::split(pipe);
    let (frames, queued_frames) = mpsc::channel(1);
    let (accepted, backlog) = mpsc::channel(BACKLOG);
    let session =
        Arc::new(Session { streams: Mutex::default(), bucket: Bucket::new(), frames, heard: AtomicBool::new(true) });
    let mut tasks = JoinSet::new();
    tasks.spawn(write(to_client, queued_frames));
    tasks.spawn(Arc::clone(&session).receive(from_client, accepted));
    tasks.spawn(Arc::clone(&session).accept(backlog, dial));
    if keepalive {
        tasks.spawn(session.keep_alive());
    }
    match tasks.join_next().await {
        Some(Ok(ended)) => ended,
        Some(Err(panicked)) => Err(io::Error::other(panicked).into()),
        None => Ok(()),
    }
}

struct Session {
    streams: Mutex<BTreeMap<u32, mpsc::UnboundedSender<Inbound>>>,
    bucket: Bucket,
    frames: mpsc::Sender<Bytes>,
    heard: AtomicBool,
}

enum Inbound {
    Data(Bytes),
    Fin,
}

struct Accepted {
    id: u32,
    inbound: mpsc::UnboundedReceiver<Inbound>,
}

impl Session {
    async fn receive(
        self: Arc<Self>,
        mut pipe: ReadHalf<DuplexStream>,
        accepted: mpsc::Sender<Accepted>,
    ) -> Result<(), MuxError> {
        loop {
            self.bucket.wait_for_room().await;
            let mut header = [0; HEADER];
            pipe.read_exact(&mut header).await?;
            let [version, command, length_low, length_high, id @ ..] = header;
            if version != VERSION {
                return Err(MuxError::InvalidProtocol);
            }
            self.heard.store(true, Ordering::Relaxed);
            let id = u32::from_le_bytes(id);
            match command {
                SYN => self.opened(id, &accepted).await,
                FIN => self.inbound(id, Inbound::Fin),
                PSH => self.pushed(id, u16::from_le_bytes([length_low, length_high]), &mut pipe).await?,
                NOP => {}
                _ => return Err(MuxError::InvalidProtocol),
            }
        }
    }

    /// A full backlog holds up everything behind it.
    async fn opened(&self, id: u32, accepted: &mpsc::Sender<Accepted>) {
        let inbound = {
            let mut streams = self.streams();
            if streams.contains_key(&id) {
                return;
            }
            let (sender, inbound) = mpsc::unbounded_channel();
            streams.insert(id, sender);
            inbound
        };
        // The accept loop ends only with this task.
        let _ = accepted.send(Accepted { id, inbound }).await;
    }

    async fn pushed(&self, id: u32, length: u16, pipe: &mut ReadHalf<DuplexStream>) -> Result<(), MuxError> {
        if length == 0 {
            return Ok(());
        }
        let mut data = BytesMut::zeroed(length.into());
        pipe.read_exact(&mut data).await?;
        self.inbound(id, Inbound::Data(data.freeze()));
        Ok(())
    }

    /// What comes for a stream that is gone is thrown away.
    fn inbound(&self, id: u32, inbound: Inbound) {
        if let Some(stream) = self.streams().get(&id) {
            if let Inbound::Data(data) = &inbound {
                self.bucket.take(data.len());
            }
            // The receiver goes only after the stream was removed from the map, under the same lock.
            let _ = stream.send(inbound);
        }
    }

    async fn accept(self: Arc<Self>, mut backlog: mpsc::Receiver<Accepted>, dial: impl Dial) -> Result<(), MuxError> {
        let mut transfers = JoinSet::new();
        while let Some(stream) = backlog.recv().await {
            while transfers.try_join_next().is_some() {}
            match dial.dial().await {
                Ok(connection) => {
                    transfers.spawn(Arc::clone(&self).transfer(stream, connection));
                }
                Err(_) => {
                    dial.refused().await;
                    self.close(stream).await;
                }
            }
        }
        Ok(())
    }

    /// Copies both ways until one direction ends, and with it the other: smux version 1 has no half-close, and the
    /// agent closes the connection when the client's FIN comes.
    async fn transfer(self: Arc<Self>, mut stream: Accepted, connection: TcpStream) {
        // Small answers must not wait for each other, as in Go, where it is the default.
        let _ = connection.set_nodelay(true);
        let (mut from_database, mut to_database) = connection.into_split();
        tokio::select! {
            () = self.copy_up(&mut stream.inbound, &mut to_database) => {}
            () = self.copy_down(stream.id, &mut from_database) => {}
        }
        drop((from_database, to_database));
        self.close(stream).await;
    }

    async fn copy_up(&self, inbound: &mut mpsc::UnboundedReceiver<Inbound>, to: &mut (impl AsyncWrite + Unpin)) {
        while let Some(Inbound::Data(data)) = inbound.recv().await {
            self.bucket.give_back(data.len());
            if to.write_all(&data).await.is_err() {
                return;
            }
        }
    }

    async fn copy_down(&self, id: u32, from: &mut (impl AsyncRead + Unpin)) {
        let mut buffer = vec![0; LONGEST_FRAME];
        loop {
            match from.read(&mut buffer).await {
                Ok(length @ 1..) => {
                    let data = buffer.get(..length).unwrap_or_default();
                    if self.frames.send(frame(PSH, id, data)).await.is_err() {
                        return;
                    }
                }
                Ok(_) | Err(_) => return,
            }
        }
    }

    /// Forgets the stream, gives back what it did not read, and says FIN.
    async fn close(&self, mut stream: Accepted) {
        self.streams().remove(&stream.id);
        while let Ok(inbound) = stream.inbound.try_recv() {
            if let Inbound::Data(data) = inbound {
                self.bucket.give_back(data.len());
            }
        }
        // The writer ends only with the session.
        let _ = self.frames.send(frame(FIN, stream.id, &[])).await;
    }

    async fn keep_alive(self: Arc<Self>) -> Result<(), MuxError> {
        let mut pings = tokio::time::interval(KEEPALIVE_EVERY);
        let mut checks = tokio::time::interval(KEEPALIVE_TIMEOUT);
        pings.tick().await;
        checks.tick().await;
        loop {
            tokio::select! {
                _ = pings.tick() => {
                    // The writer ends only with the session.
                    let _ = self.frames.send(frame(NOP, 0, &[])).await;
                }
                _ = checks.tick() => {
                    if !self.heard.swap(false, Ordering::Relaxed) && self.bucket.has_room() {
                        return Err(MuxError::KeepaliveTimeout);
                    }
                }
            }
        }
    }

    fn streams(&self) -> MutexGuard<'_, BTreeMap<u32, mpsc::UnboundedSender<Inbound>>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn write(mut pipe: WriteHalf<DuplexStream>, mut frames: mpsc::Receiver<Bytes>) -> Result<(), MuxError> {
    while let Some(frame) = frames.recv().await {
        pipe.write_all(&frame).await?;
    }
    Ok(())
}

fn frame(command: u8, id: u32, data: &[u8]) -> Bytes {
    let length = u16::try_from(data.len()).expect("a frame carries 32,768 bytes at most");
    let mut out = BytesMut::with_capacity(HEADER + data.len());
    out.put_u8(VERSION);
    out.put_u8(command);
    out.put_u16_le(length);
    out.put_u32_le(id);
    out.put_slice(data);
    out.freeze()
}

/// Bytes that all streams of a session together may hold unread. It may go over by one frame, as in the original.
struct Bucket {
    held: Mutex<usize>,
    room: Notify,
}

impl Bucket {
    fn new() -> Self {
        Self { held: Mutex::new(0), room: Notify::new() }
    }

    fn has_room(&self) -> bool {
        *self.held() < BUCKET
    }

    /// One waiter: the receive loop.
    async fn wait_for_room(&self) {
        while !self.has_room() {
            self.room.notified().await;
        }
    }

    fn take(&self, length: usize) {
        *self.held() += length;
    }

    fn give_back(&self, length: usize) {
        *self.held() -= length;
        self.room.notify_one();
    }

    fn held(&self) -> MutexGuard<'_, usize> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
