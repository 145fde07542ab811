//! Why there is no Tunnel, or no longer one: recognised from what AWS and the SSM agent say, and told as what happened, why, and
//! what to do.

use aws::{AgentTooOld, BastionStatus};
use gateway::{EndCause, Refusal, SessionError, TunnelError};
use model::{ErrorView, Target};

const AGAIN_ON_THE_SAME_PORT: &str = "go on: the next connection opens a new tunnel on the same port";

/// Whether a session to a Target can be started through this machine or task.
pub(crate) fn can_carry(target: &Target, bastion: &BastionStatus) -> Result<(), ErrorView> {
    if let Some(why) = &bastion.offline {
        return Err(bastion_offline(target, &bastion.node, why));
    }
    match bastion.too_old_for(&target.document) {
        Some(AgentTooOld { needed, purpose }) => {
            let version = bastion.agent_version.as_deref().unwrap_or("of unknown version");
            let message = format!("the SSM agent on the bastion {} is {version}, which cannot {purpose}", bastion.node);
            Err(agent_too_old(target, &message, &format!("{needed} or newer")))
        }
        None => Ok(()),
    }
}

pub(crate) fn bastion_offline(target: &Target, node: &str, why: &str) -> ErrorView {
    ErrorView::new(
        "bastion-offline",
        format!("`{}` cannot be reached: the bastion {node} is not connected to Session Manager ({why})", target.id),
        "ask its owner whether it runs and its SSM agent is online; Daypass does not restart it",
    )
}

/// A Target without a Bastion has no sessions.
pub(crate) fn no_bastion(target: &Target) -> ErrorView {
    ErrorView::new(
        "no-bastion",
        format!("`{}` is reached without a bastion, so no session leads to it", target.id),
        "name a `bastion` for it in the catalog if this network does not reach it",
    )
}

/// The Bastion, or this network, does not get through to the database.
pub(crate) fn database_unreachable(target: &Target, cause: &str) -> ErrorView {
    let endpoint = &target.endpoint;
    ErrorView::new(
        "database-unreachable",
        format!("`{}` does not answer at {endpoint}: {cause}", target.id),
        format!(
            "ask whether {endpoint} runs and its security group lets the bastion in; `daypass doctor {}` shows what RDS says of it",
            target.id
        ),
    )
}

/// What a session's end means for the person; none when they asked for it themselves.
pub(crate) fn ended(target: &Target, cause: &EndCause) -> Option<ErrorView> {
    match cause {
        EndCause::ByService { reason } => Some(ended_by_service(target, reason)),
        EndCause::Closed => None,
        EndCause::Gone => Some(ErrorView::new(
            "session-ended",
            format!("the tunnel to `{}` ended at AWS while this computer was not connected to it", target.id),
            AGAIN_ON_THE_SAME_PORT,
        )),
        EndCause::Refused(refusal) => Some(of_no_use(target, refusal)),
    }
}

/// Why a connection or a Gateway got no Tunnel.
pub(crate) fn no_tunnel(target: &Target, error: &TunnelError) -> ErrorView {
    let none = |code: &str, cause: &str, hint: &str| {
        // What was found out here names the Target by itself.
        let named = cause.starts_with('`');
        let message = if named { cause.to_owned() } else { format!("no tunnel to `{}`: {cause}", target.id) };
        ErrorView::new(code, message, hint)
    };
    let look = format!("run `daypass doctor {}` to see which part of the way is closed", target.id);
    match error {
        TunnelError::Direct(error) => ErrorView::new(
            "database-unreachable",
            format!("this network does not reach `{}`: {error}", target.id),
            "connect the VPN that leads to it, or name a `bastion` for it in the catalog",
        ),
        TunnelError::Ended(cause) => {
            ended(target, cause).unwrap_or_else(|| none("tunnel-ended", &cause.to_string(), &look))
        }
        TunnelError::Start(SessionError::Refused { code, message }) => {
            none(code, message, &refused_hint(code, message).unwrap_or(look))
        }
        TunnelError::Start(SessionError::Unreachable { .. }) | TunnelError::Dial(_) => {
            none("aws-unreachable", &error.to_string(), "check the network, VPN and HTTPS_PROXY, then connect again")
        }
        TunnelError::Start(SessionError::Gone) | TunnelError::Closed => none("tunnel-ended", &error.to_string(), &look),
    }
}

