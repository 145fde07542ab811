//! What a caller can branch on when AWS does not do what it was asked.

use std::error::Error;

use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use model::ErrorView;

/// A call that AWS did not carry out.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AwsError {
    /// This computer's clock is off, even after correcting by what was measured.
    #[error("AWS refused {operation}: this computer's clock is off by {seconds} s ({message})")]
    ClockSkewed {
        /// Which call.
        operation: &'static str,
        /// How far AWS is ahead, as measured.
        seconds: i32,
        /// AWS's words.
        message: String,
    },
    /// The Credentials or the IdToken are past their end.
    #[error("AWS refused {operation}: {message}")]
    CredentialsExpired {
        /// Which call.
        operation: &'static str,
        /// AWS's words, or ours when the call was not even sent.
        message: String,
    },
    /// AWS does not know the Credentials.
    #[error("AWS refused {operation}: {message}")]
    CredentialsUnknown {
        /// Which call.
        operation: &'static str,
        /// AWS's words.
        message: String,
    },
    /// A policy does not allow it.
    #[error("AWS refused {operation}: {message}")]
    NotAuthorized {
        /// Which call.
        operation: &'static str,
        /// The IAM action that is missing: `ssm:StartSession`.
        action: Option<String>,
        /// The ARN it is missing on.
        resource: Option<String>,
        /// AWS's words.
        message: String,
    },
    /// There is no such thing.
    #[error("AWS knows no {what}")]
    NotFound {
        /// What was looked for, with its name.
        what: String,
    },
    /// An endpoint that would carry credentials in the clear.
    #[error("the AWS endpoint {endpoint} is neither https nor on this computer")]
    PlainEndpoint {
        /// The endpoint as given.
        endpoint: String,
    },
    /// Any other refusal.
    #[error("AWS refused {operation} with {code}: {message}")]
    Rejected {
        /// Which call.
        operation: &'static str,
        /// AWS's error code.
        code: String,
        /// AWS's words.
        message: String,
    },
    /// The bastion has no connection to Session Manager.
    #[error("the bastion {target} is not connected to Session Manager")]
    TargetNotConnected {
        /// The instance.
        target: String,
    },
    /// Too many calls, after waiting and trying again.
    #[error("AWS is asked too often for {operation}: {message}")]
    Throttled {
        /// Which call.
        operation: &'static str,
        /// AWS's words.
        message: String,
    },
    /// No answer.
    #[error("{endpoint} does not answer: {cause}")]
    Unreachable {
        /// The address asked.
        endpoint: String,
        /// What the network said.
        cause: String,
    },
    /// An answer that is not AWS's, or lacks what it must have.
    #[error("the answer to {operation} is not AWS's: {cause}")]
    WrongAnswer {
        /// Which call.
        operation: &'static str,
        /// What is wrong with it.
        cause: String,
    },
}

impl AwsError {
    /// The error as a person reads it.
    #[must_use]
    pub fn view(&self) -> ErrorView {
        ErrorView::new(self.code(), self.to_string(), self.hint())
    }

    /// Whether the same call may succeed later with nothing done about it.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        const TRANSIENT: [&str; 5] = [
            "IDPCommunicationError",
            "InternalFailure",
            "InternalServerError",
            "InternalServiceError",
            "ServiceUnavailable",
        ];
        match self {
            Self::Throttled { .. } | Self::Unreachable { .. } | Self::WrongAnswer { .. } => true,
            Self::Rejected { code, .. } => TRANSIENT.iter().any(|transient| code.starts_with(transient)),
            Self::ClockSkewed { .. }
            | Self::CredentialsExpired { .. }
            | Self::CredentialsUnknown { .. }
            | Self::NotAuthorized { .. }
            | Self::NotFound { .. }
            | Self::PlainEndpoint { .. }
            | Self::TargetNotConnected { .. } => false,
        }
    }

    /// Whether AWS refused with an error code that begins with `code`.
    pub(crate) fn is_rejected_with(&self, code: &str) -> bool {
        matches!(self, Self::Rejected { code: actual, .. } if actual.starts_with(code))
    }

    fn code(&self) -> &'static str {
        match self {
            Self::ClockSkewed { .. } => "clock-skewed",
            Self::CredentialsExpired { .. } => "credentials-expired",
            Self::CredentialsUnknown { .. } => "credentials-unknown",
            Self::NotAuthorized { .. } => "not-authorized",
            Self::NotFound { .. } => "not-found-at-aws",
            Self::PlainEndpoint { .. } => "plain-endpoint",
            Self::Rejected { .. } => "rejected-by-aws",
            Self::TargetNotConnected { .. } => "bastion-offline",
            Self::Throttled { .. } => "throttled",
            Self::Unreachable { .. } => "aws-unreachable",
            Self::WrongAnswer { .. } => "not-aws",
        }
    }

    fn hint(&self) -> String {
        match self {
            Self::ClockSkewed { .. } => "Set this computer's clock by the network, then try again".into(),
            Self::CredentialsExpired { .. } => "Sign in again: `daypass sign-in`".into(),
            Self::CredentialsUnknown { .. } => {
                "Sign in again; if it stays, ask whether the Region is enabled in the account of the catalog's role"
                    .into()
            }
            Self::NotAuthorized { action, resource, .. } => permission_hint(action.as_deref(), resource.as_deref()),
            Self::NotFound { .. } => {
                "Compare the name, the Region and the account in the catalog with the AWS console".into()
            }
            Self::PlainEndpoint { .. } => "Write https:// in the catalog's `[aws] endpoint`, or leave it out".into(),
            Self::Rejected { code, message, .. } => rejection_hint(code, message).into(),
            Self::TargetNotConnected { .. } => {
                "Ask its owner whether the instance runs and its SSM agent is online; nothing was changed".into()
            }
            Self::Throttled { .. } => "Wait a minute, then try again".into(),
            Self::Unreachable { .. } => "Check the network, VPN and HTTPS_PROXY, then try again".into(),
            Self::WrongAnswer { .. } => {
                "Look for a proxy or a sign-in page of the network in between, then try again".into()
            }
        }
    }
}

