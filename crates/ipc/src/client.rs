//! A guest's end.

use std::collections::VecDeque;

use model::Snapshot;

use crate::{
    Answer, ClientMessage, IpcError, Outcome, PROTOCOL_VERSION, Private, Reader, Request, ServerMessage, SocketPath,
    Writer, server,
};

/// A connection to the agent. One question at a time; what the agent pushes meanwhile is kept for [`Client::next`].
#[derive(Debug)]
pub struct Client {
    reader: Reader<ServerMessage>,
    writer: Writer<ClientMessage>,
    last_id: u32,
    pushed: VecDeque<ServerMessage>,
}

impl Client {
    /// Connects, makes sure that the agent belongs to this user and that both speak the same version.
    ///
    /// # Errors
    /// [`IpcError::NoAgent`] when nobody listens, [`IpcError::WrongUser`], [`IpcError::VersionMismatch`].
    pub async fn connect(path: &SocketPath) -> Result<Self, IpcError> {
        let (source, sink) = tokio::io::split(server::connect(path).await?);
        let (reader, writer) = (Reader::new(source), Writer::new(sink));
        let mut client = Self { reader, writer, last_id: 0, pushed: VecDeque::new() };
        match client.call(Request::Hello { version: PROTOCOL_VERSION }).await? {
            Answer::Hello { version } if version == PROTOCOL_VERSION => Ok(client),
            Answer::Hello { version } => Err(IpcError::VersionMismatch { ours: PROTOCOL_VERSION, theirs: version }),
            Answer::Doctor(_) | Answer::Done | Answer::Private(_) | Answer::Snapshot(_) => {
                Err(IpcError::UnexpectedAnswer)
            }
        }
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// [`IpcError::Refused`] with the agent's own words; [`IpcError::Closed`] when it went away meanwhile.
    pub async fn call(&mut self, request: Request) -> Result<Answer, IpcError> {
        self.last_id = self.last_id.wrapping_add(1);
        let asked = self.last_id;
        self.writer.send(&ClientMessage { id: asked, request }).await?;
        loop {
            match self.reader.next().await?.ok_or(IpcError::Closed)? {
                ServerMessage::Reply { id, outcome } if id == asked => return into_result(outcome),
                ServerMessage::Reply { .. } => {}
                pushed @ (ServerMessage::Notice(_) | ServerMessage::Snapshot(_)) => self.keep(pushed),
            }
        }
    }

    /// Has a Command carried out.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn command(&mut self, command: model::Command) -> Result<(), IpcError> {
        match self.call(Request::Command(command)).await? {
            Answer::Done => Ok(()),
            Answer::Doctor(_) | Answer::Hello { .. } | Answer::Private(_) | Answer::Snapshot(_) => {
                Err(IpcError::UnexpectedAnswer)
            }
        }
    }

    /// What is true now.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn snapshot(&mut self) -> Result<Snapshot, IpcError> {
        match self.call(Request::Snapshot).await? {
            Answer::Snapshot(snapshot) => Ok(*snapshot),
            Answer::Doctor(_) | Answer::Done | Answer::Hello { .. } | Answer::Private(_) => {
                Err(IpcError::UnexpectedAnswer)
            }
        }
    }

    /// Words that hold the local password, or may: [`Request::ConnectionText`] or [`Request::LocalPassword`].
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn private(&mut self, request: Request) -> Result<Private, IpcError> {
        match self.call(request).await? {
            Answer::Private(words) => Ok(words),
            Answer::Doctor(_) | Answer::Done | Answer::Hello { .. } | Answer::Snapshot(_) => {
                Err(IpcError::UnexpectedAnswer)
            }
        }
    }

    /// From here on [`Client::next`] yields every Snapshot and Notice, the Snapshot in force first.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn subscribe(&mut self) -> Result<(), IpcError> {
        match self.call(Request::Subscribe).await? {
            Answer::Done => Ok(()),
            Answer::Doctor(_) | Answer::Hello { .. } | Answer::Private(_) | Answer::Snapshot(_) => {
                Err(IpcError::UnexpectedAnswer)
            }
        }
    }

    /// The next Snapshot or Notice; none when the agent ended. Dropping the future loses nothing.
    ///
    /// # Errors
    /// As [`Reader::next`].
    pub async fn next(&mut self) -> Result<Option<ServerMessage>, IpcError> {
        loop {
            if let Some(kept) = self.pushed.pop_front() {
                return Ok(Some(kept));
            }
            match self.reader.next().await? {
                Some(ServerMessage::Reply { .. }) => {}
                other => return Ok(other),
            }
        }
    }

    /// Of several Snapshots only the newest is true.
    fn keep(&mut self, message: ServerMessage) {
        if matches!(message, ServerMessage::Snapshot(_)) {
            self.pushed.retain(|kept| !matches!(kept, ServerMessage::Snapshot(_)));
        }
        self.pushed.push_back(message);
    }
}

fn into_result(outcome: Outcome) -> Result<Answer, IpcError> {
    match outcome {
        Outcome::Error(view) => Err(IpcError::Refused(view)),
        Outcome::Ok(answer) => Ok(answer),
    }
}
