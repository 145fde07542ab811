//! Errors that more than one place tells, in one wording.

use std::io;

use access::CloseReason;
use gateway::{BindError, CertificateError, DoorError, Ending, Reason, TurnedAway};
use model::{AccountId, BindingLimit, Engine, ErrorView, LimitKind, Target, TargetId, WallTime};
use tokio::time::Instant;

mod tunnels;

pub(crate) use tunnels::{bastion_offline, can_carry, database_unreachable, ended, no_bastion, no_tunnel};

/// "10 min behind", from how far AWS's clock is ahead, in seconds; to the nearest minute from two minutes on.
pub(crate) fn apart(seconds: i32) -> String {
    let (amount, side) = (seconds.unsigned_abs(), if seconds > 0 { "behind" } else { "ahead of" });
    if amount < 120 { format!("{amount} s {side}") } else { format!("{} min {side}", (amount + 30) / 60) }
}

pub(crate) fn wrong_account(target: &Target, actual: &AccountId) -> ErrorView {
    ErrorView::new(
        "wrong-account",
        format!("`{}` belongs to account {}, but you are signed in to {actual}", target.id, target.account),
        "sign in at the identity provider that leads to that account, or correct `account` in the catalog",
    )
}

/// An RDS endpoint names its Region; a token signed for another one is refused without a reason.
pub(crate) fn region_agrees(target: &Target) -> Result<(), ErrorView> {
    let named = target.endpoint.host.strip_suffix(".rds.amazonaws.com").and_then(|host| host.rsplit('.').next());
    match named {
        Some(region) if region != target.region.as_str() => Err(ErrorView::new(
            "wrong-region",
            format!(
                "`{}` is said to be in {}, but its endpoint {} is in {region}",
                target.id, target.region, target.endpoint.host
            ),
            format!("write region = \"{region}\" for it in the catalog"),
        )),
        Some(_) | None => Ok(()),
    }
}

/// No door for clients; `free` is a port that could be had instead.
pub(crate) fn no_doors(target: &Target, error: &DoorError, free: Option<u16>) -> ErrorView {
    let message = format!("the gateway of `{}` has no door: {error}", target.id);
    match (error, free) {
        (DoorError::Port(BindError::InUse { .. }) | DoorError::PortOfV6 { .. }, Some(free)) => {
            let hint = format!(
                "end that program, or run `daypass connect {} --port {free}`: {free} is free, and is kept from then on",
                target.id
            );
            ErrorView::new("port-in-use", message, hint)
        }
        (DoorError::Port(BindError::InUse { .. }) | DoorError::PortOfV6 { .. }, None) => {
            let hint = format!("end that program, or choose another port: `daypass connect {} --port PORT`", target.id);
            ErrorView::new("port-in-use", message, hint)
        }
        (
            DoorError::Port(BindError::Io { .. })
            | DoorError::Socket { .. }
            | DoorError::SocketInUse { .. }
            | DoorError::SocketPath { .. },
            _,
        ) => ErrorView::new("no-door", message, "mend what it says, then connect again"),
    }
}

pub(crate) fn no_front(target: &Target, error: &CertificateError) -> ErrorView {
    let message = format!("the gateway of `{}` cannot speak TLS: {error}", target.id);
    ErrorView::new("no-certificate", message, "compare `host` in the catalog with the endpoint RDS shows")
}

pub(crate) fn local_files(target: &Target, error: &io::Error) -> ErrorView {
    let message = format!("the files of the gateway of `{}` cannot be written: {error}", target.id);
    ErrorView::new(
        "files-unwritable",
        message,
        "make room in, or permissions for, the runtime folder and connect again",
    )
}

pub(crate) fn not_connected(target: &TargetId) -> ErrorView {
    let hint = format!("run `daypass connect {target}` first");
    ErrorView::new("not-connected", format!("`{target}` is not connected"), hint)
}

pub(crate) fn form_unknown(target: &TargetId, engine: Engine) -> ErrorView {
    let (clients, message) = match engine {
        Engine::Postgres => ("psql", format!("`{target}` is PostgreSQL, which that client does not speak")),
        Engine::Mariadb | Engine::Mysql => {
            ("mysql", format!("`{target}` is MySQL or MariaDB, which that client does not speak"))
        }
    };
    ErrorView::new("form-unknown", message, format!("ask for `--as {clients}`, `--as url` or `--as jdbc`"))
}