/// The next step after AWS refused a session.
fn refused_hint(code: &str, message: &str) -> Option<String> {
    let hint = match code {
        "agent-too-old" => "ask the bastion's owner to update the SSM agent; Daypass does not change it".to_owned(),
        "bastion-offline" => {
            "ask its owner whether it runs and its SSM agent is online; Daypass does not restart it".to_owned()
        }
        "not-authorized" => permission(message),
        "no-bastion" => "name a `bastion` for it in the catalog".to_owned(),
        "not-found-at-aws" => {
            "compare `bastion`, `region` and `account` in the catalog with what runs in that account".to_owned()
        }
        "rejected-by-aws" if message.contains("remote hosts are not supported") => {
            "ask the bastion's owner to update the SSM agent to 3.1.1374.0 or newer; Daypass does not change it"
                .to_owned()
        }
        "rejected-by-aws" if message.contains("InvalidDocument") => {
            "compare `document` in the catalog with the session documents of that account and Region".to_owned()
        }
        "rejected-by-aws" if message.contains("InvalidParameters") => {
            "compare `parameters` of `document` in the catalog with those the session document defines".to_owned()
        }
        "throttled" => {
            "wait a minute, then connect again: AWS starts three sessions a second for all of you".to_owned()
        }
        _ => return None,
    };
    Some(hint)
}

/// StartSession is decided for the machine or task and for the document; the message names the one that is missing.
fn permission(message: &str) -> String {
    let after = |mark: &str| message.split_once(mark).and_then(|(_, rest)| rest.split_whitespace().next());
    let action = after("authorized to perform: ").unwrap_or("ssm:StartSession");
    let Some(arn) = after("on resource: ").map(|arn| arn.trim_end_matches(['.', ','])) else {
        return format!("ask your administrator for {action} on the bastion and on the session document");
    };
    let kind = if arn.contains(":document/") {
        "the session document"
    } else if arn.contains(":session/") {
        "your own sessions"
    } else {
        "the bastion"
    };
    format!("ask your administrator for {action} on {kind}: {arn}")
}

/// `channel_closed` carries a text for people. The texts are AWS's and the SSM agent's, matched by what does not change in them.
fn ended_by_service(target: &Target, reason: &str) -> ErrorView {
    let said = reason.trim();
    let has = |part: &str| said.to_ascii_lowercase().contains(part);
    let of = |what: &str| format!("the tunnel to `{}` {what}", target.id);
    let at = |code: &str, what: &str, hint: &str| ErrorView::new(code, of(what), hint);
    if said.is_empty() {
        let hint =
            "connect again if you still may; CloudTrail (TerminateSession) tells your administrator who ended it";
        at("session-terminated", "was ended by somebody at AWS, or by a rule of the account", hint)
    } else if has("inactivity") {
        let idle = "was ended by Session Manager because nothing passed through it for as long as the account allows (20 \
                    minutes unless set otherwise)";
        at("session-idle", idle, AGAIN_ON_THE_SAME_PORT)
    } else if has("maximum") && has("duration") {
        let long = "was ended by Session Manager at the longest duration that the account allows";
        at("session-too-long", long, AGAIN_ON_THE_SAME_PORT)
    } else if has("plugin with name port is not supported") {
        agent_too_old(target, "the SSM agent on the bastion cannot forward ports", "3.1.1374.0 or newer")
    } else if has("forwarding to ip address") && has("forbidden") {
        let hint = "write the endpoint that RDS shows as `host` in the catalog; addresses of the bastion's own network are barred";
        at("address-forbidden", &format!("was refused by the SSM agent: {said}"), hint)
    } else if has("no such host") {
        let hint = "compare `host` in the catalog with the endpoint that RDS shows, and ask whether the bastion's VPC resolves it";
        at("host-unknown", &format!("was refused by the SSM agent, which cannot look its host up: {said}"), hint)
    } else if has("unable to connect to specified port") || has("connection to destination port failed") {
        database_unreachable(target, "the bastion cannot connect to it")
    } else if has("data key") || has("kmsencryption") {
        let hint = "ask your administrator for a session document of type Port without KMS encryption for tunnels";
        at("session-encrypted", &format!("failed over its encryption: {said}"), hint)
    } else if has("handshake timed out") {
        let slow = "was given up by the SSM agent, which did not hear from this computer in time";
        at("handshake-timed-out", slow, "check the network and HTTPS_PROXY, then connect again")
    } else {
        let hint = format!("connect again; if it stays, run `daypass doctor {}`", target.id);
        at("session-ended", &format!("was ended by Session Manager: {said}"), &hint)
    }
}

