//! PostgreSQL at a Front.

mod cancel;
mod dialogue;
mod local;
mod parameters;
mod target;
mod words;

use std::sync::{Mutex, PoisonError};

use db_proto::postgres::{ScramVerifier, Startup, TERMINATE};
use futures_util::FutureExt;
use secrets::Secret;
use tokio::{io::AsyncWriteExt, join, select};
use tokio_util::sync::CancellationToken;

use super::{Shared, Visit, Visited, doors::Client, event::TurnedAway, splice::splice};
use crate::connections::Open;
use cancel::{Cancels, Kept};
use dialogue::PostgresDialogue;
use local::{Arrival, Local};
use target::{Session, Target};

/// What all connections have in common.
#[derive(Default)]
pub(crate) struct Desk {
    cancels: Cancels,
    /// Of the local password it was made from; made anew when that has changed.
    verifier: Mutex<Option<(Secret<String>, ScramVerifier)>>,
}

impl Desk {
    fn verifier(&self, password: &Secret<String>) -> ScramVerifier {
        let mut kept = self.verifier.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, verifier)) = &*kept
            && of == password
        {
            return verifier.clone();
        }
        let verifier = ScramVerifier::new(password.expose().as_bytes(), rand::random());
        *kept = Some((password.clone(), verifier.clone()));
        verifier
    }
}

/// Logs in to the Target once and leaves again.
pub(crate) async fn prove(shared: &Shared, _desk: &Desk) -> Result<(), TurnedAway> {
    let startup = parameters::proof(&shared.config).map_err(|error| words::unsendable(&error))?;
    let mut session = log_in(shared, &startup).await?;
    // A server that has let us in is proof enough, whether or not it hears the farewell.
    drop(session.stream.write_all(&TERMINATE).await);
    drop(session.stream.shutdown().await);
    Ok(())
}

/// Serves one client to its end.
pub(crate) async fn serve(
    client: Client,
    visit: &mut Visit,
    desk: &Desk,
    open: &Open<'_>,
) -> Result<Visited, TurnedAway> {
    match local::arrive(client, visit, desk).await? {
        Arrival::Cancel(key) => {
            desk.cancels.pass_on(&visit.shared, &key).await;
            Ok(Visited::Errand)
        }
        Arrival::Client(local, startup) => connect(*local, &startup, visit, desk, open).await,
    }
}

async fn connect(
    mut local: Local,
    startup: &Startup,
    visit: &mut Visit,
    desk: &Desk,
    open: &Open<'_>,
) -> Result<Visited, TurnedAway> {
    let reached = select! {
        reached = log_in(&visit.shared, startup) => reached,
        gone = local.left() => return Err(gone),
        ended = visit.shared.ended() => Err(ended),
    };
    let session = match reached {
        Ok(session) => session,
        Err(why) => {
            local.turn_away(&why).await;
            return Err(why);
        }
    };
    let Session { mut stream, logged_in, parameters } = session;
    let cancel = logged_in.cancel_key.clone().map(|key| desk.cancels.keep(key));
    let accepted = local.accept(&logged_in, &mut stream).await;
    let client = accepted.map_err(|error| words::client_left(&error.to_string()))?;
    visit.logged_in(parameters.user(), parameters.database(), parameters::application_name(&parameters));
    let finished = CancellationToken::new();
    let splicing = async {
        let _finished = finished.clone().drop_guard();
        let dialogue = PostgresDialogue::new(logged_in.transaction_status);
        splice(client, stream, dialogue, open, visit.shared.ending()).await
    };
    let (spliced, ()) = join!(splicing, end_query(&visit.shared, desk, cancel.as_ref(), &finished));
    Ok(Visited::Closed(spliced.error()))
}

/// Once the Grant is over: a query that runs would go on at the server without anybody to hear its result.
async fn end_query(shared: &Shared, desk: &Desk, cancel: Option<&Kept>, finished: &CancellationToken) {
    let mut ending = shared.ending();
    if let (Some(()), Some(cancel)) = (finished.run_until_cancelled(ending.over()).await, cancel) {
        desk.cancels.pass_on(shared, cancel.key()).await;
    }
}

async fn log_in(shared: &Shared, startup: &Startup) -> Result<Session, TurnedAway> {
    let target = Target { shared, startup };
    let reach = shared.reach(parameters::demand(&startup.parameters));
    reach.log_in(|stream, credential| target.log_in(stream, credential).boxed()).await
}