fn permission_hint(action: Option<&str>, resource: Option<&str>) -> String {
    match (action, resource) {
        (Some(action), Some(resource)) => format!("Ask the administrator to allow {action} on {resource}"),
        (Some(action), None) => format!("Ask the administrator to allow {action}"),
        (None, _) => {
            "Ask the administrator to compare the role's trust policy with your sign-in (audience, subject)".into()
        }
    }
}

/// The identity provider's half of the table in the documentation of AssumeRoleWithWebIdentity.
fn rejection_hint(code: &str, message: &str) -> &'static str {
    match code {
        "InvalidIdentityToken" if message.contains("audience") => {
            "Ask the administrator to add the catalog's client-id to the OIDC provider in IAM"
        }
        "InvalidIdentityToken" if message.contains("No OpenIDConnect provider") => {
            "Ask the administrator to create the OIDC provider in IAM with exactly the catalog's issuer"
        }
        "InvalidIdentityToken" if message.contains("verification key") => {
            "Ask the administrator to make the issuer's keys (JWKS) reachable from AWS"
        }
        "InvalidIdentityToken" | "IDPRejectedClaim" => {
            "Sign in again; if it stays, ask the administrator of the identity provider"
        }
        "IDPCommunicationError" => "Try again in a minute: AWS could not reach the identity provider",
        code if code.starts_with("DecryptionFailure") => {
            "Ask the administrator whether the KMS key of the secret is enabled"
        }
        code if code.starts_with("InvalidRequest") && message.contains("marked for deletion") => {
            "Ask the administrator to restore the secret, or to name another one in the catalog"
        }
        code if code.starts_with("InvalidParameter") && message.contains("name or ARN") => {
            "Correct the name of the secret in the catalog"
        }
        code if code.starts_with("InternalServerError")
            || code.starts_with("InternalServiceError")
            || code.starts_with("ServiceUnavailable") =>
        {
            "Try again in a few minutes: AWS itself has a problem"
        }
        "ValidationError" if message.contains("MaxSessionDuration") => {
            "Ask the administrator to raise the role's maximum session duration"
        }
        _ => "Run `daypass doctor` and pass its output on to the administrator",
    }
}

