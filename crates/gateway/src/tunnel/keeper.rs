//! The task behind a Tunnel: one session after the other, as connections ask for them.

use std::{iter, mem, pin::pin, sync::Arc, time::Duration};

use secrets::Secret;
use tokio::{
    select,
    sync::{Notify, mpsc, oneshot},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{EndCause, Tell, TunnelConfig, TunnelError, TunnelEvent};
use crate::{
    dial::{DialError, Dialer, Websocket},
    link::{Link, Pulse},
    session::{Report, Session, now},
    sessions::{SessionError, Sessions},
    stream::TunnelStream,
};

/// For the SSM agent to acknowledge the end, and for AWS to answer.
const SETTLE: Duration = Duration::from_secs(1);
const TERMINATE: Duration = Duration::from_secs(5);
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(15);
/// A websocket that lived this long was a good one.
const STABLE: Duration = Duration::from_secs(10);

/// What a Tunnel asks of its task.
#[derive(Debug)]
pub(super) enum Request {
    Open(oneshot::Sender<Result<(), TunnelError>>),
    Connect(oneshot::Sender<Result<TunnelStream, TunnelError>>),
}

pub(super) struct Keeper<S> {
    sessions: S,
    channel: ssm_proto::Config,
    dialer: Dialer,
    pulse: Pulse,
    tell: Tell,
    /// No other session follows the first.
    once: bool,
    nudge: Arc<Notify>,
    stop: CancellationToken,
}

/// A session while it lasts.
struct Running {
    session: Arc<Session>,
    session_id: String,
    stream_url: String,
    ready: bool,
    /// Answered once the handshake is complete, or left to the next session.
    waiting: Vec<Request>,
    /// Known already, while the SSM agent is still being told.
    cause: Option<EndCause>,
    /// Before the next attempt to have a websocket.
    wait: Duration,
}

/// Why there is no websocket yet.
enum Setback {
    Gone,
    Later(String),
}

impl<S: Sessions> Keeper<S> {
    pub(super) fn new(
        sessions: S,
        config: TunnelConfig,
        tell: Tell,
        once: bool,
        nudge: Arc<Notify>,
        stop: CancellationToken,
    ) -> Self {
        let TunnelConfig { channel, dial_timeout, ping_interval, pong_deadline, proxy, tls } = config;
        let dialer = Dialer::new(proxy, tls, dial_timeout);
        let pulse = Pulse { interval: ping_interval, deadline: pong_deadline };
        Self { sessions, channel, dialer, pulse, tell, once, nudge, stop }
    }

    pub(super) async fn keep(self, mut requests: mpsc::Receiver<Request>) {
        let mut waiting = Vec::new();
        while !self.stop.is_cancelled() {
            if waiting.is_empty() {
                let Some(Some(request)) = self.stop.run_until_cancelled(requests.recv()).await else { return };
                waiting.push(request);
            }
            match self.start().await {
                Ok((mut running, websocket)) => {
                    running.waiting = mem::take(&mut waiting);
                    waiting = self.run(running, websocket, &mut requests).await;
                }
                Err(error) => {
                    waiting.extend(iter::from_fn(|| requests.try_recv().ok()));
                    waiting.drain(..).for_each(|request| refuse(request, &error));
                }
            }
            if self.once {
                return waiting.into_iter().for_each(|request| refuse(request, &TunnelError::Closed));
            }
        }
    }

    /// Starting is never given up half-way: AWS would have a session that nobody here knows of.
    async fn start(&self) -> Result<(Running, Websocket), TunnelError> {
        let started = self.sessions.start().await.map_err(TunnelError::Start)?;
        self.tell(TunnelEvent::Started { session_id: started.session_id.clone() });
        let running = Running {
            session: Session::new(self.channel.clone()),
            session_id: started.session_id,
            stream_url: started.stream_url,
            ready: false,
            waiting: Vec::new(),
            cause: None,
            wait: Duration::ZERO,
        };
        let dialled = self.stop.run_until_cancelled(self.dial(&running, &started.token)).await;
        let error = match dialled {
            Some(Ok(websocket)) => return Ok((running, websocket)),
            Some(Err(error)) => TunnelError::Dial(Arc::new(error)),
            None => TunnelError::Closed,
        };
        self.end(running, EndCause::Closed).await;
        Err(error)
    }

    /// Until the session ends. Gives back the requests that another one can serve.
    async fn run(
        &self,
        mut running: Running,
        websocket: Websocket,
        requests: &mut mpsc::Receiver<Request>,
    ) -> Vec<Request> {
        let mut next = Some(websocket);
        let cause = loop {
            let websocket = match next.take() {
                Some(websocket) => websocket,
                None => match self.resume(&mut running, requests).await {
                    Ok(websocket) => websocket,
                    Err(cause) => break cause,
                },
            };
            let since = Instant::now();
            if let Err(cause) = self.carry(&mut running, websocket, requests).await {
                break cause;
            }
            running.wait = if since.elapsed() > STABLE { Duration::ZERO } else { longer(running.wait) };
        };
        self.end(running, cause).await
    }

    /// Carries bytes until the websocket is lost (`Ok`) or the session has ended.
    async fn carry(
        &self,
        running: &mut Running,
        websocket: Websocket,
        requests: &mut mpsc::Receiver<Request>,
    ) -> Result<(), EndCause> {
        let session = Arc::clone(&running.session);
        let mut link = Link::new(websocket, &session, self.pulse);
        let lost = loop {
            select! {
                biased;
                () = self.stop.cancelled() => {
                    session.lock().channel.terminate();
                    // Late or never: AWS is asked to end the session in any case.
                    drop(timeout(SETTLE, link.settle()).await);
                    return Err(EndCause::Closed);
                }
                () = self.nudge.notified() => break "a new connection was asked for".to_owned(),
                Some(request) = requests.recv() => running.serve(request),
                outcome = link.run() => match outcome {
                    Ok(reports) => reports.into_iter().for_each(|report| self.report(running, report)),
                    Err(end) => break end.to_string(),
                },
            }
        };
        if let Some(cause) = running.cause.take() {
            return Err(cause);
        }
        self.tell(TunnelEvent::Broken { session_id: running.session_id.clone(), cause: lost });
        Ok(())
    }

    /// A new websocket, however long it takes, as long as the session exists.
    async fn resume(
        &self,
        running: &mut Running,
        requests: &mut mpsc::Receiver<Request>,
    ) -> Result<Websocket, EndCause> {
        let mut told = String::new();
        loop {
            if !running.wait.is_zero() {
                let wait = running.wait.mul_f64(rand::random_range(0.5..1.5));
                let pause = select_either(sleep(wait), self.nudge.notified());
                self.meanwhile(pause, running, requests).await?;
            }
            let (session_id, stream_url) = (running.session_id.clone(), running.stream_url.clone());
            let session = Arc::clone(&running.session);
            let attempt = self.try_resume(&session, &session_id, stream_url);
            match self.meanwhile(attempt, running, requests).await? {
                Ok((websocket, stream_url)) => {
                    running.stream_url = stream_url;
                    running.session.lock().channel.reconnected(now());
                    self.tell(TunnelEvent::Healed { session_id });
                    return Ok(websocket);
                }
                Err(Setback::Gone) => return Err(EndCause::Gone),
                Err(Setback::Later(cause)) if cause != told => {
                    told.clone_from(&cause);
                    self.tell(TunnelEvent::Broken { session_id, cause });
                }
                Err(Setback::Later(_)) => {}
            }
            running.wait = longer(running.wait);
        }
    }

    async fn try_resume(
        &self,
        session: &Session,
        session_id: &str,
        stream_url: String,
    ) -> Result<(Websocket, String), Setback> {
        let resumed = match self.sessions.resume(session_id).await {
            Ok(Some(resumed)) => resumed,
            Ok(None) | Err(SessionError::Gone) => return Err(Setback::Gone),
            Err(error @ (SessionError::Refused { .. } | SessionError::Unreachable { .. })) => {
                return Err(Setback::Later(error.to_string()));
            }
        };
        let stream_url = resumed.stream_url.unwrap_or(stream_url);
        let opening = session.lock().channel.open_frame(resumed.token.expose());
        match self.dialer.dial(&stream_url, opening).await {
            Ok(websocket) => Ok((websocket, stream_url)),
            Err(error) => Err(Setback::Later(error.to_string())),
        }
    }

    async fn dial(&self, running: &Running, token: &Secret<String>) -> Result<Websocket, DialError> {
        let opening = running.session.lock().channel.open_frame(token.expose());
        self.dialer.dial(&running.stream_url, opening).await
    }

    /// Does `task` while requests are answered; it is given up when the Tunnel is closed.
    async fn meanwhile<T>(
        &self,
        task: impl Future<Output = T>,
        running: &mut Running,
        requests: &mut mpsc::Receiver<Request>,
    ) -> Result<T, EndCause> {
        let mut task = pin!(task);
        loop {
            select! {
                biased;
                () = self.stop.cancelled() => return Err(EndCause::Closed),
                done = &mut task => return Ok(done),
                Some(request) = requests.recv() => running.serve(request),
            }
        }
    }

    fn report(&self, running: &mut Running, report: Report) {
        match report {
            Report::Closed { reason } => running.cause = Some(EndCause::ByService { reason }),
            Report::ConnectRefused => self.tell(TunnelEvent::ConnectRefused { session_id: running.session_id.clone() }),
            Report::Failed(refusal) => running.cause = Some(EndCause::Refused(refusal)),
            Report::Overflowed => self.tell(TunnelEvent::Overflowed { session_id: running.session_id.clone() }),
            Report::Ready { agent_version, customer_message } => {
                let session_id = running.session_id.clone();
                self.tell(TunnelEvent::Opened { session_id, agent_version, customer_message });
                running.ready = true;
                for request in mem::take(&mut running.waiting) {
                    running.serve(request);
                }
            }
        }
    }

    async fn end(&self, running: Running, cause: EndCause) -> Vec<Request> {
        running.session.abandon();
        let mut waiting = running.waiting;
        if !running.ready || cause == EndCause::Closed {
            waiting.drain(..).for_each(|request| refuse(request, &TunnelError::Ended(cause.clone())));
        }
        let exists = matches!(cause, EndCause::Closed | EndCause::Refused(_));
        let unterminated = if exists { self.terminate(&running.session_id).await.err() } else { None };
        self.tell(TunnelEvent::Ended { session_id: running.session_id, cause, unterminated });
        waiting
    }

    async fn terminate(&self, session_id: &str) -> Result<(), SessionError> {
        let message = format!("no answer to TerminateSession in {} s", TERMINATE.as_secs());
        match timeout(TERMINATE, self.sessions.terminate(session_id)).await {
            Ok(Err(SessionError::Gone)) => Ok(()),
            Ok(outcome) => outcome,
            Err(_) => Err(SessionError::Unreachable { message }),
        }
    }

    fn tell(&self, event: TunnelEvent) {
        (self.tell)(event);
    }
}

impl Running {
    fn serve(&mut self, request: Request) {
        if !self.ready {
            return self.waiting.push(request);
        }
        match request {
            Request::Open(reply) => drop(reply.send(Ok(()))),
            Request::Connect(reply) => match self.session.open_stream() {
                Some(stream) => drop(reply.send(Ok(stream))),
                None => self.waiting.push(Request::Connect(reply)),
            },
        }
    }
}

fn refuse(request: Request, error: &TunnelError) {
    match request {
        Request::Open(reply) => drop(reply.send(Err(error.clone()))),
        Request::Connect(reply) => drop(reply.send(Err(error.clone()))),
    }
}

fn longer(wait: Duration) -> Duration {
    if wait.is_zero() { FIRST_WAIT } else { (wait * 2).min(LONGEST_WAIT) }
}

async fn select_either(one: impl Future<Output = ()>, other: impl Future<Output = ()>) {
    select! {
        () = one => {}
        () = other => {}
    }
}