fn of_no_use(target: &Target, refusal: &Refusal) -> ErrorView {
    let message = format!("no tunnel to `{}`: {refusal}", target.id);
    let (code, hint) = match refusal {
        Refusal::AgentTooOld { needed, .. } => {
            ("agent-too-old", format!("ask the bastion's owner to update the SSM agent to {needed} or newer"))
        }
        Refusal::NotPortForwarding { .. } | Refusal::UnsupportedAction { .. } => (
            "document-unfit",
            "compare `document` in the catalog: it must be of session type Port and forward a local port".to_owned(),
        ),
        Refusal::TimedOut { .. } => {
            ("handshake-timed-out", "connect again; if it stays, ask whether the bastion is overloaded".to_owned())
        }
        Refusal::NoHandshake => {
            ("agent-too-old", "ask the bastion's owner to update the SSM agent to 3.1.1374.0 or newer".to_owned())
        }
        Refusal::Malformed { .. } | Refusal::StreamBroken { .. } | Refusal::UnknownVersion { .. } => {
            ("tunnel-broken", format!("connect again; if it stays, run `daypass doctor {}`", target.id))
        }
    };
    ErrorView::new(code, message, hint)
}

fn agent_too_old(target: &Target, what: &str, needed: &str) -> ErrorView {
    ErrorView::new(
        "agent-too-old",
        format!("`{}` cannot be reached: {what}", target.id),
        format!("ask the bastion's owner to update the SSM agent to {needed}; Daypass does not change it"),
    )
}

#[cfg(test)]
mod tests {
    use model::{AccountId, Bastion, Endpoint, Engine, Environment, Region, SessionDocument, TargetId};

    use super::*;

    fn orders() -> Target {
        Target {
            id: TargetId::new("orders-prod").expect("a name"),
            engine: Engine::Postgres,
            endpoint: Endpoint { host: "orders.rds.amazonaws.com".to_owned(), port: 5432 },
            region: Region::new("eu-west-1").expect("a Region"),
            account: AccountId::new("111122223333").expect("an account"),
            database: "shop".to_owned(),
            rds_identifier: "orders-prod".to_owned(),
            environment: Environment::Production,
            bastion: Bastion::Instance("i-1".to_owned()),
            document: SessionDocument::RemoteHost,
            local_port: None,
        }
    }

    fn by_service(reason: &str) -> ErrorView {
        ended(&orders(), &EndCause::ByService { reason: reason.to_owned() }).expect("nobody here asked for it")
    }

