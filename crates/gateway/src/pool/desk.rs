//! Where connections ask for a session, and are told which.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{
    sync::{Notify, mpsc, oneshot},
    time::Instant,
};

use super::placement::{Act, MemberId, MoveCause, Overdue, Placement, Seat};
use crate::{
    route::Demand,
    session::now,
    stream::TunnelStream,
    tunnel::{Door, TunnelError, TunnelEvent},
};

/// Names of sessions, the ended ones included, for telling who moved from where.
const NAMES_KEPT: usize = 64;

/// What a connection is told.
pub(super) type Answer = Result<Door, Denied>;

/// Why a connection gets no session.
#[derive(Debug)]
pub(super) enum Denied {
    /// It keeps the one it has.
    Stay,
    /// There is none.
    Refused(TunnelError),
}

/// The rules of a Pool and who waits for them, shared by its connections and the task that keeps its sessions.
#[derive(Debug)]
pub(super) struct Desk {
    state: Mutex<State>,
    changed: Notify,
    events: mpsc::UnboundedSender<TunnelEvent>,
}

#[derive(Debug)]
struct State {
    placement: Placement,
    replies: BTreeMap<Seat, Reply>,
    session_ids: BTreeMap<MemberId, String>,
    /// Of the session that could not be started last.
    refusal: TunnelError,
    closed: bool,
}

#[derive(Debug)]
struct Reply {
    answer: oneshot::Sender<Answer>,
    /// Set if the connection asked to move.
    leaving: Option<(MemberId, MoveCause)>,
}

/// A connection that waits to be told its session.
#[derive(Debug)]
pub(super) struct Asked {
    seated: Seated,
    answer: oneshot::Receiver<Answer>,
}

/// A connection's place. Dropping it gives it up.
#[derive(Debug)]
pub(super) struct Seated {
    desk: Arc<Desk>,
    seat: Seat,
}

impl Desk {
    pub(super) fn new(placement: Placement, events: mpsc::UnboundedSender<TunnelEvent>) -> Arc<Self> {
        let state = State {
            placement,
            replies: BTreeMap::new(),
            session_ids: BTreeMap::new(),
            refusal: TunnelError::Closed,
            closed: false,
        };
        Arc::new(Self { state: Mutex::new(state), changed: Notify::new(), events })
    }

    /// A connection comes.
    pub(super) fn seat(self: &Arc<Self>, demand: Demand) -> Asked {
        let mut state = self.lock();
        let seat = state.placement.ask(demand, now());
        self.asked(state, seat, None)
    }

    /// Something happened that may be a reason to [`poll`](Self::poll).
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// The next thing to do with a session. Whoever gets none is answered here.
    pub(super) fn poll(&self) -> Option<Act> {
        let mut state = self.lock();
        loop {
            match state.placement.poll(now())? {
                Act::Refuse(seat) => {
                    let refusal = state.refusal.clone();
                    state.answer(seat, Err(Denied::Refused(refusal)));
                }
                Act::Stay(seat) => state.answer(seat, Err(Denied::Stay)),
                act @ (Act::End(_) | Act::Place(..) | Act::Start(_)) => return Some(act),
            }
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.lock().placement.poll_timeout(now()).map(Instant::from_std)
    }

    /// Answers a connection that was placed in session `id`.
    pub(super) fn place(&self, seat: Seat, id: MemberId, door: Door) {
        let mut state = self.lock();
        let leaving = state.replies.get(&seat).and_then(|reply| reply.leaving);
        let moved = leaving.and_then(|(from, cause)| {
            let (from, to) = (state.session_ids.get(&from)?.clone(), state.session_ids.get(&id)?.clone());
            Some(TunnelEvent::Moved { from, to, cause })
        });
        state.answer(seat, Ok(door));
        drop(state);
        moved.into_iter().for_each(|event| self.tell(event));
    }

    pub(super) fn started(&self, id: MemberId) {
        self.lock().placement.started(id, now());
    }

    pub(super) fn failed(&self, id: MemberId, error: TunnelError) {
        let mut state = self.lock();
        state.refusal = error;
        state.placement.failed(id, now());
    }

    /// What a session tells.
    pub(super) fn note(&self, id: MemberId, event: TunnelEvent) {
        let mut state = self.lock();
        match &event {
            TunnelEvent::Broken { .. } => state.placement.broke(id, now()),
            TunnelEvent::Ended { .. } => state.placement.gone(id),
            TunnelEvent::Healed { .. } => state.placement.healed(id, now()),
            TunnelEvent::Started { session_id } => state.name(id, session_id),
            TunnelEvent::ConnectRefused { .. }
            | TunnelEvent::Moved { .. }
            | TunnelEvent::Opened { .. }
            | TunnelEvent::Overflowed { .. } => {}
        }
        drop(state);
        self.changed.notify_one();
        self.tell(event);
    }

    /// Nobody is answered any more.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.replies.clear();
    }

