//! What clients are told when something goes wrong. The database's own words are passed on; ours say why and what to do.

use std::io;

use db_proto::postgres::{ClientLoginError, ErrorResponse, ParameterError, ServerLoginError};

use super::super::{
    Shared,
    event::{Reason, TurnedAway},
    logins::Credential,
    upstream::TryFailed,
};

/// `connection_failure`.
const CONNECTION_FAILURE: &str = "08006";
/// `sqlclient_unable_to_establish_sqlconnection`.
const UNREACHED: &str = "08001";
/// `protocol_violation`.
const PROTOCOL_VIOLATION: &str = "08P01";
/// `feature_not_supported`.
const UNSUPPORTED: &str = "0A000";
/// `invalid_authorization_specification`.
const UNAUTHORIZED: &str = "28000";
/// `invalid_password`.
const WRONG_PASSWORD: &str = "28P01";

/// As PostgreSQL's protocol says it.
pub(super) fn error_response(why: &TurnedAway) -> ErrorResponse {
    let mut error = ErrorResponse::fatal(&why.sqlstate, &why.message);
    if let Some(detail) = &why.detail {
        error = error.with_detail(detail);
    }
    if let Some(hint) = &why.hint {
        error = error.with_hint(hint);
    }
    error
}

pub(super) fn stalled() -> TurnedAway {
    TurnedAway::new(Reason::Client, "08006", "the client did not finish its login in time", None)
}

pub(super) fn client_left(how: &str) -> TurnedAway {
    TurnedAway::new(Reason::Client, CONNECTION_FAILURE, format!("the client left before it was logged in: {how}"), None)
}

pub(super) fn broken_protocol(error: &ServerLoginError) -> TurnedAway {
    TurnedAway::new(Reason::Client, PROTOCOL_VIOLATION, error.to_string(), None)
}

pub(super) fn no_local_tls(error: &io::Error) -> TurnedAway {
    let message = format!("TLS with the client failed: {error}");
    let hint =
        "a client that verifies certificates needs `ca.pem`, which lies beside the socket, as `sslrootcert`".to_owned();
    TurnedAway::new(Reason::Client, PROTOCOL_VIOLATION, message, hint)
}

pub(super) fn no_alpn() -> TurnedAway {
    let message = "the client opened with TLS directly and did not offer the protocol `postgresql`";
    TurnedAway::new(Reason::Client, PROTOCOL_VIOLATION, message, None)
}

pub(super) fn unsendable(error: &ParameterError) -> TurnedAway {
    TurnedAway::new(Reason::Client, PROTOCOL_VIOLATION, error.to_string(), None)
}

pub(super) fn no_replication() -> TurnedAway {
    let message = "a replication connection cannot be logged in with an IAM token: RDS does not offer that";
    let hint = "use a user whose password is in Secrets Manager, or `pg_dump` instead of `pg_basebackup`".to_owned();
    TurnedAway::new(Reason::Database, UNSUPPORTED, message, hint)
}

/// The stream to the Target broke in the middle.
pub(super) fn broken(shared: &Shared, error: &io::Error) -> TurnedAway {
    let host = shared.upstream_tls.server_name();
    if error.kind() == io::ErrorKind::ConnectionRefused {
        let message = format!("the bastion could not connect to {host}");
        let hint = "check host, port and security groups: the database has to let the bastion in".to_owned();
        return TurnedAway::new(Reason::Route, UNREACHED, message, hint);
    }
    closed(shared, &format!("in the middle of the login: {error}"))
}

/// The Target did not get as far as TLS.
pub(super) fn no_tls(shared: &Shared, error: &ClientLoginError) -> TurnedAway {
    let message = format!("{} answered, but {error}", shared.upstream_tls.server_name());
    let hint = "nothing was sent to it; check host and port in the catalog, and `rds.force_ssl` at the database";
    TurnedAway::new(Reason::Tls, UNREACHED, message, hint.to_owned())
}

