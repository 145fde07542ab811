//! MySQL and MariaDB at a Front.

mod greetings;
mod login;
mod reception;
mod relay;
mod server_link;
mod threads;
mod words;

use db_proto::mysql::{LoginRequest, QUIT};
use futures_util::FutureExt;

use super::{FrontConfig, Shared, Visit, Visited, doors::Client, event::TurnedAway, splice::Spliced};
use crate::{Demand, connections::Open};
use greetings::Greetings;
use login::{Attempt, Session};
use reception::Guest;
use relay::Relay;
use threads::Threads;

/// What all connections have in common.
pub(crate) struct Desk {
    greetings: Greetings,
    threads: Threads,
}

impl Desk {
    pub(crate) fn new(config: &FrontConfig) -> Self {
        Self { greetings: Greetings::new(config), threads: Threads::new() }
    }
}

/// Logs in to the Target once and leaves again. What it says of itself is what clients are greeted with.
pub(crate) async fn prove(shared: &Shared, desk: &Desk) -> Result<(), TurnedAway> {
    let attempt = Attempt::of_our_own(shared);
    let (session, _) = log_in(shared, desk, &attempt, Demand::Interactive).await?;
    let mut link = session.link;
    // A server that has let us in is proof enough, whether or not it hears the farewell.
    drop(link.outgoing.send(&QUIT, true).await);
    drop(link.outgoing.close().await);
    Ok(())
}

/// Serves one client to its end.
pub(crate) async fn serve(
    client: Client,
    visit: &mut Visit,
    desk: &Desk,
    open: &Open<'_>,
) -> Result<Visited, TurnedAway> {
    let thread = desk.threads.take();
    let mut guest = Guest::receive(client, desk.greetings.for_client(thread.id()), visit).await?;
    let shared = visit.shared.clone();
    let attempt = Attempt::for_client(&shared, &guest.request);
    let demand = demand(&guest.request);
    let outcome = tokio::select! {
        outcome = log_in(&shared, desk, &attempt, demand) => outcome,
        why = guest.leaves() => return Err(why),
    };
    let (session, user) = match outcome {
        Ok(done) => done,
        Err(why) => {
            guest.turn_away(&words::err_packet(&why, attempt.last_code())).await;
            return Err(why);
        }
    };
    let accepted = guest.accept(&session.logged_in.ok).await;
    accepted.map_err(|cause| words::client_gone(&cause))?;
    thread.is_upstream(session.logged_in.greeting.thread_id);
    announce(visit, &guest, &user);
    let spliced = Relay::new(guest, session, desk, visit, open).run().await;
    Ok(Visited::Closed(match spliced {
        Spliced::Broken(error) => Some(error.to_string()),
        Spliced::Finished | Spliced::Ended => None,
    }))
}

async fn log_in(
    shared: &Shared,
    desk: &Desk,
    attempt: &Attempt,
    demand: Demand,
) -> Result<(Session, String), TurnedAway> {
    let reach = shared.reach(demand);
    let done = reach
        .log_in(|stream, credential| {
            let attempt = attempt.clone();
            async move { Ok((attempt.run(stream, &credential).await?, credential.user().to_owned())) }.boxed()
        })
        .await;
    if let Some(greeting) = attempt.greeting() {
        desk.greetings.learn(greeting);
    }
    done
}

/// Programs that copy whole databases.
fn demand(request: &LoginRequest) -> Demand {
    match attribute(request, "program_name") {
        "mysqldump" | "mariadb-dump" | "mysqlpump" | "mysqlimport" | "mariadb-import" | "mydumper" | "myloader" => {
            Demand::Bulk
        }
        _ => Demand::Interactive,
    }
}

fn announce(visit: &mut Visit, guest: &Guest, user: &str) {
    let client = [attribute(&guest.request, "program_name"), attribute(&guest.request, "_client_name")];
    let application = client.into_iter().find(|name| !name.is_empty()).unwrap_or_default();
    visit.logged_in(user, guest.request.database.as_deref().unwrap_or_default(), application);
}

fn attribute<'a>(request: &'a LoginRequest, name: &str) -> &'a str {
    let named = request.attributes.iter().find(|(key, _)| key == name);
    named.map(|(_, value)| value.as_str()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_that_copy_databases_get_a_way_of_their_own() {
        for (program, wanted) in
            [("mysqldump", Demand::Bulk), ("mariadb-dump", Demand::Bulk), ("mysql", Demand::Interactive)]
        {
            let attributes = vec![("program_name".to_owned(), program.to_owned())];
            assert_eq!(demand(&LoginRequest { attributes, ..LoginRequest::default() }), wanted, "{program}");
        }
        assert_eq!(demand(&LoginRequest::default()), Demand::Interactive, "clients that say nothing");
    }
}
