use std::collections::BTreeSet;

use proptest::{collection::vec, prelude::*};

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const MUCH: usize = 200 * 1024;

#[test]
fn interactive_connections_share_one_session() {
    let mut world = World::new();
    for _ in 0..20 {
        assert_eq!(world.connect(Demand::Interactive).1, world.first);
    }
    assert_eq!(world.placement.sessions(), 1);
}

#[test]
fn a_spare_is_started_as_soon_as_a_bulk_copy_fills_the_only_quiet_session() {
    let mut world = World::new();
    let (copy, _) = world.connect(Demand::Interactive);
    assert!(!world.placement.moved(copy, 100 * 1024, world.now), "not yet");
    assert_eq!(world.acts(), []);
    assert!(world.placement.moved(copy, 100 * 1024, world.now));
    let spare = world.start();
    assert_eq!(world.connect(Demand::Interactive).1, spare);
    assert_eq!(world.acts(), [], "one quiet session is enough");
}

#[test]
fn many_small_answers_fill_a_session_as_one_large_one_does() {
    let mut world = World::new();
    let seats: Vec<Seat> = (0..8).map(|_| world.connect(Demand::Interactive).0).collect();
    let filled = seats.iter().filter(|seat| world.placement.moved(**seat, 20 * 1024, world.now)).count();
    assert_eq!(filled, 1);
    assert!(matches!(world.acts()[..], [Act::Start(_)]));
}

#[test]
fn a_session_is_quiet_again_a_second_after_the_copy() {
    let mut world = World::new();
    let (copy, _) = world.connect(Demand::Interactive);
    world.placement.moved(copy, MUCH, world.now);
    world.start();
    world.pass(2 * SECOND);
    assert_eq!(world.connect(Demand::Interactive).1, world.first);
}

#[test]
fn a_connection_waits_for_the_session_that_is_being_started_but_not_for_ever() {
    let mut world = World::new();
    let (copy, _) = world.connect(Demand::Interactive);
    world.placement.moved(copy, MUCH, world.now);
    let [Act::Start(_)] = world.acts()[..] else { panic!("a spare is wanted") };
    let seat = world.placement.ask(Demand::Interactive, world.now);
    assert_eq!(world.acts(), []);
    world.keep_filling(copy, PoolConfig::default().patience);
    assert_eq!(world.acts(), [Act::Place(seat, world.first)]);
}

#[test]
fn a_bulk_demand_gets_a_session_of_its_own() {
    let mut world = World::new();
    let (_, shared) = world.connect(Demand::Interactive);
    let copy = world.placement.ask(Demand::Bulk, world.now);
    let own = world.start();
    assert_eq!(world.acts(), [Act::Place(copy, own)]);
    world.pass(SECOND);
    assert_eq!(world.connect(Demand::Interactive).1, shared, "nobody joins the copy");
    let other = world.placement.ask(Demand::Bulk, world.now);
    world.pass(SECOND);
    let second = world.start();
    assert_eq!(world.acts(), [Act::Place(other, second)]);
}

#[test]
fn sessions_are_bounded_and_started_two_a_second() {
    let mut world = World::new();
    let asked: Vec<Seat> = (0..20).map(|_| world.placement.ask(Demand::Bulk, world.now)).collect();
    let mut starts = vec![world.now];
    let mut placed = Vec::new();
    for _ in 0..60 {
        for act in world.acts() {
            match act {
                Act::Start(id) => {
                    starts.push(world.now);
                    world.placement.started(id, world.now);
                }
                Act::Place(seat, id) => placed.push((seat, id)),
                Act::End(_) | Act::Refuse(_) | Act::Stay(_) => panic!("{act:?}"),
            }
        }
        world.pass(SECOND / 10);
    }
    assert_eq!(starts.len(), 8);
    assert!(starts.windows(3).all(|three| three[2] - three[0] >= SECOND), "{starts:?}");
    assert_eq!(placed.iter().map(|(seat, _)| *seat).collect::<BTreeSet<_>>(), asked.into_iter().collect());
    let used: BTreeSet<MemberId> = placed.into_iter().map(|(_, id)| id).collect();
    assert_eq!(used.len(), 8, "whoever comes too late shares");
}

