//! The local socket's other end: guests' questions are answered from the same handle the desktop shell uses.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use ipc::{Answer, ClientMessage, Connection, Outcome, Request, Server, ServerMessage};
use model::{Command, ErrorView, Gateway, Identity, RequestState, SecretsKeptIn, Snapshot};
use tokio::{
    sync::{broadcast, mpsc},
    task::{JoinHandle, JoinSet},
    time::Duration,
};

use crate::{Handle, Stay};

/// How long an agent that is only needed now and then waits for the next guest.
const LINGER: Duration = Duration::from_secs(10);
/// How long to wait when the system has no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// Answers and pushes that may wait for one guest; a guest that does not read is hung up on.
const GUEST_QUEUE: usize = 64;

/// Serves guests until the agent ends.
pub(crate) async fn serve(listener: Server, handle: Handle, stay: Stay, owner: JoinHandle<()>) {
    let guests = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    let leave = leave_when_not_needed(handle.clone(), Arc::clone(&guests), stay);
    tokio::pin!(owner, leave);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(guest) => {
                    let (handle, guests) = (handle.clone(), Arc::clone(&guests));
                    tasks.spawn(async move {
                        guests.fetch_add(1, Ordering::Relaxed);
                        welcome(guest, handle).await;
                        guests.fetch_sub(1, Ordering::Relaxed);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a guest was not let in");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_left) = tasks.join_next() => {}
            () = &mut leave => {}
            _ended = &mut owner => break,
        }
    }
    // Guests that asked to quit read their answer before the socket goes.
    let _in_time = tokio::time::timeout(ACCEPT_PAUSE, async { while tasks.join_next().await.is_some() {} }).await;
}

async fn leave_when_not_needed(handle: Handle, guests: Arc<AtomicUsize>, stay: Stay) {
    if stay == Stay::UntilQuit {
        return std::future::pending().await;
    }
    let mut idle = Duration::ZERO;
    while idle < LINGER {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let needed = guests.load(Ordering::Relaxed) > 0 || would_lose_something(&handle.snapshots.borrow());
        idle = if needed { Duration::ZERO } else { idle + Duration::from_secs(1) };
    }
    if let Err(error) = handle.command(Command::Quit).await {
        tracing::warn!(%error, "the agent did not end");
    }
    std::future::pending().await
}

fn would_lose_something(snapshot: &Snapshot) -> bool {
    let signed_in = !matches!(snapshot.identity, Identity::SignedOut { .. });
    let only_in_memory = matches!(snapshot.secrets_kept_in, SecretsKeptIn::Memory { .. });
    let busy = snapshot.targets.iter().any(|view| {
        !matches!(view.gateway, Gateway::Closed { .. })
            || view.request.as_ref().is_some_and(|request| matches!(request.state, RequestState::Pending { .. }))
    });
    busy || (signed_in && only_in_memory)
}

async fn welcome(mut guest: Connection, handle: Handle) {
    if let Err(error) = guest.welcome().await {
        tracing::debug!(%error, "a guest left at the door");
        return;
    }
    let Connection { mut reader, mut writer } = guest;
    let (send, mut queue) = mpsc::channel::<ServerMessage>(GUEST_QUEUE);
    let mut conversation = JoinSet::new();
    conversation.spawn(async move {
        while let Some(message) = queue.recv().await {
            if writer.send(&message).await.is_err() {
                break;
            }
        }
    });
    conversation.spawn(async move {
        let mut pushes = JoinSet::new();
        while let Ok(Some(ClientMessage { id, request })) = reader.next().await {
            let subscribe = request == Request::Subscribe;
            let outcome = Outcome::from(answer(&handle, request).await);
            if send.send(ServerMessage::Reply { id, outcome }).await.is_err() {
                break;
            }
            if subscribe {
                pushes.spawn(push(handle.clone(), send.clone()));
            }
        }
    });
    // Whichever side ends first ends the other.
    conversation.join_next().await;
}

async fn answer(handle: &Handle, request: Request) -> Result<Answer, ErrorView> {
    match request {
        Request::Command(command) => handle.command(command).await.map(|()| Answer::Done),
        Request::ConnectionText { target, form, with_password } => {
            handle.connection_text(&target, form, with_password).await.map(Answer::Private)
        }
        Request::Doctor { target } => Ok(Answer::Doctor(handle.doctor(target.as_ref()).await)),
        Request::Hello { .. } => Ok(Answer::Hello { version: ipc::PROTOCOL_VERSION }),
        Request::LocalPassword { target, renew } => handle.local_password(&target, renew).await.map(Answer::Private),
        Request::Ping | Request::Subscribe => Ok(Answer::Done),
        Request::Snapshot => Ok(Answer::Snapshot(Box::new(Snapshot::clone(&handle.snapshots.borrow())))),
    }
}

async fn push(handle: Handle, send: mpsc::Sender<ServerMessage>) {
    let (mut snapshots, mut notices) = (handle.snapshots(), handle.notices());
    snapshots.mark_changed();
    loop {
        let message = tokio::select! {
            changed = snapshots.changed() => match changed {
                Ok(()) => ServerMessage::Snapshot(Box::new(Snapshot::clone(&snapshots.borrow_and_update()))),
                Err(_) => return,
            },
            notice = notices.recv() => match notice {
                Ok(notice) => ServerMessage::Notice(notice),
                // A guest that slept through some of them reads the snapshot.
                Err(broadcast::error::RecvError::Lagged(_)) => continue,
                Err(broadcast::error::RecvError::Closed) => return,
            },
        };
        if send.send(message).await.is_err() {
            return;
        }
    }
}
