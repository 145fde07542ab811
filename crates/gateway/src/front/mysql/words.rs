//! What a client of MySQL is told, and what the Target's errors mean.

use std::io;

use db_proto::mysql::{AuthPlugin, ClientLoginError, ErrPacket};

use crate::front::{
    FrontConfig,
    ending::Ending,
    event::{Reason, TurnedAway},
    upstream::TryFailed,
};

const ACCESS_DENIED: u16 = 1045;
const SERVER_SHUTDOWN: u16 = 1053;
const COMMUNICATION_LINK: &str = "08S01";

/// `why` in the protocol; `code` is the database's own, where it has spoken.
pub(crate) fn err_packet(why: &TurnedAway, code: Option<u16>) -> ErrPacket {
    let parts = [Some(&why.message), why.detail.as_ref(), why.hint.as_ref()];
    let text = parts.into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join("; ");
    match (why.reason, code) {
        (Reason::LocalPassword | Reason::LocalUser, _) => ErrPacket::new(ACCESS_DENIED, "28000", text),
        (Reason::Authentication | Reason::Database, Some(code)) => ErrPacket::new(code, &why.sqlstate, text),
        (Reason::Authentication, None) => ErrPacket::new(ACCESS_DENIED, "28000", text),
        _ => ErrPacket::new(SERVER_SHUTDOWN, COMMUNICATION_LINK, text),
    }
}

/// What a client is told when the Grant ends.
pub(crate) fn ended(ending: &Ending) -> ErrPacket {
    ErrPacket::new(SERVER_SHUTDOWN, COMMUNICATION_LINK, format!("{}; {}", ending.cause, ending.hint))
}

/// The client broke off.
pub(crate) fn client_gone(cause: &io::Error) -> TurnedAway {
    TurnedAway::new(Reason::Client, COMMUNICATION_LINK, format!("the client's connection broke: {cause}"), None)
}

/// The Target's connection broke in the middle of a login.
pub(crate) fn server_gone(config: &FrontConfig, cause: &io::Error) -> TurnedAway {
    if cause.kind() == io::ErrorKind::ConnectionRefused {
        let message = format!("the bastion could not connect to {}: {cause}", config.server_name);
        let hint = format!("check host, port and security groups, or run `daypass doctor {}`", config.target);
        return TurnedAway::new(Reason::Route, COMMUNICATION_LINK, message, hint);
    }
    let message = format!("the connection to {} broke during the login: {cause}", config.server_name);
    TurnedAway::new(Reason::Database, COMMUNICATION_LINK, message, "connect again".to_owned())
}

/// Why a login at the Target failed, with what can be done about it.
pub(crate) fn failed(config: &FrontConfig, user: &str, error: &ClientLoginError) -> TryFailed {
    let hint = |hint: String| Some(hint);
    match error {
        ClientLoginError::Refused { error, plugin } => refused(config, user, error, *plugin),
        ClientLoginError::TlsMissing => TryFailed::Other(TurnedAway::new(
            Reason::Tls,
            COMMUNICATION_LINK,
            format!("{} offers no TLS; nothing was sent to it", config.server_name),
            hint("the tunnel may end at another program: check host and port in the catalog".to_owned()),
        )),
        ClientLoginError::BytesBeforeTls
        | ClientLoginError::PasswordInClear
        | ClientLoginError::UnknownPlugin { .. }
        | ClientLoginError::Changed { .. }
        | ClientLoginError::Malformed(_)
        | ClientLoginError::Closed { .. } => {
            let message = format!("{}: {error}", config.server_name);
            let hint = hint(format!("run `daypass doctor {}` to see which step fails", config.target));
            TryFailed::Other(TurnedAway::new(Reason::Database, COMMUNICATION_LINK, message, hint))
        }
    }
}

/// The codes are those of the server's manuals.
fn refused(config: &FrontConfig, user: &str, error: &ErrPacket, plugin: Option<AuthPlugin>) -> TryFailed {
    let away = |reason, hint: String| TurnedAway::new(reason, &error.sqlstate, error.message.clone(), hint);
    match error.code {
        // ER_ACCESS_DENIED_ERROR, ER_ACCESS_DENIED_NO_PASSWORD_ERROR.
        1045 | 1698 => TryFailed::Credential(away(Reason::Authentication, access_denied(user, plugin))),
        // ER_DBACCESS_DENIED_ERROR, ER_BAD_DB_ERROR.
        1044 | 1049 => TryFailed::Other(away(
            Reason::Database,
            format!(
                "connect without a database, or with one that {user} may use; the catalog names {}",
                config.database
            ),
        )),
        // ER_CON_COUNT_ERROR, ER_TOO_MANY_USER_CONNECTIONS, ER_USER_LIMIT_REACHED.
        1040 | 1203 | 1226 => {
            let hint = "the database is full, which is not Daypass's doing: close connections or try again later";
            TryFailed::Other(away(Reason::Database, hint.to_owned()))
        }
        // ER_PLUGIN_IS_NOT_LOADED.
        1524 => TryFailed::Other(away(
            Reason::Authentication,
            "switch on IAM database authentication for this database, or correct the user's plug-in".to_owned(),
        )),
        // ER_HOST_IS_BLOCKED, ER_HOST_NOT_PRIVILEGED.
        1129 | 1130 => TryFailed::Other(away(
            Reason::Authentication,
            format!("an administrator has to let {user} in from the bastion's address"),
        )),
        _ => TryFailed::Other(away(
            Reason::Database,
            format!("run `daypass doctor {}` to see which step fails", config.target),
        )),
    }
}

fn access_denied(user: &str, plugin: Option<AuthPlugin>) -> String {
    if plugin == Some(AuthPlugin::ClearPassword) {
        return format!(
            "the database did not take the IAM token of {user}: `rds-db:connect` may be missing or name another resource, \
             or the grant is not in force yet; `daypass doctor` checks it"
        );
    }
    format!(
        "{user} does not exist, has another password, or was not created with AWSAuthenticationPlugin: \
         CREATE USER {user} IDENTIFIED WITH AWSAuthenticationPlugin AS 'RDS'"
    )
}
