//! Carrying commands and answers once both sides are logged in.

mod directions;

use std::{
    io,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU8, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use db_proto::mysql::{
    ClientEvent, ClientLogin, CommandPhase, ErrPacket, FromClient, LoggedIn, Malformed, is_ok, put_packet,
};
use tokio::{
    io::{AsyncWriteExt, copy, sink, split},
    select,
    sync::Notify,
    time::timeout,
};

use super::{
    Desk,
    login::{Attempt, Session},
    reception::Guest,
    words,
};
use crate::{
    connections::Open,
    front::{
        Credential, Visit,
        ending::EndingWatch,
        event::{Reason, TurnedAway},
        splice::{FAREWELL, LAST_WORDS, Spliced, outlived},
    },
};
use directions::{Download, Upload};

const COM_RESET_CONNECTION: u8 = 0x1F;

/// One connection between its login and its end.
pub(crate) struct Relay<'a> {
    guest: Guest,
    session: Session,
    visit: &'a Visit,
    talk: Talk<'a>,
    ending: EndingWatch,
}

/// What both directions know.
pub(super) struct Talk<'a> {
    desk: &'a Desk,
    open: &'a Open<'a>,
    state: Mutex<State>,
    delivered: Notify,
    /// The number of the Target's next compressed packet.
    server_number: AtomicU8,
    /// The client will not say anything more, and most likely does not listen.
    client_left: AtomicBool,
}

struct State {
    phase: CommandPhase,
    /// Bytes that have been walked are being written to the client.
    delivering: bool,
}

/// Why neither direction goes on.
pub(super) enum Stop {
    /// The client wants something that is answered here, and nothing else is going on.
    Asked(FromClient),
    End(Spliced),
}

impl<'a> Relay<'a> {
    pub(crate) fn new(guest: Guest, session: Session, desk: &'a Desk, visit: &'a Visit, open: &'a Open<'a>) -> Self {
        let LoggedIn { status, compression, .. } = session.logged_in;
        let phase = CommandPhase::new(guest.request.capabilities, status, compression.is_some());
        let talk = Talk {
            desk,
            open,
            state: Mutex::new(State { phase, delivering: false }),
            delivered: Notify::new(),
            server_number: AtomicU8::new(0),
            client_left: AtomicBool::new(false),
        };
        Self { guest, session, visit, talk, ending: visit.shared.ending() }
    }

    /// Until the Target closes, the client is gone or the Grant ends.
    pub(crate) async fn run(mut self) -> Spliced {
        let early = self.guest.take_unread();
        self.talk.lock().phase.receive_from_client(&early);
        let spliced = self.carry().await;
        if matches!(spliced, Spliced::Finished | Spliced::Ended) {
            let (mut from_client, mut to_client) = split(self.guest.stream);
            drop(timeout(LAST_WORDS, to_client.shutdown()).await);
            // Closing with unread bytes would reset the connection and take the last answer with it.
            drop(timeout(FAREWELL, copy(&mut from_client, &mut sink())).await);
        }
        spliced
    }

    async fn carry(&mut self) -> Spliced {
        loop {
            let (mut from_client, mut to_client) = split(&mut self.guest.stream);
            let link = &mut self.session.link;
            let mut over = self.ending.clone();
            let mut upload = Upload { from: &mut from_client, to: &mut link.outgoing, talk: &self.talk };
            let mut download =
                Download { from: &mut link.incoming, to: &mut to_client, talk: &self.talk, ending: &mut self.ending };
            let stop = select! {
                stop = upload.run() => stop,
                stop = download.run() => stop,
                () = outlived(&mut over) => Stop::End(Spliced::Ended),
            };
            let asked = match stop {
                Stop::Asked(asked) => asked,
                Stop::End(spliced) => return spliced,
            };
            let served = match asked {
                FromClient::ChangeUser(payload) => self.change_user(&payload).await,
                FromClient::Forward { .. } | FromClient::ResetConnection => self.reset_connection().await,
            };
            if let Err(error) = served {
                return Spliced::Broken(error);
            }
        }
    }

    /// `COM_RESET_CONNECTION`: read-only begins anew too, before the client can ask for anything else.
    async fn reset_connection(&mut self) -> io::Result<()> {
        let answer = self.session.link.ask(&[COM_RESET_CONNECTION]).await?;
        if is_ok(&answer) {
            self.settle(&answer).await?;
        }
        let mut packet = Vec::new();
        put_packet(&mut packet, 1, &answer);
        self.guest.stream.write_all(&packet).await?;
        self.guest.stream.flush().await
    }

