//! MySQL and MariaDB at a Front.

use super::{
    FrontConfig, Shared, Visit, Visited,
    doors::Client,
    event::{Reason, TurnedAway},
};
use crate::connections::Open;

/// What all connections have in common.
pub(crate) struct Desk;

impl Desk {
    pub(crate) fn new(_config: &FrontConfig) -> Self {
        Self
    }
}

/// Logs in to the Target once and leaves again.
pub(crate) async fn prove(_shared: &Shared, _desk: &Desk) -> Result<(), TurnedAway> {
    std::future::ready(Err(unspoken())).await
}

/// Serves one client to its end.
pub(crate) async fn serve(
    _client: Client,
    _visit: &mut Visit,
    _desk: &Desk,
    _open: &Open<'_>,
) -> Result<Visited, TurnedAway> {
    std::future::ready(Err(unspoken())).await
}

fn unspoken() -> TurnedAway {
    let hint = "PostgreSQL databases work; connect to this one as before".to_owned();
    TurnedAway::new(Reason::Database, "0A000", "this version of Daypass does not speak MySQL", hint)
}