#[test]
fn when_no_session_can_be_had_connections_share_the_one_that_does_least() {
    let mut world = World::new();
    let (copy, _) = world.connect(Demand::Interactive);
    world.placement.moved(copy, MUCH, world.now);
    let [Act::Start(refused)] = world.acts()[..] else { panic!("a spare is wanted") };
    world.placement.failed(refused, world.now);
    assert_eq!(world.connect(Demand::Interactive).1, world.first);
    assert_eq!(world.acts(), [], "AWS is not asked again at once");
    world.pass(6 * SECOND);
    world.placement.moved(copy, MUCH, world.now);
    assert!(matches!(world.acts()[..], [Act::Start(_)]));
}

#[test]
fn idle_sessions_end_except_the_first() {
    let mut world = World::new();
    let (copy, _) = world.connect(Demand::Interactive);
    world.placement.moved(copy, MUCH, world.now);
    let spare = world.start();
    let (query, _) = world.connect(Demand::Interactive);
    world.pass(100 * SECOND);
    assert_eq!(world.acts(), [], "it has a connection");
    world.placement.leave(query, world.now);
    world.placement.leave(copy, world.now);
    world.pass(29 * SECOND);
    assert_eq!(world.acts(), []);
    let due = world.placement.poll_timeout(world.now).expect("idleness is timed");
    assert_eq!(due, world.now + SECOND);
    world.pass(SECOND);
    assert_eq!(world.acts(), [Act::End(spare)]);
    world.pass(1000 * SECOND);
    assert_eq!((world.acts(), world.placement.sessions()), (vec![], 1));
}

#[test]
fn the_only_quiet_session_does_not_end() {
    let mut world = World::new();
    let (copy, _) = world.connect(Demand::Interactive);
    world.placement.moved(copy, MUCH, world.now);
    let spare = world.start();
    world.keep_filling(copy, 60 * SECOND);
    assert_eq!(world.acts(), []);
    world.pass(2 * SECOND);
    assert_eq!(world.acts(), [Act::End(spare)], "the first is quiet again");
}

#[test]
fn connections_of_a_stalled_session_move_to_one_fresh_session() {
    let mut world = World::new();
    let stalled: Vec<Seat> = (0..5).map(|_| world.connect(Demand::Interactive).0).collect();
    world.pass(4 * SECOND);
    let moving: Vec<Seat> = stalled.iter().map(|seat| world.stall(*seat)).collect();
    let fresh = world.start();
    assert_eq!(world.acts(), moving.iter().map(|seat| Act::Place(*seat, fresh)).collect::<Vec<_>>());
    for (old, new) in stalled.into_iter().zip(moving) {
        assert_eq!(world.acts(), [], "the stalled session is needed until the last has left");
        world.placement.leave(old, world.now);
        world.placement.answered(new);
    }
    assert_eq!(world.acts(), [Act::End(world.first)]);
    assert_eq!(world.connect(Demand::Interactive).1, fresh);
}

#[test]
fn a_target_that_stalls_in_a_fresh_session_too_is_slow_and_is_waited_for() {
    let mut world = World::new();
    let (seat, _) = world.connect(Demand::Interactive);
    world.pass(4 * SECOND);
    let moved = world.stall(seat);
    world.start();
    assert!(matches!(world.acts()[..], [Act::Place(..)]));
    world.placement.leave(seat, world.now);
    assert!(matches!(world.acts()[..], [Act::End(_)]));
    for _ in 0..10 {
        let (other, _) = world.connect(Demand::Interactive);
        world.pass(4 * SECOND);
        assert_eq!(world.placement.overdue(moved, world.now), Overdue::Stay);
        assert_eq!(world.placement.overdue(other, world.now), Overdue::Stay);
    }
    assert_eq!((world.acts(), world.placement.sessions()), (vec![], 1), "no storm");
}

