//! `daypass request`, `cancel` and `release`.

use model::{AccessRequest, Command, Grant, RequestState, TargetId, TargetView};

use crate::{
    args::RequestOptions,
    commands::now,
    failure::Failure,
    guest::{Guest, known, view_of},
    terminal::Terminal,
    words,
};

/// Asks for access and, if wanted, waits for the answer.
pub(crate) async fn run(guest: &Guest, options: RequestOptions, terminal: Terminal) -> Result<(), Failure> {
    let RequestOptions { target, role, duration, reason, ticket, connect, wait } = options;
    known(&guest.snapshot().await?, &target)?;
    let command = Command::RequestAccess {
        target: target.clone(),
        role,
        duration,
        justification: reason,
        ticket,
        connect_when_approved: connect,
    };
    guest.command(command).await?;
    let view =
        if wait { wait_for_grant(guest, &target, terminal).await? } else { wait_until_placed(guest, &target).await? };
    let (mark, state) = words::state(&view, now());
    terminal.data(&format!("{mark} {target}  {state}"), &view);
    Ok(())
}

/// Waits until the broker has the newest request, or refused it.
async fn wait_until_placed(guest: &Guest, target: &TargetId) -> Result<TargetView, Failure> {
    guest
        .follow(|snapshot| {
            let view = view_of(snapshot, target)?;
            match view.request.as_ref().map(|request| &request.state) {
                Some(RequestState::Pending { broker_ref: None, .. }) => None,
                Some(_) => Some(outcome(view)),
                None => None,
            }
        })
        .await?
}

/// Waits until the newest request has led to a Grant in force, or to none.
pub(crate) async fn wait_for_grant(
    guest: &Guest,
    target: &TargetId,
    terminal: Terminal,
) -> Result<TargetView, Failure> {
    let mut told = None;
    guest
        .follow(|snapshot| {
            let view = view_of(snapshot, target)?;
            if let Some(Grant::Active { .. }) = view.grant {
                return Some(Ok(view.clone()));
            }
            let state = words::state(view, now()).1;
            let stage = state.split(',').next().map(str::to_owned);
            if told != stage {
                terminal.say(&format!("{target}: {state}"));
                told = stage;
            }
            match view.request.as_ref()?.state {
                RequestState::Pending { .. } | RequestState::Approved { .. } => None,
                RequestState::Cancelled
                | RequestState::Denied { .. }
                | RequestState::Expired
                | RequestState::Failed { .. } => Some(outcome(view)),
            }
        })
        .await?
}

fn outcome(view: &TargetView) -> Result<TargetView, Failure> {
    let target = &view.target.id;
    match view.request.as_ref().map(|AccessRequest { state, .. }| state) {
        Some(RequestState::Denied { by, comment }) => {
            let message = format!("{target}: {}", words::denied(by.as_deref(), comment.as_deref()));
            Err(Failure::new("denied", message, "talk to the approver, then request again"))
        }
        Some(RequestState::Expired) => Err(Failure::new(
            "lapsed",
            format!("{target}: nobody answered the request in time"),
            "tell an approver and request again",
        )),
        Some(RequestState::Cancelled) => Err(Failure::new(
            "cancelled",
            format!("{target}: the request was taken back"),
            "request again if you still need it",
        )),
        Some(RequestState::Failed { cause }) => Err(cause.clone().into()),
        Some(RequestState::Approved { .. } | RequestState::Pending { .. }) | None => Ok(view.clone()),
    }
}

/// Takes back the request that waits.
pub(crate) async fn cancel(guest: &Guest, target: &TargetId) -> Result<(), Failure> {
    let snapshot = guest.snapshot().await?;
    match &known(&snapshot, target)?.request {
        Some(AccessRequest { id, state: RequestState::Pending { .. }, .. }) => {
            guest.command(Command::CancelRequest { request: id.clone() }).await
        }
        Some(_) | None => Err(Failure::new(
            "no-request",
            format!("no request for `{target}` is waiting"),
            "see `daypass status`; a grant is given back with `daypass release`",
        )),
    }
}

/// Gives a Grant back and waits for the broker's word.
pub(crate) async fn release(guest: &Guest, target: &TargetId) -> Result<(), Failure> {
    known(&guest.snapshot().await?, target)?;
    guest.command(Command::ReleaseGrant { target: target.clone() }).await?;
    guest
        .follow(|snapshot| {
            let view = view_of(snapshot, target)?;
            (!matches!(view.grant, Some(Grant::Active { .. } | Grant::Provisioning { .. }))).then_some(())
        })
        .await
}
