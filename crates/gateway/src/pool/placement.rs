//! Which session carries which connection: the rules of a Pool, without sockets and without a clock.

use std::{
    collections::{BTreeMap, VecDeque},
    mem,
    time::{Duration, Instant},
};

use super::{PoolConfig, meter::Meter};
use crate::route::Demand;

/// Of one second: more makes a session one that a bulk copy fills.
const BULK: u64 = 128 * 1024;
/// StartSession is limited to 3 a second in an account and Region, which colleagues share.
const STARTS_A_SECOND: usize = 2;
const STARTS_AT_ONCE: usize = 2;
/// How long a new connection beside a bulk copy takes to show whether it is another one: several often come in a row.
const UNDECIDED: Duration = Duration::from_millis(250);
/// After StartSession failed, while there are other sessions; doubled with each failure.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A websocket that is away for longer is not waited for if there is another session.
const BROKEN: Duration = Duration::from_secs(5);
/// For so long a Target that stalled in a fresh session as well is taken to be slow: moving does not help.
const SLOW_TARGET: Duration = Duration::from_secs(60);

/// One session of a Pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct MemberId(u64);

/// A connection's place in one session, or its wait for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Seat(u64);

/// What is to be done, or told to who waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// End this session; it is forgotten here.
    End(MemberId),
    /// The connection belongs in this session now.
    Place(Seat, MemberId),
    /// There is no session for the connection, and none can be started.
    Refuse(Seat),
    /// Start a session.
    Start(MemberId),
    /// The connection that asked to move keeps its session.
    Stay(Seat),
}

/// Why a connection should move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MoveCause {
    /// Its session ended before the Target said anything.
    Ended,
    /// The SSM agent could not connect to the address it once looked up.
    Refused,
    /// The Target said nothing.
    Stalled,
}

/// What to do about a Target that says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    /// Its session was away meanwhile: look again.
    Again(Instant),
    /// Ask to move.
    Move,
    /// Moving would not help.
    Stay,
}

#[derive(Debug)]
pub(super) struct Placement {
    rules: Rules,
    next_id: u64,
    members: BTreeMap<MemberId, Member>,
    seats: BTreeMap<Seat, Occupant>,
    waiting: VecDeque<Waiting>,
    starts: Starts,
    slow_target_until: Option<Instant>,
    acts: VecDeque<Act>,
}

#[derive(Clone, Copy, Debug)]
struct Rules {
    most_sessions: usize,
    patience: Duration,
    idle: Duration,
    first_byte: Duration,
    most_moves: u32,
    stale_after: Duration,
}

#[derive(Debug)]
struct Member {
    open: bool,
    /// When it was asked for: it knows no older address of the Target.
    begun_at: Instant,
    /// Since when it lacks a websocket.
    broken_at: Option<Instant>,
    healed_at: Option<Instant>,
    /// Takes no new connections; ends with its last one.
    retired: bool,
    /// The Target has answered a connection that was placed at this time.
    answered: Option<Instant>,
    connections: usize,
    /// Of these, those that were asked for as [`Demand::Bulk`].
    bulk: usize,
    unused_since: Instant,
    /// When its latest connection came.
    joined_at: Option<Instant>,
    meter: Meter,
}

#[derive(Debug)]
struct Occupant {
    demand: Demand,
    member: Option<MemberId>,
    placed_at: Instant,
    moves: u32,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    seat: Seat,
    want: Want,
    /// How long to wait for a better session than there is.
    until: Instant,
}

#[derive(Clone, Copy, Debug)]
enum Want {
    Demand(Demand),
    Move {
        cause: MoveCause,
        from: Option<MemberId>,
        /// The session must have been begun, or have reached the Target, no earlier than this.
        fresh_since: Instant,
    },
}

/// Keeps to StartSession's limits.
#[derive(Debug, Default)]
struct Starts {
    recent: VecDeque<Instant>,
    pause: Duration,
    paused_until: Option<Instant>,
}