/// The Target did not log us in.
pub(super) fn failed(shared: &Shared, credential: &Credential, error: ClientLoginError) -> TryFailed {
    match error {
        ClientLoginError::Refused(response) => refused(shared, credential, &response),
        ClientLoginError::Closed { stage } => TryFailed::Other(closed(shared, stage)),
        ClientLoginError::OtherAuthentication { .. } => {
            let message = error.to_string();
            let hint = wants_password(credential.user());
            TryFailed::Other(TurnedAway::new(Reason::Authentication, UNAUTHORIZED, message, hint))
        }
        ClientLoginError::TlsDeclined
        | ClientLoginError::TlsAnswerUnknown(_)
        | ClientLoginError::BytesBeforeTls
        | ClientLoginError::PasswordInClear => TryFailed::Other(no_tls(shared, &error)),
        ClientLoginError::Scram(_) | ClientLoginError::Malformed(_) => {
            let hint = "check that host and port in the catalog are those of a PostgreSQL database".to_owned();
            TryFailed::Other(TurnedAway::new(Reason::Database, PROTOCOL_VIOLATION, error.to_string(), hint))
        }
    }
}

fn closed(shared: &Shared, stage: &str) -> TurnedAway {
    let message = format!("the connection to {} ended {stage}", shared.upstream_tls.server_name());
    let hint = format!("run `daypass doctor {}` to see which step fails", shared.config.target);
    TurnedAway::new(Reason::Route, CONNECTION_FAILURE, message, hint)
}

fn refused(shared: &Shared, credential: &Credential, response: &ErrorResponse) -> TryFailed {
    let ours = advice(shared, credential, response);
    let hint = [response.hint().map(str::to_owned), ours].into_iter().flatten().collect::<Vec<_>>().join("; ");
    let authentication = is_authentication(response);
    let why = TurnedAway {
        reason: if authentication { Reason::Authentication } else { Reason::Database },
        sqlstate: response.sqlstate().to_owned(),
        message: response.message().to_owned(),
        detail: response.detail().map(str::to_owned),
        hint: (!hint.is_empty()).then_some(hint),
    };
    if authentication { TryFailed::Credential(why) } else { TryFailed::Other(why) }
}

/// Whether another credential may be taken.
fn is_authentication(response: &ErrorResponse) -> bool {
    let failed = response.message().contains("authentication failed");
    response.sqlstate() == WRONG_PASSWORD || response.sqlstate() == UNAUTHORIZED && failed
}

/// What to do about a refusal: the cases of RDS, by SQLSTATE first and the server's words second.
fn advice(shared: &Shared, credential: &Credential, response: &ErrorResponse) -> Option<String> {
    let (user, target) = (credential.user(), &shared.config.target);
    let says = |words: &str| response.message().contains(words);
    let hint = match (response.sqlstate(), credential) {
        (UNAUTHORIZED, Credential::Token { .. }) if says("PAM authentication failed") => format!(
            "the database did not take the IAM token: the grant may have ended, `{user}` may not be a member of rds_iam, or \
             the policy may name another resource id; `daypass doctor {target}` tells which"
        ),
        (UNAUTHORIZED, Credential::Secret { .. }) if says("PAM authentication failed") => format!(
            "`{user}` is a member of rds_iam, for whom RDS takes IAM tokens and no passwords; use IAM for it, or revoke rds_iam"
        ),
        (WRONG_PASSWORD, Credential::Token { .. }) => wants_password(user),
        (WRONG_PASSWORD, Credential::Secret { .. }) => format!(
            "the password in Secrets Manager is not that of `{user}`; its rotation may have stopped halfway: look at the \
             secret's rotation status"
        ),
        (UNAUTHORIZED, _) if says("does not exist") => format!(
            "an administrator creates it: CREATE USER \"{user}\"; GRANT rds_iam TO \"{user}\"; names are case-sensitive"
        ),
        (UNAUTHORIZED, _) if says("pg_hba.conf") => {
            "the database's own rules let nobody in from there; `daypass doctor` shows the way taken".to_owned()
        }
        ("3D000", _) => format!("the catalog's database is \"{}\"; name one that exists", shared.config.database),
        ("42501", _) => format!("`{user}` lacks a privilege there; an administrator grants CONNECT on the database"),
        ("53300", _) => "the database has no connection left; close others or ask its administrator".to_owned(),
        ("57P03", _) => "the database is starting, stopping or failing over; try again in a moment".to_owned(),
        _ if says("due to timeout") => {
            "the login took longer than the database waits: the tunnel stalled, or IAM was slow; try again".to_owned()
        }
        _ if says("RDS Proxy") => {
            format!("the RDS Proxy is set up for another way to log in; `daypass doctor {target}` compares")
        }
        _ => return None,
    };
    Some(hint)
}

fn wants_password(user: &str) -> String {
    format!(
        "the database asks for the password of `{user}` instead of an IAM token, so it is no member of rds_iam; an \
         administrator runs: GRANT rds_iam TO \"{user}\""
    )
}
