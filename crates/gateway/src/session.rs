//! One session's data channel, shared by the task that drives it and the streams in it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use futures_util::task::AtomicWaker;
use ssm_proto::{AgentVersion, Channel, Config, Event, Refusal, StreamId};

use crate::stream::TunnelStream;

/// A data channel and who waits for it.
#[derive(Debug)]
pub(crate) struct Session {
    state: Mutex<State>,
    /// The task that drives the websocket.
    driver: AtomicWaker,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) channel: Channel,
    pub(crate) readers: BTreeMap<StreamId, Waker>,
    pub(crate) writers: BTreeMap<StreamId, Waker>,
    /// Streams whose far port could not be reached.
    pub(crate) refused: BTreeSet<StreamId>,
    /// The session has ended, and every stream with it.
    pub(crate) over: bool,
    /// Why, in the service's words; empty where it gave none.
    pub(crate) last_words: String,
    reports: Vec<Report>,
}

/// What a session has to tell the Tunnel.
#[derive(Debug)]
pub(crate) enum Report {
    Closed { reason: String },
    ConnectRefused,
    Failed(Refusal),
    Overflowed,
    Ready { agent_version: AgentVersion, customer_message: String },
}

impl Session {
    pub(crate) fn new(config: Config) -> Arc<Self> {
        let unix_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_millis());
        let unix_ms = u64::try_from(unix_ms).unwrap_or(u64::MAX);
        let state = State {
            channel: Channel::new(config, rand::random(), now(), unix_ms),
            readers: BTreeMap::new(),
            writers: BTreeMap::new(),
            refused: BTreeSet::new(),
            over: false,
            last_words: String::new(),
            reports: Vec::new(),
        };
        Arc::new(Self { state: Mutex::new(state), driver: AtomicWaker::new() })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None` if the session has ended.
    pub(crate) fn open_stream(self: &Arc<Self>) -> Option<TunnelStream> {
        let id = self.lock().channel.open_stream()?;
        self.driver.wake();
        Some(TunnelStream::new(Arc::clone(self), id))
    }

    /// There is something to send.
    pub(crate) fn wake_driver(&self) {
        self.driver.wake();
    }

    pub(crate) fn register_driver(&self, waker: &Waker) {
        self.driver.register(waker);
    }

    /// The session is gone: every stream ends.
    pub(crate) fn abandon(&self) {
        let mut state = self.lock();
        state.channel.abandon();
        state.over = true;
        state.pass_on_events();
    }
}

impl State {
    /// Wakes the streams that something happened to, and keeps the rest for [`Self::take_reports`].
    pub(crate) fn pass_on_events(&mut self) {
        while let Some(event) = self.channel.poll_event() {
            match event {
                Event::Readable(id) => wake(&mut self.readers, id),
                Event::Writable(id) => wake(&mut self.writers, id),
                Event::ConnectRefused(id) => {
                    self.refused.insert(id);
                    self.reports.push(Report::ConnectRefused);
                }
                Event::Overflowed(_) => self.reports.push(Report::Overflowed),
                Event::Closed { reason } => {
                    self.last_words.clone_from(&reason);
                    self.end(Report::Closed { reason });
                }
                Event::Failed(refusal) => self.end(Report::Failed(refusal)),
                Event::Ready { agent_version, customer_message } => {
                    self.reports.push(Report::Ready { agent_version, customer_message });
                }
            }
        }
    }

    fn end(&mut self, report: Report) {
        self.over = true;
        self.reports.push(report);
    }

    pub(crate) fn take_reports(&mut self) -> Vec<Report> {
        std::mem::take(&mut self.reports)
    }
}

/// The runtime's clock, so that tests can move it.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

fn wake(waiting: &mut BTreeMap<StreamId, Waker>, id: StreamId) {
    if let Some(waker) = waiting.remove(&id) {
        waker.wake();
    }
}