    #[test]
    fn every_text_of_the_service_is_recognised_and_told_with_a_next_step() {
        for (reason, code, message, hint) in [
            (
                "\n\nSessionId: tim-097bc8bd07a0dee95 : Your session timed out due to inactivity and has been terminated.\n",
                "session-idle",
                "nothing passed through it",
                "same port",
            ),
            ("Your session reached its maximum duration.", "session-too-long", "longest duration", "same port"),
            ("", "session-terminated", "ended by somebody at AWS", "CloudTrail"),
            (
                "Plugin with name Port is not supported by this version of ssm agent, please update. Step name: Port",
                "agent-too-old",
                "cannot forward ports",
                "3.1.1374.0",
            ),
            (
                "Forwarding to IP address 169.254.169.254 is forbidden.",
                "address-forbidden",
                "169.254.169.254",
                "`host`",
            ),
            ("lookup orders.rds.amazonaws.com: no such host", "host-unknown", "look its host up", "VPC"),
            ("Unable to connect to specified port", "database-unreachable", "5432", "security group"),
            ("Connection to destination port failed, check SSM Agent logs.", "database-unreachable", "bastion", "runs"),
            (
                "Encountered error while initiating handshake. Fetching data key failed: AccessDenied",
                "session-encrypted",
                "data key",
                "without KMS",
            ),
            ("Encountered error. Handshake timed out. Please ensure", "handshake-timed-out", "in time", "network"),
            ("Something new", "session-ended", "Something new", "daypass doctor orders-prod"),
        ] {
            let view = by_service(reason);
            assert_eq!(view.code, code, "{reason}");
            assert!(view.message.contains("`orders-prod`") && view.message.contains(message), "{view:?}");
            assert!(view.hint.contains(hint) && !view.hint.ends_with('.'), "{view:?}");
        }
    }

    #[test]
    fn a_missing_permission_is_told_for_the_bastion_and_for_the_document() {
        let denied = |arn: &str| {
            let message = format!(
                "AWS refused StartSession: User: arn:aws:sts::1:assumed-role/JitRds/ana is not authorized to perform: \
                 ssm:StartSession on resource: {arn} because no identity-based policy allows the ssm:StartSession action"
            );
            let code = "not-authorized".to_owned();
            no_tunnel(&orders(), &TunnelError::Start(SessionError::Refused { code, message })).hint
        };
        let document = "arn:aws:ssm:eu-west-1::document/AWS-StartPortForwardingSession";
        assert_eq!(
            denied(document),
            format!("Ask your administrator for ssm:StartSession on the session document: {document}")
        );
        for bastion in ["arn:aws:ec2:eu-west-1:1:instance/i-1", "arn:aws:ecs:eu-west-1:1:task/tools/0a"] {
            assert_eq!(
                denied(bastion),
                format!("Ask your administrator for ssm:StartSession on the bastion: {bastion}")
            );
        }
    }

    #[test]
    fn an_end_that_was_asked_for_is_not_told() {
        assert_eq!(ended(&orders(), &EndCause::Closed), None);
        assert_eq!(ended(&orders(), &EndCause::Gone).map(|view| view.code), Some("session-ended".to_owned()));
    }

    #[test]
    fn an_old_agent_and_an_offline_bastion_are_told_before_a_session_starts() {
        let status = |offline: Option<&str>, version: &str| BastionStatus {
            node: "i-1".to_owned(),
            offline: offline.map(str::to_owned),
            agent_version: Some(version.to_owned()),
        };
        can_carry(&orders(), &status(None, "3.3.40.0")).expect("it can");
        let old = can_carry(&orders(), &status(None, "3.1.1188.0")).expect_err("too old");
        assert_eq!(old.code, "agent-too-old");
        assert!(old.message.contains("i-1 is 3.1.1188.0, which cannot forward to a database host"), "{old:?}");
        assert!(old.hint.contains("3.1.1374.0 or newer"), "{old:?}");
        let offline =
            can_carry(&orders(), &status(Some("its SSM agent is Inactive"), "3.3.40.0")).expect_err("offline");
        assert_eq!(offline.code, "bastion-offline");
        assert!(offline.message.contains("Inactive"), "{offline:?}");
    }
}