impl Placement {
    /// With one session, which is open.
    pub(super) fn new(config: &PoolConfig, now: Instant) -> (Self, MemberId) {
        let rules = Rules {
            most_sessions: config.most_sessions.max(1),
            patience: config.patience,
            idle: config.idle,
            first_byte: config.first_byte,
            most_moves: config.most_moves,
            stale_after: config.stale_after,
        };
        let mut placement = Self {
            rules,
            next_id: 0,
            members: BTreeMap::new(),
            seats: BTreeMap::new(),
            waiting: VecDeque::new(),
            starts: Starts::default(),
            slow_target_until: None,
            acts: VecDeque::new(),
        };
        let first = placement.begin(now);
        placement.started(first, now);
        (placement, first)
    }

    /// A connection asks for a session: [`Act::Place`] or [`Act::Refuse`] follows.
    pub(super) fn ask(&mut self, demand: Demand, now: Instant) -> Seat {
        let seat = Seat(self.fresh_id());
        self.seats.insert(seat, Occupant { demand, member: None, placed_at: now, moves: 0 });
        let until = now + self.rules.patience;
        self.waiting.push_back(Waiting { seat, want: Want::Demand(demand), until });
        seat
    }

    /// The Target has said nothing for [`PoolConfig::first_byte`]. On [`Overdue::Move`] its session is retired.
    pub(super) fn overdue(&mut self, seat: Seat, now: Instant) -> Overdue {
        let Some((occupant, member)) = self.place_of(seat) else { return Overdue::Stay };
        if member.broken_at.is_some() {
            return Overdue::Again(now + self.rules.first_byte);
        }
        if let Some(again) = member.healed_at.map(|at| at + self.rules.first_byte).filter(|again| *again > now) {
            return Overdue::Again(again);
        }
        // The SSM agent connects one after the other: whoever came later has been connected, so this one has been too.
        if member.answered.is_some_and(|at| at > occupant.placed_at) || occupant.moves >= self.rules.most_moves {
            return Overdue::Stay;
        }
        let moved_in_vain = occupant.moves > 0 && member.answered.is_none();
        if moved_in_vain {
            self.slow_target_until = Some(now + SLOW_TARGET);
        }
        if self.slow_target_until.is_some_and(|until| until > now) {
            return Overdue::Stay;
        }
        self.retire(seat);
        Overdue::Move
    }

    /// The SSM agent could not connect to the Target. True if another session may do better; this one is retired then.
    pub(super) fn refused(&mut self, seat: Seat, now: Instant) -> bool {
        let Some((occupant, member)) = self.place_of(seat) else { return false };
        let stale = now.saturating_duration_since(member.begun_at) > self.rules.stale_after;
        let moves = stale && occupant.moves < self.rules.most_moves;
        if moves {
            self.retire(seat);
        }
        moves
    }

    /// True if a connection whose session has ended may be opened in another one.
    pub(super) fn may_move(&self, seat: Seat) -> bool {
        self.seats.get(&seat).is_some_and(|occupant| occupant.moves < self.rules.most_moves)
    }

    /// Asks for a seat in another session; the connection keeps the one it has until it leaves it. [`Act::Place`] follows, or
    /// [`Act::Stay`], or [`Act::Refuse`] if there is no session at all.
    pub(super) fn ask_to_move(&mut self, from: Seat, cause: MoveCause, now: Instant) -> Seat {
        let seat = Seat(self.fresh_id());
        let old = self.seats.get(&from);
        let placed_at = old.map_or(now, |old| old.placed_at);
        let fresh_since = match cause {
            MoveCause::Ended | MoveCause::Stalled => placed_at,
            MoveCause::Refused => now.checked_sub(self.rules.stale_after).unwrap_or(placed_at),
        };
        let want = Want::Move { cause, from: old.and_then(|old| old.member), fresh_since };
        let (demand, moves) = old.map_or((Demand::default(), 0), |old| (old.demand, old.moves));
        self.seats.insert(seat, Occupant { demand, member: None, placed_at: now, moves: moves + 1 });
        let until = now + self.rules.first_byte.max(self.rules.patience);
        self.waiting.push_back(Waiting { seat, want, until });
        seat
    }

