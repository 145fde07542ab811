//! `daypass sessions`.

use std::time::Duration;

use model::{Command, Identity, LeftSession, LeftSessionState, LeftSessions, SessionId, SessionOrigin, Snapshot};

use crate::{
    args::{SessionsOptions, SessionsVerb},
    commands::now,
    failure::Failure,
    guest::Guest,
    terminal::Terminal,
    words::time_left,
};

/// How long AWS may take to list them after a start.
const LIST_LIMIT: Duration = Duration::from_secs(30);

/// Lists the sessions that no database here uses, or ends some.
pub(crate) async fn run(guest: &Guest, options: SessionsOptions, terminal: Terminal) -> Result<(), Failure> {
    let left = looked_at(guest).await?;
    match options.verb {
        None => {
            if let Some(unseen) = &left.unseen {
                terminal.say(&format!("! not every Region could be asked: {}\n    {}", unseen.message, unseen.hint));
            }
            terminal.data(&list(&left), &left);
            Ok(())
        }
        Some(SessionsVerb::End { all: true, .. }) => {
            let ours: Vec<SessionId> = left.of_this_computer().map(|session| session.id.clone()).collect();
            guest.command(Command::EndLeftSessions).await?;
            ended(guest, &ours).await
        }
        Some(SessionsVerb::End { id, .. }) => {
            let session = one_of(&left, &id.unwrap_or_default())?.id.clone();
            guest.command(Command::EndSession { session: session.clone() }).await?;
            ended(guest, &[session]).await
        }
    }
}

/// What AWS lists, once it was asked.
async fn looked_at(guest: &Guest) -> Result<LeftSessions, Failure> {
    let listed = guest.follow(|snapshot: &Snapshot| match &snapshot.identity {
        Identity::SignedIn { .. } if snapshot.left_sessions.looked_at.is_none() => None,
        Identity::SignedIn { .. } => Some(Ok(snapshot.left_sessions.clone())),
        Identity::SignedOut { .. } | Identity::SigningIn { .. } => Some(Err(Failure::new(
            "not-signed-in",
            "nobody is signed in, so AWS cannot be asked for sessions",
            "run `daypass sign-in`",
        ))),
    });
    tokio::time::timeout(LIST_LIMIT, listed).await.unwrap_or_else(|_| {
        let message = format!("AWS has not listed the sessions within {} s", LIST_LIMIT.as_secs());
        Err(Failure::new("timed-out", message, "check the network, then try again"))
    })?
}

/// Waits until none of them is open, or one cannot be ended.
async fn ended(guest: &Guest, sessions: &[SessionId]) -> Result<(), Failure> {
    guest
        .follow(|snapshot| {
            let still: Vec<&LeftSession> =
                snapshot.left_sessions.sessions.iter().filter(|left| sessions.contains(&left.id)).collect();
            if still.iter().any(|left| left.state == LeftSessionState::Ending) {
                return None;
            }
            let failed = still.iter().find_map(|left| match &left.state {
                LeftSessionState::Failed { cause } => Some(Err(Failure::from(cause.clone()))),
                LeftSessionState::Ending | LeftSessionState::Open => None,
            });
            Some(failed.unwrap_or(Ok(())))
        })
        .await?
}

fn one_of<'a>(left: &'a LeftSessions, wanted: &str) -> Result<&'a LeftSession, Failure> {
    let mut found = left.sessions.iter().filter(|session| session.id.as_str().starts_with(wanted));
    match (found.next(), found.next()) {
        (Some(session), None) => Ok(session),
        (None, _) => Err(Failure::new(
            "unknown-session",
            format!("no session `{wanted}` was left open"),
            "it may have ended already; `daypass sessions` lists those that have not",
        )),
        (Some(_), Some(_)) => Err(Failure::new(
            "ambiguous-session",
            format!("several sessions begin with `{wanted}`"),
            "write more of its id",
        )),
    }
}

fn list(left: &LeftSessions) -> String {
    if left.sessions.is_empty() {
        return "no session was left open".to_owned();
    }
    left.sessions.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn line(LeftSession { id, region, target, since, origin, state }: &LeftSession) -> String {
    let target = target.as_ref().map_or_else(|| "an unknown database".to_owned(), ToString::to_string);
    let since = since.map(|since| format!(", for {}", time_left(since.until(now())))).unwrap_or_default();
    let origin = match origin {
        SessionOrigin::Elsewhere => "from elsewhere, perhaps in use on another computer",
        SessionOrigin::ThisComputer => "left open by this computer",
    };
    let state = match state {
        LeftSessionState::Ending => ", being ended".to_owned(),
        LeftSessionState::Failed { cause } => format!(", not ended: {cause}"),
        LeftSessionState::Open => String::new(),
    };
    format!("{id}  {target} in {region}{since}: {origin}{state}")
}

#[cfg(test)]
mod tests {
    use model::{Region, TargetId};

    use super::*;

    fn left(id: &str) -> LeftSession {
        LeftSession {
            id: SessionId::new(id).expect("a session id"),
            region: Region::new("eu-west-1").expect("a Region"),
            target: Some(TargetId::new("orders-prod").expect("a slug")),
            since: None,
            origin: SessionOrigin::ThisComputer,
            state: LeftSessionState::Open,
        }
    }

    #[test]
    fn a_session_is_named_by_as_much_of_its_id_as_tells_it_apart() {
        let sessions = LeftSessions { sessions: vec![left("ana-1a"), left("ana-1b")], ..LeftSessions::default() };
        assert_eq!(one_of(&sessions, "ana-1b").expect("it is one").id.as_str(), "ana-1b");
        let refusals = ["ana-1", "ben"].map(|wanted| one_of(&sessions, wanted).expect_err("it names no one").view.code);
        assert_eq!(refusals, ["ambiguous-session", "unknown-session"]);
    }

    #[test]
    fn a_line_says_where_it_leads_and_who_left_it() {
        assert_eq!(line(&left("ana-1a")), "ana-1a  orders-prod in eu-west-1: left open by this computer");
        let foreign = LeftSession { target: None, origin: SessionOrigin::Elsewhere, ..left("ana-1a") };
        let expected = "ana-1a  an unknown database in eu-west-1: from elsewhere, perhaps in use on another computer";
        assert_eq!(line(&foreign), expected);
    }
}