#[test]
fn a_slow_answer_is_no_reason_to_move_when_the_agent_has_connected_someone_later() {
    let mut world = World::new();
    let (slow, _) = world.connect(Demand::Interactive);
    world.pass(SECOND);
    let (quick, _) = world.connect(Demand::Interactive);
    world.placement.answered(quick);
    world.pass(3 * SECOND);
    assert_eq!(world.placement.overdue(slow, world.now), Overdue::Stay);
}

#[test]
fn a_session_without_its_websocket_is_given_time_before_it_counts_as_stalled() {
    let mut world = World::new();
    let (seat, first) = world.connect(Demand::Interactive);
    world.placement.broke(first, world.now);
    world.pass(4 * SECOND);
    assert_eq!(world.placement.overdue(seat, world.now), Overdue::Again(world.now + 4 * SECOND));
    world.placement.healed(first, world.now);
    world.pass(SECOND);
    assert_eq!(world.placement.overdue(seat, world.now), Overdue::Again(world.now + 3 * SECOND));
    world.pass(3 * SECOND);
    assert_eq!(world.placement.overdue(seat, world.now), Overdue::Move);
}

#[test]
fn no_new_connection_waits_for_a_websocket_that_is_long_away() {
    let mut world = World::new();
    world.placement.broke(world.first, world.now);
    assert_eq!(world.connect(Demand::Interactive).1, world.first, "most are back at once");
    world.pass(6 * SECOND);
    let seat = world.placement.ask(Demand::Interactive, world.now);
    let other = world.start();
    assert_eq!(world.acts(), [Act::Place(seat, other)]);
}

#[test]
fn a_refusal_is_told_by_a_young_session_and_tried_again_after_an_old_one() {
    let mut world = World::new();
    let (seat, _) = world.connect(Demand::Interactive);
    assert!(!world.placement.refused(seat, world.now), "it has just looked up the address");
    world.pass(61 * SECOND);
    assert!(world.placement.refused(seat, world.now));
    let moving = world.placement.ask_to_move(seat, MoveCause::Refused, world.now);
    let fresh = world.start();
    assert_eq!(world.acts(), [Act::Place(moving, fresh)]);
    assert!(!world.placement.refused(moving, world.now), "the last error is told");
}

#[test]
fn a_stalled_connection_stays_when_no_fresh_session_can_be_had() {
    let mut world = World::new();
    let (seat, _) = world.connect(Demand::Interactive);
    world.pass(4 * SECOND);
    let moving = world.stall(seat);
    let [Act::Start(refused)] = world.acts()[..] else { panic!("a fresh session is wanted") };
    world.placement.failed(refused, world.now);
    assert_eq!(world.acts(), [Act::Stay(moving)]);
}

#[test]
fn after_the_last_session_has_ended_the_next_connection_starts_one() {
    let mut world = World::new();
    let (old, first) = world.connect(Demand::Interactive);
    world.placement.gone(first);
    assert_eq!(world.acts(), [Act::End(first)]);
    let moving = world.placement.ask_to_move(old, MoveCause::Ended, world.now);
    let next = world.placement.ask(Demand::Interactive, world.now);
    let fresh = world.start();
    assert_eq!(world.acts(), [Act::Place(moving, fresh), Act::Place(next, fresh)]);
    world.placement.gone(fresh);
    let unlucky = world.placement.ask(Demand::Interactive, world.now);
    world.pass(SECOND);
    let [Act::End(_), Act::Start(refused)] = world.acts()[..] else { panic!("another is wanted") };
    world.placement.failed(refused, world.now);
    assert_eq!(world.acts(), [Act::Refuse(unlucky)], "and told what AWS said");
}