    /// The Target's first byte has come.
    pub(super) fn answered(&mut self, seat: Seat) {
        let Some(occupant) = self.seats.get(&seat) else { return };
        let placed_at = occupant.placed_at;
        if let Some(member) = occupant.member.and_then(|id| self.members.get_mut(&id)) {
            member.answered = member.answered.max(Some(placed_at));
            self.slow_target_until = None;
        }
    }

    /// True if this makes its session one that a bulk copy fills.
    pub(super) fn moved(&mut self, seat: Seat, bytes: usize, now: Instant) -> bool {
        let member = self.seats.get(&seat).and_then(|occupant| occupant.member);
        let Some(member) = member.and_then(|id| self.members.get_mut(&id)) else { return false };
        let before = member.is_quiet(now);
        member.meter.add(bytes, now);
        before && !member.is_quiet(now)
    }

    /// The connection is closed, or was given up.
    pub(super) fn leave(&mut self, seat: Seat, now: Instant) {
        self.waiting.retain(|waiting| waiting.seat != seat);
        let Some(occupant) = self.seats.remove(&seat) else { return };
        if let Some(member) = occupant.member.and_then(|id| self.members.get_mut(&id)) {
            member.connections -= 1;
            member.bulk -= usize::from(occupant.demand == Demand::Bulk);
            member.unused_since = now;
        }
    }

    /// The session is open.
    pub(super) fn started(&mut self, id: MemberId, now: Instant) {
        if let Some(member) = self.members.get_mut(&id) {
            member.open = true;
            member.unused_since = now;
            self.starts.succeeded();
        }
    }

    /// The session could not be started.
    pub(super) fn failed(&mut self, id: MemberId, now: Instant) {
        self.members.remove(&id);
        self.starts.failed(now);
        if self.members.is_empty() {
            self.acts.extend(self.waiting.drain(..).map(|waiting| Act::Refuse(waiting.seat)));
        }
    }

    /// The session lost its websocket.
    pub(super) fn broke(&mut self, id: MemberId, now: Instant) {
        if let Some(member) = self.members.get_mut(&id) {
            member.broken_at.get_or_insert(now);
        }
    }

    /// It has one again.
    pub(super) fn healed(&mut self, id: MemberId, now: Instant) {
        if let Some(member) = self.members.get_mut(&id) {
            member.broken_at = None;
            member.healed_at = Some(now);
        }
    }

    /// The session has ended. One that is being started is told by [`Self::failed`].
    pub(super) fn gone(&mut self, id: MemberId) {
        if self.members.get(&id).is_some_and(|member| member.open) {
            self.forget(id);
        }
    }

    /// Where the connection is.
    pub(super) fn member_of(&self, seat: Seat) -> Option<MemberId> {
        self.seats.get(&seat)?.member
    }

    /// Sessions that are open or being started.
    pub(super) fn sessions(&self) -> usize {
        self.members.len()
    }

    /// What to do next; `None` until something else happens.
    pub(super) fn poll(&mut self, now: Instant) -> Option<Act> {
        if self.acts.is_empty() {
            let wanted = self.seat_waiting(now).max(usize::from(self.lacks_spare(now)));
            self.start(wanted, now);
            self.end_unused(now);
        }
        self.acts.pop_front()
    }

