//! Errors that more than one place tells, in one wording.

use model::{AccountId, ErrorView, Target};

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

pub(crate) fn port_in_use(target: &Target, error: &gateway::BindError) -> ErrorView {
    ErrorView::new(
        "port-in-use",
        format!("the gateway of `{}` has no port: {error}", target.id),
        "end that program, or give the database another `local-port` in the catalog",
    )
}

pub(crate) fn login_failed(target: &Target, user: &str, error: &gateway::LoginError) -> ErrorView {
    use gateway::LoginError;
    let endpoint = &target.endpoint;
    let (code, hint) = match error {
        LoginError::Refused { sqlstate, .. } if sqlstate == "28000" || sqlstate == "28P01" => (
            "login-refused",
            format!(
                "RDS does not say which: the token must be for {endpoint} in {}, for `{user}`, younger than 15 minutes; `{user}` needs \
                 `GRANT rds_iam`, and you `rds-db:connect` on the right resource id; `daypass doctor {}` checks them",
                target.region, target.id
            ),
        ),
        LoginError::Refused { .. } => (
            "database-refused",
            format!("compare the database `{}` and the user `{user}` in the catalog", target.database),
        ),
        LoginError::TlsName { .. } => (
            "tls-name",
            format!("write the endpoint RDS shows as `host` of `{}` in the catalog, not an alias", target.id),
        ),
        LoginError::TlsChain { .. } => (
            "tls-chain",
            "renew the file `ca-bundle` points to (AWS's global-bundle.pem); never switch the check off".to_owned(),
        ),
        LoginError::Unreachable { .. } => {
            ("database-unreachable", format!("ask whether {endpoint} runs and its security group lets the bastion in"))
        }
        LoginError::TimedOut { .. } => {
            ("timed-out", "connect again; a sleeping Aurora wakes up in half a minute".to_owned())
        }
        LoginError::Closed { .. } | LoginError::Parameters(_) | LoginError::Protocol(_) | LoginError::Tls { .. } => {
            ("login-broken", format!("run `daypass doctor {}`, then connect again", target.id))
        }
    };
    ErrorView::new(code, format!("no login as `{user}` at {endpoint}: {error}"), hint)
}