#[test]
fn beside_a_bulk_copy_a_connection_waits_a_moment_to_see_whether_the_one_before_it_is_another_copy() {
    let mut world = World::new();
    let (copy, _) = world.connect(Demand::Interactive);
    world.placement.moved(copy, MUCH, world.now);
    let spare = world.start();
    assert_eq!(world.connect(Demand::Interactive).1, spare);
    let next = world.placement.ask(Demand::Interactive, world.now);
    assert_eq!(world.acts(), [], "no session is started for the doubt alone");
    assert_eq!(world.placement.poll_timeout(world.now), Some(world.now + UNDECIDED));
    world.keep_filling(copy, SECOND / 2);
    assert_eq!(world.acts(), [Act::Place(next, spare)]);
}

/// Each session carries what the real SSM agent's pacing lets through, whatever it carries; each start takes a second.
#[test]
fn eight_downloads_one_after_the_other_get_six_times_what_one_session_carries() {
    for gap in [250, 500, 2000] {
        let times = rate_of_downloads(8, Duration::from_millis(gap));
        assert!(times >= 6.0, "{times} times one session's rate, {gap} ms after each other");
    }
}

/// How many times one session's rate so many downloads have in the end, each begun `gap` after the one before it.
fn rate_of_downloads(count: usize, gap: Duration) -> f64 {
    const TICK: Duration = Duration::from_millis(10);
    const SESSION_BYTES: usize = 7000; // in one tick: 0.7 MB/s
    let mut world = World::new();
    let mut downloads: Vec<(Seat, MemberId)> = Vec::new();
    let (mut starting, mut asked) = (Vec::new(), 0);
    let begun = world.now;
    let mut next_at = Some(begun);
    while world.now < begun + SECOND * 30 {
        for act in world.acts() {
            match act {
                Act::Start(id) => starting.push((world.now + SECOND, id)),
                Act::Place(seat, id) => downloads.push((seat, id)),
                Act::End(_) | Act::Refuse(_) | Act::Stay(_) => panic!("{act:?}"),
            }
        }
        if next_at.take_if(|at| *at <= world.now).is_some() {
            world.placement.ask(Demand::Interactive, world.now);
            asked += 1;
            next_at = Some(world.now + gap).filter(|_| asked < count);
        }
        for (seat, id) in &downloads {
            let sharing = downloads.iter().filter(|(_, other)| other == id).count();
            world.placement.moved(*seat, SESSION_BYTES / sharing, world.now);
        }
        world.pass(TICK);
        let ready = starting.extract_if(.., |(at, _)| *at <= world.now).map(|(_, id)| id).collect::<Vec<_>>();
        ready.into_iter().for_each(|id| world.placement.started(id, world.now));
    }
    assert_eq!(downloads.len(), count);
    let used: BTreeSet<MemberId> = downloads.into_iter().map(|(_, id)| id).collect();
    f64::from(u32::try_from(used.len()).expect("eight at most"))
}

proptest! {
    #[test]
    fn every_connection_is_answered_whatever_happens(steps in vec((0_u8..12, any::<prop::sample::Index>()), 1..200)) {
        let mut world = World::new();
        let mut model = Model::new(&world);
        for (step, which) in steps {
            model.step(&mut world, step, &which);
            model.settle(&mut world)?;
        }
        // Starts that hang are given up by whoever asked AWS; then nobody may be left waiting.
        for _ in 0..20 {
            model.starting.extract_if(.., |_| true).for_each(|id| world.placement.failed(id, world.now));
            world.pass(10 * SECOND);
            model.settle(&mut world)?;
        }
        prop_assert!(model.waiting.is_empty(), "{:?}", model.waiting);
    }
}

/// What a Pool's task and its connections know.
struct Model {
    open: BTreeSet<MemberId>,
    starting: Vec<MemberId>,
    starts: Vec<Instant>,
    waiting: BTreeSet<Seat>,
    seated: Vec<(Seat, MemberId)>,
}

impl Model {
    fn new(world: &World) -> Self {
        let open = BTreeSet::from([world.first]);
        Self { open, starting: Vec::new(), starts: vec![world.now], waiting: BTreeSet::new(), seated: Vec::new() }
    }