    /// Sessions that are open or being started.
    pub(super) fn sessions(&self) -> usize {
        self.lock().placement.sessions()
    }

    fn asked(
        self: &Arc<Self>,
        mut state: MutexGuard<'_, State>,
        seat: Seat,
        leaving: Option<(MemberId, MoveCause)>,
    ) -> Asked {
        let (reply, answer) = oneshot::channel();
        if !state.closed {
            state.replies.insert(seat, Reply { answer: reply, leaving });
        }
        drop(state);
        self.changed.notify_one();
        Asked { seated: Seated { desk: Arc::clone(self), seat }, answer }
    }

    fn tell(&self, event: TunnelEvent) {
        // Nobody listening is no reason to stop carrying bytes.
        drop(self.events.send(event));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn name(&mut self, id: MemberId, session_id: &str) {
        self.session_ids.insert(id, session_id.to_owned());
        if self.session_ids.len() > NAMES_KEPT {
            self.session_ids.pop_first();
        }
    }

    fn answer(&mut self, seat: Seat, answer: Answer) {
        if let Some(reply) = self.replies.remove(&seat) {
            // A connection that was given up meanwhile hears nothing.
            drop(reply.answer.send(answer));
        }
    }
}

impl Asked {
    /// A stream of the session that is answered, or of another one if that ends meanwhile.
    pub(super) async fn open(self) -> Result<(Seated, TunnelStream), Denied> {
        let mut asked = self;
        loop {
            let Self { seated, answer } = asked;
            let door = answer.await.unwrap_or(Err(Denied::Refused(TunnelError::Closed)))?;
            match door.connect().await {
                Ok(stream) => return Ok((seated, stream)),
                Err(error) if !seated.lost_session() => return Err(Denied::Refused(error)),
                Err(_) => asked = seated.ask_to_move(MoveCause::Ended),
            }
        }
    }
}

impl Seated {
    /// Asks for a seat in another session; this one is kept until it is dropped.
    pub(super) fn ask_to_move(&self, cause: MoveCause) -> Asked {
        let mut state = self.desk.lock();
        let leaving = state.placement.member_of(self.seat).map(|from| (from, cause));
        let seat = state.placement.ask_to_move(self.seat, cause, now());
        self.desk.asked(state, seat, leaving)
    }

    /// See [`Placement::overdue`].
    pub(super) fn overdue(&self) -> Overdue {
        self.desk.lock().placement.overdue(self.seat, now())
    }

    /// See [`Placement::refused`].
    pub(super) fn refused(&self) -> bool {
        self.desk.lock().placement.refused(self.seat, now())
    }

    /// Its session has ended. True if another one may be asked for.
    pub(super) fn lost_session(&self) -> bool {
        let mut state = self.desk.lock();
        if let Some(id) = state.placement.member_of(self.seat) {
            state.placement.gone(id);
        }
        state.placement.may_move(self.seat)
    }

    /// The Target's first byte has come.
    pub(super) fn answered(&self) {
        self.desk.lock().placement.answered(self.seat);
    }

    pub(super) fn moved(&self, bytes: usize) {
        if self.desk.lock().placement.moved(self.seat, bytes, now()) {
            self.desk.changed.notify_one();
        }
    }
}

impl Drop for Seated {
    fn drop(&mut self) {
        let mut state = self.desk.lock();
        state.placement.leave(self.seat, now());
        state.replies.remove(&self.seat);
        drop(state);
        self.desk.changed.notify_one();
    }
}