/// The proof login failed.
pub(crate) fn login_failed(target: &Target, user: &str, why: &TurnedAway) -> ErrorView {
    let code = code_of(why.reason);
    let endpoint = &target.endpoint;
    let detail = why.detail.as_ref().map(|detail| format!(" ({detail})")).unwrap_or_default();
    let message = format!("no login as `{user}` at {endpoint}: {}{detail}", why.message);
    let hint = match (why.reason, &why.hint) {
        (Reason::Authentication, _) => format!(
            "RDS does not say which: the token must be for {endpoint} in {}, for `{user}`, younger than 15 minutes; `{user}` needs \
             `GRANT rds_iam`, and you `rds-db:connect` on the right resource id; `daypass doctor {}` checks them",
            target.region, target.id
        ),
        (_, Some(hint)) => hint.clone(),
        (_, None) => format!("run `daypass doctor {}`, then connect again", target.id),
    };
    ErrorView::new(code, message, hint)
}

/// One client got no login, although the Gateway is open.
pub(crate) fn turned_away(why: &TurnedAway) -> ErrorView {
    let hint = why.hint.clone().unwrap_or_else(|| "connect again".to_owned());
    ErrorView::new(code_of(why.reason), why.message.clone(), hint)
}

fn code_of(reason: Reason) -> &'static str {
    match reason {
        Reason::Authentication => "login-refused",
        Reason::Client | Reason::LocalPassword | Reason::LocalUser => "client-refused",
        Reason::Credential => "no-credential",
        Reason::Database => "database-refused",
        Reason::Ended => "access-ended",
        Reason::Late => "timed-out",
        Reason::Route => "database-unreachable",
        Reason::Tls => "tls",
        Reason::TlsChain => "tls-chain",
        Reason::TlsName => "tls-name",
    }
}

/// Somebody on this computer guesses, or a client was set up with another password.
pub(crate) fn wrong_local_password(target: &Target, failures: u32) -> ErrorView {
    let id = &target.id;
    ErrorView::new(
        "wrong-local-password",
        format!("a program on this computer gave a wrong password for `{id}` {failures} times"),
        format!("if it is yours, give it the password that `daypass password {id}` prints; if not, look for it"),
    )
}

/// What connections are told when a limit ends them, and before.
pub(crate) fn ending(target: &Target, limit: BindingLimit, now: WallTime) -> Ending {
    let left = now.until(limit.expires_at);
    let (id, at) = (&target.id, clock_time(limit.expires_at));
    let (what, hint) = match limit.kind {
        LimitKind::Grant => ("your access to", format!("ask again with `daypass request {id}`")),
        LimitKind::SignIn => ("your sign-in for", "sign in again with `daypass sign-in`".to_owned()),
    };
    Ending {
        at: Instant::now() + left,
        notice: format!("{what} {id} ends at {at}"),
        cause: format!("{what} {id} ended at {at}"),
        hint,
    }
}

/// What connections are told when their Gateway closes.
pub(crate) fn closed_because(target: &Target, reason: CloseReason) -> (String, String) {
    let id = &target.id;
    match reason {
        CloseReason::Disconnected => {
            (format!("{id} was disconnected in Daypass"), format!("connect again with `daypass connect {id}`"))
        }
        CloseReason::GrantEnded => {
            (format!("your access to {id} has ended"), format!("ask again with `daypass request {id}`"))
        }
        CloseReason::Quitting => ("Daypass was ended".to_owned(), format!("start it and run `daypass connect {id}`")),
        CloseReason::SignedOut => (
            format!("the sign-in that {id} was open under has ended"),
            "sign in again with `daypass sign-in`".to_owned(),
        ),
    }
}

/// On this computer's clock, in this computer's time zone.
fn clock_time(at: WallTime) -> String {
    at.0.to_zoned(jiff::tz::TimeZone::system()).strftime("%H:%M").to_string()
}
