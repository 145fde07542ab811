//! The loop. It is the only `select!` of its kind: run effects, publish the snapshot when it changed, hand out notices, then
//! wait for a command, for an answer of the world, for a change of this computer's surroundings, or for the next deadline.

use std::{ops::ControlFlow, sync::Arc};

use access::{Access, Effect, EffectId, Event, Saved};
use model::{ErrorView, Notice, Snapshot};
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::{
    AgentConfig, Asked, Handle,
    clock::Clock,
    effects::{Reported, Shared, World},
    state_file::{State, StateFile},
    surroundings::{Change, Surroundings},
};

/// Commands and events that may wait; a sender beyond that waits itself.
const QUEUE: usize = 256;

pub(crate) struct Owner {
    access: Access,
    clock: Clock,
    state: StateFile,
    world: World,
    commands: mpsc::Receiver<Asked>,
    events: mpsc::Receiver<Reported>,
    surroundings: Surroundings,
    snapshots: watch::Sender<Arc<Snapshot>>,
    notices: broadcast::Sender<Notice>,
    /// Answers that are given once the snapshot shows what they are about.
    answers: Vec<Answered>,
}

/// A command's answer, and who waits for it.
struct Answered {
    to: oneshot::Sender<Result<(), ErrorView>>,
    outcome: Result<(), ErrorView>,
}

/// Why the loop woke up.
enum Woken {
    Asked(Asked),
    Changed(Change),
    Deadline,
    Reported(Reported),
}

impl Owner {
    pub(crate) async fn new(config: &AgentConfig, state: StateFile, stopped: watch::Receiver<bool>) -> (Handle, Self) {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).expect("the operating system gives randomness");
        let mut access = Access::new(seed, config.clock.now(), state.state().saved.clone());
        let (report, events) = mpsc::channel(QUEUE);
        let (commands, asked) = mpsc::channel(QUEUE);
        let (snapshots, latest) = watch::channel(Arc::new(access.snapshot()));
        let shared = Arc::new(Shared::new(config, state.state().ports.clone(), latest.clone(), report).await);
        let world = World::new(Arc::clone(&shared));
        // The first guest already finds what is known at the start.
        for known in world.start().await {
            access.event(None, known, config.clock.now());
        }
        snapshots.send_replace(Arc::new(access.snapshot()));
        let (notices, _) = broadcast::channel(QUEUE);
        let handle = Handle { commands, snapshots: latest, notices: notices.clone(), shared, stopped };
        let (clock, surroundings) = (config.clock.clone(), Surroundings::listen(&config.clock));
        let owner = Self {
            access,
            clock,
            state,
            world,
            commands: asked,
            events,
            surroundings,
            snapshots,
            notices,
            answers: Vec::new(),
        };
        (handle, owner)
    }

    /// Runs until a [`model::Command::Quit`] was carried out.
    pub(crate) async fn run(mut self) {
        loop {
            while let Some((id, effect)) = self.access.poll_effect() {
                if matches!(effect, Effect::Quit) {
                    self.publish();
                }
                if self.carry_out(id, effect).await.is_break() {
                    self.publish();
                    return;
                }
            }
            self.remember_ports();
            self.publish();
            let woken = self.wait().await;
            let now = self.clock.now();
            // Expiry comes first, whatever woke the loop: after a long sleep nothing may be done with access that is over.
            self.access.handle_timeout(now);
            match woken {
                Woken::Asked(asked) => {
                    let outcome = self.access.command(asked.command, now).map_err(|refusal| refusal.view());
                    self.answers.push(Answered { to: asked.answer, outcome });
                }
                Woken::Changed(change) => self.world.surroundings_changed(change),
                Woken::Reported(reported) => {
                    self.access.event(reported.answers, reported.event, now);
                }
                Woken::Deadline => {}
            }
        }
    }

    async fn wait(&mut self) -> Woken {
        let deadline = self.access.poll_timeout().map(|(at, _why)| at);
        tokio::select! {
            Some(asked) = self.commands.recv() => Woken::Asked(asked),
            Some(reported) = self.events.recv() => Woken::Reported(reported),
            change = self.surroundings.next() => Woken::Changed(change),
            () = self.clock.nap(deadline) => Woken::Deadline,
        }
    }

    async fn carry_out(&mut self, id: EffectId, effect: Effect) -> ControlFlow<()> {
        if effect == Effect::Quit {
            self.world.end().await;
            return ControlFlow::Break(());
        }
        if let Effect::Save { saved } = effect {
            self.save(saved);
        } else {
            self.world.begin(id, effect).await;
        }
        ControlFlow::Continue(())
    }

    fn save(&mut self, saved: Saved) {
        self.write(|state| state.saved = saved);
    }

    /// A port that was given once stays the Target's, also over a crash: people register it in their clients.
    fn remember_ports(&mut self) {
        let ports = self.world.ports();
        if ports != self.state.state().ports {
            self.write(|state| state.ports = ports);
        }
    }

    fn write(&mut self, change: impl FnOnce(&mut State)) {
        if let Err(error) = self.state.change(change) {
            tracing::error!(%error, "the state was not saved");
        }
    }

    fn publish(&mut self) {
        let snapshot = self.access.snapshot();
        self.snapshots.send_if_modified(|published| {
            let changed = **published != snapshot;
            if changed {
                *published = Arc::new(snapshot);
            }
            changed
        });
        for Answered { to, outcome } in self.answers.drain(..) {
            // A shell that went away does not want to know.
            let _gone = to.send(outcome);
        }
        while let Some(notice) = self.access.poll_notice() {
            // Nobody listens when no shell is there; the snapshot says the same.
            let _unheard = self.notices.send(notice);
        }
    }
}

impl Reported {
    /// Something the world said unasked.
    pub(crate) fn unasked(event: Event) -> Self {
        Self { answers: None, event }
    }
}
