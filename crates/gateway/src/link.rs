//! One websocket, from its first message until it is lost.

use std::{
    fmt,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_util::{Sink, Stream};
use tokio::time::{Instant, Sleep, sleep, sleep_until};
use tokio_tungstenite::tungstenite::{self, Message};

use crate::{
    dial::Websocket,
    session::{Report, Session, now},
};

/// Messages taken in before the others get their turn.
const READS_AT_ONCE: usize = 128;

/// Why a websocket is used no more.
#[derive(Debug)]
pub(crate) enum LinkEnd {
    /// The session has ended, and the SSM agent was told what it had to be told.
    Settled,
    /// Closed by the service: code and words.
    Closed(String),
    Failed(Box<tungstenite::Error>),
    Silent(Duration),
}

impl fmt::Display for LinkEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Settled => f.write_str("the session has ended"),
            Self::Closed(words) => write!(f, "the service closed the websocket ({words})"),
            Self::Failed(cause) => write!(f, "the websocket failed: {cause}"),
            Self::Silent(time) => write!(f, "nothing was heard for {} s", time.as_secs()),
        }
    }
}

/// When to ask whether the other end is still there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pulse {
    pub(crate) interval: Duration,
    pub(crate) deadline: Duration,
}

/// Carries messages between a websocket and a session's channel.
pub(crate) struct Link<'a> {
    websocket: Websocket,
    session: &'a Session,
    pulse: Pulse,
    heard_at: Instant,
    ping_sent: bool,
    pulse_timer: Pin<Box<Sleep>>,
    channel_timer: Pin<Box<Sleep>>,
    /// Of the channel timer, so that it is only moved when it has to be.
    channel_due: Option<std::time::Instant>,
    unflushed: bool,
    ended: bool,
    /// Told once everything that came before it is.
    lost: Option<LinkEnd>,
}

impl<'a> Link<'a> {
    pub(crate) fn new(websocket: Websocket, session: &'a Session, pulse: Pulse) -> Self {
        Self {
            websocket,
            session,
            pulse,
            heard_at: Instant::now(),
            ping_sent: false,
            pulse_timer: Box::pin(sleep(pulse.interval)),
            channel_timer: Box::pin(sleep(Duration::ZERO)),
            channel_due: None,
            unflushed: false,
            ended: false,
            lost: None,
        }
    }

    /// Runs until there is something for the Tunnel to do.
    pub(crate) async fn run(&mut self) -> Result<Vec<Report>, LinkEnd> {
        poll_fn(|cx| self.poll(cx)).await
    }

    /// Until what the SSM agent has to be told is sent and acknowledged.
    pub(crate) async fn settle(&mut self) -> Result<(), LinkEnd> {
        poll_fn(|cx| {
            loop {
                if self.session.lock().channel.is_settled() && !self.unflushed {
                    return Poll::Ready(Ok(()));
                }
                ready!(self.poll(cx))?;
            }
        })
        .await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Vec<Report>, LinkEnd>> {
        self.session.register_driver(cx.waker());
        if self.lost.is_none() {
            self.lost = self.poll_websocket(cx).err();
        }
        let mut state = self.session.lock();
        state.pass_on_events();
        let reports = state.take_reports();
        self.ended |= reports.iter().any(|report| matches!(report, Report::Closed { .. } | Report::Failed(_)));
        let settled = self.ended && state.channel.is_settled() && !self.unflushed;
        drop(state);
        if !reports.is_empty() {
            return Poll::Ready(Ok(reports));
        }
        match self.lost.take() {
            Some(end) => Poll::Ready(Err(end)),
            None if settled => Poll::Ready(Err(LinkEnd::Settled)),
            None => Poll::Pending,
        }
    }

    fn poll_websocket(&mut self, cx: &mut Context<'_>) -> Result<(), LinkEnd> {
        self.poll_reads(cx)?;
        self.poll_pulse(cx)?;
        // Sending moves the timer, and what the timer finds overdue is to be sent.
        loop {
            self.poll_writes(cx)?;
            if self.poll_channel_timer(cx).is_pending() {
                return Ok(());
            }
        }
    }

    fn poll_reads(&mut self, cx: &mut Context<'_>) -> Result<(), LinkEnd> {
        for _ in 0..READS_AT_ONCE {
            let Poll::Ready(message) = Pin::new(&mut self.websocket).poll_next(cx) else { return Ok(()) };
            match message {
                Some(Ok(message)) => self.receive(message)?,
                Some(Err(cause)) => return Err(LinkEnd::Failed(Box::new(cause))),
                None => return Err(LinkEnd::Closed("without a word".to_owned())),
            }
        }
        cx.waker().wake_by_ref();
        Ok(())
    }

    fn receive(&mut self, message: Message) -> Result<(), LinkEnd> {
        self.heard_at = Instant::now();
        self.ping_sent = false;
        let bytes = match message {
            Message::Binary(bytes) => bytes,
            Message::Text(text) => text.into(),
            Message::Close(frame) => {
                let words =
                    frame.map_or_else(|| "no code".to_owned(), |frame| format!("{} {}", frame.code, frame.reason));
                return Err(LinkEnd::Closed(words));
            }
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => return Ok(()),
        };
        if let Err(error) = self.session.lock().channel.handle_frame(bytes, now()) {
            tracing::warn!(%error, "a data channel message was dropped");
        }
        Ok(())
    }

    fn poll_pulse(&mut self, cx: &mut Context<'_>) -> Result<(), LinkEnd> {
        while self.pulse_timer.as_mut().poll(cx).is_ready() {
            let silence = self.heard_at.elapsed();
            let next = if silence < self.pulse.interval {
                self.heard_at + self.pulse.interval
            } else if self.ping_sent {
                return Err(LinkEnd::Silent(silence));
            } else {
                self.ping_sent = true;
                self.start_send(Message::Ping(bytes::Bytes::from_static(b"keepalive")))?;
                Instant::now() + self.pulse.deadline
            };
            self.pulse_timer.as_mut().reset(next);
        }
        Ok(())
    }

    /// Ready when something was due and done.
    fn poll_channel_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let due = self.session.lock().channel.poll_timeout().map(|(due, _)| due);
        if due != self.channel_due {
            self.channel_due = due;
            if let Some(due) = due {
                self.channel_timer.set(sleep_until(due.into()));
            }
        }
        if self.channel_due.is_none() {
            return Poll::Pending;
        }
        ready!(self.channel_timer.as_mut().poll(cx));
        self.channel_due = None;
        self.session.lock().channel.handle_timeout(now());
        Poll::Ready(())
    }

    fn poll_writes(&mut self, cx: &mut Context<'_>) -> Result<(), LinkEnd> {
        loop {
            match Pin::new(&mut self.websocket).poll_ready(cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(outcome) => outcome.map_err(|cause| LinkEnd::Failed(Box::new(cause)))?,
            }
            let Some(message) = self.session.lock().channel.poll_transmit(now()) else { break };
            self.start_send(Message::Binary(message))?;
        }
        if self.unflushed
            && let Poll::Ready(outcome) = Pin::new(&mut self.websocket).poll_flush(cx)
        {
            outcome.map_err(|cause| LinkEnd::Failed(Box::new(cause)))?;
            self.unflushed = false;
        }
        Ok(())
    }

    fn start_send(&mut self, message: Message) -> Result<(), LinkEnd> {
        self.unflushed = true;
        Pin::new(&mut self.websocket).start_send(message).map_err(|cause| LinkEnd::Failed(Box::new(cause)))
    }
}