    /// When to poll again although nothing happened; never in the past.
    pub(super) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let waiting = self.waiting.iter().map(|waiting| waiting.until);
        let joined = self.members.values().filter_map(|member| member.joined_at).map(|at| at + UNDECIDED);
        let joined = joined.filter(|_| !self.waiting.is_empty());
        let unused = self.members.values().filter(|member| member.is_unused());
        let idle = unused.map(|member| member.unused_since + self.rules.idle);
        let loud = self.members.values().filter(|member| member.meter.total(now) > BULK);
        let quiet = loud.map(|member| member.meter.falls_to(BULK, now));
        waiting
            .chain(joined)
            .chain(idle)
            .chain(quiet)
            .chain(self.starts.next(now))
            .chain(self.starts.paused_until)
            .filter(|at| *at > now)
            .min()
    }

    /// Places whom it can. Returns how many sessions the others need.
    fn seat_waiting(&mut self, now: Instant) -> usize {
        let beside_a_copy = self.members.values().any(|member| !member.is_quiet(now));
        let (mut shared, mut own) = (0, 0);
        for waiting in mem::take(&mut self.waiting) {
            if let Some(id) = self.suitable(&waiting.want, now) {
                if self.had_better_wait(&waiting, id, now) {
                    self.waiting.push_back(waiting);
                } else {
                    self.occupy(&waiting, id, now);
                }
            } else if self.may_hope(&waiting, now) {
                match waiting.want {
                    Want::Demand(Demand::Interactive) if beside_a_copy => own += 1,
                    Want::Demand(Demand::Bulk) => own += 1,
                    Want::Demand(Demand::Interactive) | Want::Move { .. } => shared = 1,
                }
                self.waiting.push_back(waiting);
            } else {
                self.settle_for_less(&waiting, now);
            }
        }
        shared + own
    }

    fn suitable(&self, want: &Want, now: Instant) -> Option<MemberId> {
        let quiet = |member: &Member| member.takes_connections(now) && member.is_quiet(now);
        let mut members = self.members.iter();
        let found = match want {
            Want::Demand(Demand::Interactive) => members.find(|(_, member)| quiet(member)),
            Want::Demand(Demand::Bulk) => members.rfind(|(_, member)| quiet(member) && member.connections == 0),
            Want::Move { cause, from, fresh_since } => members
                .filter(|(id, member)| Some(**id) != *from && member.takes_connections(now))
                .filter(|(_, member)| *cause == MoveCause::Ended || member.is_fresh(*fresh_since))
                .min_by_key(|(_, member)| !member.is_quiet(now)),
        };
        found.map(|(id, _)| *id)
    }

    /// Beside a bulk copy, a session whose latest connection may be another one is not joined yet.
    fn had_better_wait(&self, waiting: &Waiting, id: MemberId, now: Instant) -> bool {
        let lately = |at: Instant| now.saturating_duration_since(at) < UNDECIDED;
        let undecided = |member: &Member| member.connections > 0 && member.joined_at.is_some_and(lately);
        matches!(waiting.want, Want::Demand(Demand::Interactive))
            && self.members.get(&id).is_some_and(undecided)
            && self.members.values().any(|member| !member.is_quiet(now))
            && self.may_hope(waiting, now)
    }

    /// A better session than there is may still come.
    fn may_hope(&self, waiting: &Waiting, now: Instant) -> bool {
        let none_open = !self.members.values().any(|member| member.open);
        let comes = self.members.values().any(|member| !member.open) || self.may_start(now);
        comes && (none_open || now < waiting.until)
    }

    fn settle_for_less(&mut self, waiting: &Waiting, now: Instant) {
        let ended = match waiting.want {
            Want::Move { cause, .. } => cause == MoveCause::Ended,
            Want::Demand(_) => true,
        };
        let open = self.members.iter().filter(|(_, member)| member.open);
        let load = |member: &Member| (member.retired, member.broken_at.is_some(), member.bulk, member.meter.total(now));
        match open.min_by_key(|(_, member)| (load(member), member.connections)).map(|(id, _)| *id) {
            Some(id) if ended => self.occupy(waiting, id, now),
            Some(_) => self.acts.push_back(Act::Stay(waiting.seat)),
            None => self.acts.push_back(Act::Refuse(waiting.seat)),
        }
    }

    fn occupy(&mut self, waiting: &Waiting, id: MemberId, now: Instant) {
        let Some(occupant) = self.seats.get_mut(&waiting.seat) else { return };
        occupant.member = Some(id);
        occupant.placed_at = now;
        let demand = occupant.demand;
        if let Some(member) = self.members.get_mut(&id) {
            member.connections += 1;
            member.joined_at = Some(now);
            member.bulk += usize::from(demand == Demand::Bulk);
        }
        self.acts.push_back(Act::Place(waiting.seat, id));
    }

    /// The next connection should not have to wait for a session, nor share one that a bulk copy fills.
    fn lacks_spare(&self, now: Instant) -> bool {
        let mut in_use = self.members.values().filter(|member| !member.retired).peekable();
        in_use.peek().is_some() && in_use.all(|member| member.open && !member.is_quiet(now))
    }

    fn start(&mut self, wanted: usize, now: Instant) {
        let mut starting = self.members.values().filter(|member| !member.open).count();
        while starting < wanted.min(STARTS_AT_ONCE) && self.may_start(now) && self.starts.next(now).is_none() {
            let id = self.begin(now);
            self.acts.push_back(Act::Start(id));
            starting += 1;
        }
    }

    /// Sooner or later: StartSession's rate is another matter.
    fn may_start(&self, now: Instant) -> bool {
        let none_open = !self.members.values().any(|member| member.open);
        self.members.len() < self.rules.most_sessions && (none_open || !self.starts.is_paused(now))
    }

    fn end_unused(&mut self, now: Instant) {
        let quiet = |member: &&Member| member.takes_connections(now) && member.is_quiet(now);
        let mut spare = self.members.values().filter(quiet).count();
        let first = self.members.iter().find(|(_, member)| !member.retired).map(|(id, _)| *id);
        let mut ended = Vec::new();
        for (id, member) in self.members.iter().rev().filter(|(_, member)| member.is_unused()) {
            let idle = member.unused_since + self.rules.idle <= now && Some(*id) != first;
            if member.retired {
                ended.push(*id);
            } else if idle && (spare > 1 || !quiet(&member)) {
                spare = spare.saturating_sub(1);
                ended.push(*id);
            }
        }
        ended.into_iter().for_each(|id| self.forget(id));
    }

    fn forget(&mut self, id: MemberId) {
        self.members.remove(&id);
        self.acts.push_back(Act::End(id));
    }

    fn retire(&mut self, seat: Seat) {
        let member = self.seats.get(&seat).and_then(|occupant| occupant.member);
        if let Some(member) = member.and_then(|id| self.members.get_mut(&id)) {
            member.retired = true;
        }
    }

    fn place_of(&self, seat: Seat) -> Option<(&Occupant, &Member)> {
        let occupant = self.seats.get(&seat)?;
        Some((occupant, self.members.get(&occupant.member?)?))
    }

    fn begin(&mut self, now: Instant) -> MemberId {
        self.starts.begun(now);
        let id = MemberId(self.fresh_id());
        self.members.insert(id, Member::new(now));
        id
    }

    fn fresh_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }
}