    /// `COM_CHANGE_USER`: the client proves itself here, and the session upstream is opened anew with a fresh credential.
    async fn change_user(&mut self, payload: &[u8]) -> io::Result<()> {
        self.guest.change_user(payload, self.visit).await.map_err(io::Error::other)?;
        match self.log_in_anew().await {
            Ok(ok) => self.guest.accept(&ok).await?,
            Err(why) => {
                let error = words::err_packet(&why, None);
                self.guest.turn_away(&error).await;
                return Err(io::Error::other(why));
            }
        }
        let early = self.guest.take_unread();
        self.talk.lock().phase.receive_from_client(&early);
        Ok(())
    }

    async fn log_in_anew(&mut self) -> Result<Bytes, TurnedAway> {
        let shared = &self.visit.shared;
        let credential = timeout(shared.config.limits.waiting, shared.logins.credential()).await;
        let late = || TurnedAway::new(Reason::Late, "08S01", "there was nothing to log in with in time", None);
        let credential = credential
            .map_err(|_| late())?
            .map_err(|why| TurnedAway::new(Reason::Credential, "08S01", why.cause, Some(why.hint)))?;
        let options = Attempt::change_user_options(shared, &self.guest.request, &credential);
        let mut machine = ClientLogin::change_user(&self.session.logged_in, options);
        let broken = |error: io::Error| words::server_gone(&shared.config, &error);
        let logged_in = log_in(&mut machine, &mut self.session, &credential).await.map_err(broken)?;
        match logged_in {
            Ok(logged_in) => {
                let ok = logged_in.ok.clone();
                self.session.logged_in.plugin = logged_in.plugin;
                self.settle(&ok).await.map_err(broken)?;
                Ok(ok)
            }
            Err(error) => {
                shared.logins.refused(&credential);
                let hint = "open a new connection".to_owned();
                Err(TurnedAway::new(Reason::Authentication, &error.sqlstate, error.message, hint))
            }
        }
    }

    /// After a reset: read-only where that is the Role, and the state that the OK packet tells.
    async fn settle(&mut self, ok: &[u8]) -> io::Result<()> {
        if self.visit.shared.config.read_only {
            self.session.begin_read_only().await?;
        }
        self.talk.lock().phase.note_reset(ok);
        Ok(())
    }
}

/// The login of a `COM_CHANGE_USER`; the inner error is the Target's refusal.
async fn log_in(
    machine: &mut ClientLogin,
    session: &mut Session,
    credential: &Credential,
) -> io::Result<Result<LoggedIn, ErrPacket>> {
    let mut begins_command = true;
    loop {
        while let Some(bytes) = machine.poll_transmit() {
            let begins = std::mem::take(&mut begins_command);
            if !begins {
                session.link.answer_number();
            }
            session.link.outgoing.send(&bytes, begins).await?;
        }
        match machine.poll_event() {
            Some(ClientEvent::PasswordWanted) => machine.password(credential.secret().expose().as_bytes()),
            Some(ClientEvent::LoggedIn(logged_in)) => return Ok(Ok(*logged_in)),
            Some(ClientEvent::Failed(db_proto::mysql::ClientLoginError::Refused { error, .. })) => {
                return Ok(Err(error));
            }
            Some(ClientEvent::Failed(error)) => return Err(io::Error::other(error)),
            Some(ClientEvent::StartTls) | None => {
                let bytes = session.link.incoming.next().await?;
                if bytes.is_empty() {
                    machine.closed();
                }
                machine.receive(&bytes);
            }
        }
    }
}

impl Talk<'_> {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the client sent next, and whether it belongs to a file.
    fn poll_client(&self) -> Result<Option<(FromClient, bool)>, Malformed> {
        let phase = &mut self.lock().phase;
        let file = phase.is_sending_file();
        let next = phase.poll_client(&|id| self.desk.threads.upstream(id))?;
        Ok(next.map(|next| (next, file)))
    }

    /// Returns when all that was passed on has been answered, and the client has the answers.
    async fn quiet(&self) {
        loop {
            {
                let state = self.lock();
                if state.phase.is_quiet() && !state.delivering {
                    return;
                }
            }
            self.delivered.notified().await;
        }
    }

    fn note_server_number(&self, number: u8) {
        self.server_number.store(number, Relaxed);
    }
}
