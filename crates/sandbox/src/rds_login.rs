//! Who may log in to a database: a DbAuthToken that is believed, and a policy in force for its user.

use std::sync::Arc;

use serde_json::json;

use crate::cloud::Cloud;
use crate::iam::Ask;
use crate::journal::Call;
use crate::rds_front::{LoginAttempt, TokenCheck, TokenRefusal};
use crate::sigv4::{Caller, DbAuthTokenFlaw, ExpectedLogin, verify_db_auth_token};

/// IAM's answer to logins.
pub(crate) struct RdsLogin(pub(crate) Arc<Cloud>);

impl TokenCheck for RdsLogin {
    fn check(&self, attempt: &LoginAttempt) -> Result<(), TokenRefusal> {
        let cloud = &self.0;
        let login = ExpectedLogin {
            host: &attempt.endpoint_host,
            port: attempt.endpoint_port,
            region: &attempt.region,
            user: &attempt.user,
        };
        let caller = verify_db_auth_token(&attempt.token, login, &cloud.handed, attempt.now);
        let outcome = match &caller {
            Ok(caller) => authorized(cloud, caller, attempt),
            Err(flaw) => Err((refusal(flaw), flaw.why())),
        };
        let refused = outcome.as_ref().err();
        cloud.journal.write(Call {
            at: attempt.now,
            service: "rds-db".into(),
            operation: "connect".into(),
            caller: caller.ok().map(|caller| caller.arn),
            input: json!({ "Endpoint": attempt.endpoint_host, "DBUser": attempt.user }),
            error: refused.map(|(refusal, _)| refusal.code.clone()),
            message: refused.map(|(_, why)| why.clone()),
        });
        outcome.map_err(|(refusal, _)| refusal)
    }
}

fn authorized(cloud: &Cloud, caller: &Caller, attempt: &LoginAttempt) -> Result<(), (TokenRefusal, String)> {
    let resource = cloud.account.db_user_arn(&attempt.resource_id, &attempt.user);
    cloud.iam.authorize(caller, &Ask::new("rds-db:connect", resource)).map_err(|sentence| {
        let message = "not authorized to perform rds-db:connect on the DB instance";
        (TokenRefusal { code: "NotAuthorized".into(), message: message.into() }, sentence)
    })
}

fn refusal(flaw: &DbAuthTokenFlaw) -> TokenRefusal {
    let code = match flaw {
        DbAuthTokenFlaw::Expired => "ExpiredToken",
        DbAuthTokenFlaw::Invalid { .. } => "InvalidToken",
    };
    TokenRefusal { code: code.into(), message: flaw.to_string() }
}