/// Sorts what the SDK says into what a caller can branch on.
pub(crate) fn classify<E, R>(operation: &'static str, endpoint: &str, seconds: i32, error: &SdkError<E, R>) -> AwsError
where
    E: ProvideErrorMetadata + Error + 'static,
    R: std::fmt::Debug + 'static,
{
    match error {
        SdkError::ServiceError(refusal) => {
            let (code, message) = (refusal.err().code(), refusal.err().message().unwrap_or_default());
            match code {
                Some(code) => refused(operation, seconds, code, message),
                None => wrong_answer(operation, "it has no error code".into()),
            }
        }
        SdkError::TimeoutError(_) => unreachable(endpoint, "no answer in time".into()),
        SdkError::DispatchFailure(failure) if failure.is_timeout() => unreachable(endpoint, "no answer in time".into()),
        SdkError::DispatchFailure(failure) => {
            let cause = failure.as_connector_error().map_or_else(|| "no connection".into(), |e| chain(e));
            unreachable(endpoint, cause)
        }
        SdkError::ResponseError(_) => wrong_answer(operation, chain(error)),
        SdkError::ConstructionFailure(_) | _ => {
            AwsError::Rejected { operation, code: "InvalidRequest".into(), message: chain(error) }
        }
    }
}

pub(crate) fn refused(operation: &'static str, seconds: i32, code: &str, message: &str) -> AwsError {
    let message = message.to_owned();
    match code.trim_end_matches("Exception") {
        "RequestTimeTooSkewed" | "RequestExpired" => AwsError::ClockSkewed { operation, seconds, message },
        "SignatureDoesNotMatch" | "InvalidSignature" if is_about_time(&message) => {
            AwsError::ClockSkewed { operation, seconds, message }
        }
        "ExpiredToken" => AwsError::CredentialsExpired { operation, message },
        "InvalidClientTokenId" | "UnrecognizedClient" | "InvalidAccessKeyId" | "MissingAuthenticationToken" => {
            AwsError::CredentialsUnknown { operation, message }
        }
        "AccessDenied" | "UnauthorizedOperation" | "AuthorizationError" => {
            let (action, resource) = named_in(&message);
            AwsError::NotAuthorized { operation, action, resource, message }
        }
        "TargetNotConnected" => AwsError::TargetNotConnected { target: message },
        "Throttling" | "ThrottledException" | "RequestLimitExceeded" | "TooManyRequests" | "RequestThrottled" => {
            AwsError::Throttled { operation, message }
        }
        _ => AwsError::Rejected { operation, code: code.to_owned(), message },
    }
}

fn is_about_time(message: &str) -> bool {
    ["Signature expired", "Signature not yet current", "skewed"].iter().any(|part| message.contains(part))
}

/// "User: ARN is not authorized to perform: ACTION on resource: ARN because …"
fn named_in(message: &str) -> (Option<String>, Option<String>) {
    let word_after = |mark: &str| {
        let (_, rest) = message.split_once(mark)?;
        let word = rest.split_whitespace().next()?;
        Some(word.trim_end_matches(['.', ',']).to_owned())
    };
    let action = word_after("authorized to perform: ").or_else(|| word_after("authorized to perform "));
    (action, word_after("on resource: "))
}

pub(crate) fn unreachable(endpoint: &str, cause: String) -> AwsError {
    AwsError::Unreachable { endpoint: endpoint.to_owned(), cause }
}

pub(crate) fn wrong_answer(operation: &'static str, cause: String) -> AwsError {
    AwsError::WrongAnswer { operation, cause }
}

/// An error and what caused it, in one line, without repetitions.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut texts = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !texts.iter().any(|known| known.contains(&text)) {
            texts.push(text);
        }
        cause = error.source();
    }
    texts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_permission_that_is_missing() {
        let message = "User: arn:aws:sts::111122223333:assumed-role/JitRds/ana is not authorized to perform: ssm:StartSession on \
                       resource: arn:aws:ec2:eu-west-1:111122223333:instance/i-1 because no identity-based policy allows the action";
        let error = refused("StartSession", 0, "AccessDeniedException", message);
        let hint = error.view().hint;
        assert_eq!(
            hint,
            "Ask the administrator to allow ssm:StartSession on arn:aws:ec2:eu-west-1:111122223333:instance/i-1"
        );
        let trust = refused(
            "AssumeRoleWithWebIdentity",
            0,
            "AccessDenied",
            "Not authorized to perform sts:AssumeRoleWithWebIdentity",
        );
        assert_eq!(trust.view().hint, "Ask the administrator to allow sts:AssumeRoleWithWebIdentity");
    }

    #[test]
    fn every_code_is_sorted() {
        let sorted = |code: &str, message: &str| refused("Op", 600, code, message).code();
        for (code, message, expected) in [
            ("ExpiredTokenException", "The security token included in the request is expired", "credentials-expired"),
            ("ExpiredToken", "", "credentials-expired"),
            ("UnrecognizedClientException", "", "credentials-unknown"),
            ("InvalidClientTokenId", "", "credentials-unknown"),
            ("SignatureDoesNotMatch", "Signature expired: 20261122T1 is now earlier than 20261122T2", "clock-skewed"),
            ("InvalidSignatureException", "Signature not yet current: 1 is still later than 2", "clock-skewed"),
            ("InvalidSignatureException", "The request signature we calculated does not match", "rejected-by-aws"),
            ("RequestTimeTooSkewed", "", "clock-skewed"),
            ("ThrottlingException", "Rate exceeded", "throttled"),
            ("Throttling", "Rate exceeded", "throttled"),
            ("TargetNotConnected", "i-1 is not connected.", "bastion-offline"),
            ("InvalidIdentityToken", "Incorrect token audience", "rejected-by-aws"),
        ] {
            assert_eq!(sorted(code, message), expected, "{code}: {message}");
        }
    }

    #[test]
    fn every_error_has_a_next_step_without_a_full_stop() {
        let message = String::from("x");
        for error in [
            refused("Op", 0, "ExpiredToken", ""),
            refused("Op", 0, "InvalidIdentityToken", "Incorrect token audience"),
            refused("Op", 0, "InvalidIdentityToken", "No OpenIDConnect provider found in your account for https://x"),
            AwsError::NotFound { what: message.clone() },
            AwsError::PlainEndpoint { endpoint: message.clone() },
            AwsError::Unreachable { endpoint: message.clone(), cause: message },
        ] {
            let view = error.view();
            assert!(!view.hint.is_empty() && !view.hint.ends_with('.'), "{view:?}");
        }
    }
}