    fn step(&mut self, world: &mut World, step: u8, which: &prop::sample::Index) {
        let now = world.now;
        let seat = (!self.seated.is_empty()).then(|| which.index(self.seated.len()));
        let member = (!self.open.is_empty()).then(|| *which.get(&self.open.iter().copied().collect::<Vec<_>>()));
        match (step, seat, member) {
            (0..=1, ..) => drop(self.waiting.insert(world.placement.ask(Demand::Interactive, now))),
            (2, ..) => drop(self.waiting.insert(world.placement.ask(Demand::Bulk, now))),
            (3, Some(at), _) => drop(world.placement.moved(self.seated[at].0, MUCH, now)),
            (4, Some(at), _) => world.placement.leave(self.seated.swap_remove(at).0, now),
            (5, Some(at), _) if world.placement.overdue(self.seated[at].0, now) == Overdue::Move => {
                self.waiting.insert(world.placement.ask_to_move(self.seated[at].0, MoveCause::Stalled, now));
            }
            (6, Some(at), _) => world.placement.answered(self.seated[at].0),
            (7, _, Some(id)) => world.placement.gone(id),
            (8, _, Some(id)) => world.placement.broke(id, now),
            (9, _, Some(id)) => world.placement.healed(id, now),
            (10, ..) if !self.starting.is_empty() => {
                let id = self.starting.swap_remove(which.index(self.starting.len()));
                self.open.insert(id);
                world.placement.started(id, now);
            }
            (11, ..) if !self.starting.is_empty() => {
                world.placement.failed(self.starting.swap_remove(which.index(self.starting.len())), now);
            }
            _ => world.pass(SECOND * u32::try_from(which.index(20)).expect("below 20") / 4),
        }
    }

    fn settle(&mut self, world: &mut World) -> Result<(), TestCaseError> {
        for act in world.acts() {
            match act {
                Act::End(id) => prop_assert!(self.open.remove(&id), "{id:?} ends once"),
                Act::Place(seat, id) => {
                    prop_assert!(self.waiting.remove(&seat), "{seat:?} is answered once");
                    prop_assert!(self.open.contains(&id), "{id:?} is open");
                    self.seated.push((seat, id));
                }
                Act::Refuse(seat) | Act::Stay(seat) => {
                    prop_assert!(self.waiting.remove(&seat), "{seat:?} is answered once");
                    world.placement.leave(seat, world.now);
                }
                Act::Start(id) => {
                    self.starting.push(id);
                    self.starts.push(world.now);
                }
            }
            prop_assert!(self.open.len() + self.starting.len() <= 8);
            prop_assert!(self.starts.windows(3).all(|three| three[2] - three[0] >= SECOND));
        }
        Ok(())
    }
}

struct World {
    placement: Placement,
    first: MemberId,
    now: Instant,
}

impl World {
    fn new() -> Self {
        let now = Instant::now();
        let (placement, first) = Placement::new(&PoolConfig::default(), now);
        Self { placement, first, now }
    }

    fn acts(&mut self) -> Vec<Act> {
        std::iter::from_fn(|| self.placement.poll(self.now)).collect()
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    /// A connection that need not wait.
    fn connect(&mut self, demand: Demand) -> (Seat, MemberId) {
        let seat = self.placement.ask(demand, self.now);
        let acts = self.acts();
        let Some(Act::Place(placed, id)) = acts.first() else { panic!("it had to wait: {acts:?}") };
        assert_eq!(*placed, seat);
        (seat, *id)
    }

    /// The one session that is to be started starts.
    fn start(&mut self) -> MemberId {
        let acts = self.acts();
        let [Act::Start(id)] = acts[..] else { panic!("one is to be started: {acts:?}") };
        self.placement.started(id, self.now);
        id
    }

    fn stall(&mut self, seat: Seat) -> Seat {
        assert_ne!(self.placement.overdue(seat, self.now), Overdue::Stay);
        self.placement.ask_to_move(seat, MoveCause::Stalled, self.now)
    }

    fn keep_filling(&mut self, copy: Seat, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.pass(SECOND / 4);
            self.placement.moved(copy, MUCH, self.now);
        }
    }
}