impl Member {
    fn new(now: Instant) -> Self {
        Self {
            open: false,
            begun_at: now,
            broken_at: None,
            healed_at: None,
            retired: false,
            answered: None,
            connections: 0,
            bulk: 0,
            unused_since: now,
            joined_at: None,
            meter: Meter::new(now),
        }
    }

    fn takes_connections(&self, now: Instant) -> bool {
        let away = self.broken_at.is_some_and(|at| now.saturating_duration_since(at) > BROKEN);
        self.open && !self.retired && !away
    }

    fn is_quiet(&self, now: Instant) -> bool {
        self.bulk == 0 && self.meter.total(now) <= BULK
    }

    fn is_fresh(&self, since: Instant) -> bool {
        self.begun_at >= since || self.answered.is_some_and(|at| at >= since)
    }

    fn is_unused(&self) -> bool {
        self.open && self.connections == 0
    }
}

impl Starts {
    fn begun(&mut self, now: Instant) {
        self.recent.push_back(now);
        if self.recent.len() > STARTS_A_SECOND {
            self.recent.pop_front();
        }
    }

    fn succeeded(&mut self) {
        self.pause = Duration::ZERO;
        self.paused_until = None;
    }

    fn failed(&mut self, now: Instant) {
        self.pause = (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        self.paused_until = Some(now + self.pause);
    }

    fn is_paused(&self, now: Instant) -> bool {
        self.paused_until.is_some_and(|until| until > now)
    }

    /// When the rate allows the next; `None` if it does now.
    fn next(&self, now: Instant) -> Option<Instant> {
        let oldest = self.recent.front().filter(|_| self.recent.len() == STARTS_A_SECOND)?;
        Some(*oldest + Duration::from_secs(1)).filter(|at| *at > now)
    }
}

#[cfg(test)]
mod tests;
