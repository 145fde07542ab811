//! The task behind a Pool: starts and ends its sessions.

use std::{collections::BTreeMap, future::pending, sync::Arc};

use tokio::{
    select,
    sync::Notify,
    task::{JoinError, JoinSet},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    desk::Desk,
    placement::{Act, MemberId},
};
use crate::{
    sessions::Sessions,
    tunnel::{Tunnel, TunnelConfig, TunnelError},
};

type Started = (MemberId, Result<Tunnel, TunnelError>);

pub(super) struct Members<S> {
    sessions: Arc<S>,
    config: TunnelConfig,
    desk: Arc<Desk>,
    nudge: Arc<Notify>,
    stop: CancellationToken,
    open: BTreeMap<MemberId, Tunnel>,
    starting: JoinSet<Started>,
    ending: JoinSet<()>,
}

impl<S: Sessions> Members<S> {
    pub(super) fn new(
        sessions: S,
        config: TunnelConfig,
        desk: Arc<Desk>,
        nudge: Arc<Notify>,
        stop: CancellationToken,
    ) -> Self {
        let (open, starting, ending) = (BTreeMap::new(), JoinSet::new(), JoinSet::new());
        Self { sessions: Arc::new(sessions), config, desk, nudge, stop, open, starting, ending }
    }

    /// Opens the first session.
    pub(super) async fn open_first(&mut self, id: MemberId) -> Result<(), TunnelError> {
        let (_, tunnel) = self.open_one(id).await;
        self.open.insert(id, tunnel?);
        Ok(())
    }

    pub(super) async fn keep(mut self) {
        while !self.stop.is_cancelled() {
            self.act();
            let due = self.desk.poll_timeout();
            select! {
                () = self.stop.cancelled() => {}
                () = self.desk.changed() => {}
                () = self.nudge.notified() => self.open.values().for_each(Tunnel::reconnect),
                Some(started) = self.starting.join_next() => self.started(started),
                Some(_) = self.ending.join_next() => {}
                () = until(due) => {}
            }
        }
        self.close().await;
    }

    fn act(&mut self) {
        while let Some(act) = self.desk.poll() {
            match act {
                Act::End(id) => self.end(id),
                Act::Place(seat, id) => {
                    // One that has just ended is not there any more: the end told here comes with it.
                    if let Some(tunnel) = self.open.get(&id) {
                        self.desk.place(seat, id, tunnel.door());
                    }
                }
                Act::Start(id) => drop(self.starting.spawn(self.open_one(id))),
                // Answered by the desk.
                Act::Refuse(_) | Act::Stay(_) => {}
            }
        }
    }

    fn open_one(&self, id: MemberId) -> impl Future<Output = Started> + Send + 'static {
        let desk = Arc::clone(&self.desk);
        let tell = Box::new(move |event| desk.note(id, event));
        let opening = Tunnel::open_once(Arc::clone(&self.sessions), self.config.clone(), tell, self.stop.child_token());
        async move { (id, opening.await) }
    }

    fn started(&mut self, started: Result<Started, JoinError>) {
        match started {
            Ok((id, Ok(tunnel))) => {
                self.open.insert(id, tunnel);
                self.desk.started(id);
            }
            Ok((id, Err(error))) => {
                tracing::warn!(%error, "another session could not be started");
                self.desk.failed(id, error);
            }
            Err(error) => tracing::error!(%error, "starting a session ended in a panic"),
        }
    }

    fn end(&mut self, id: MemberId) {
        if let Some(tunnel) = self.open.remove(&id) {
            self.ending.spawn(tunnel.close());
        }
    }

    async fn close(mut self) {
        self.desk.close();
        for (_, tunnel) in std::mem::take(&mut self.open) {
            self.ending.spawn(tunnel.close());
        }
        while let Some(started) = self.starting.join_next().await {
            if let Ok((_, Ok(tunnel))) = started {
                self.ending.spawn(tunnel.close());
            }
        }
        while self.ending.join_next().await.is_some() {}
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => pending().await,
    }
}
