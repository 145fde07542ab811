//! The two wire formats of the AWS services spoken here: JSON 1.1 (Secrets Manager, Systems Manager) and Query with XML answers (STS, RDS).

use std::borrow::Cow;
use std::collections::BTreeMap;

use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::xml::Xml;

/// How a service words its answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Protocol {
    /// `X-Amz-Target` and JSON bodies.
    Json,
    /// Form bodies and XML answers in this namespace.
    Query { namespace: &'static str },
}

/// A request as it arrived, before anybody is trusted.
pub(crate) struct Arrived {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Arrived {
    /// A header as text; none when absent or not text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The fields of a form body.
    pub(crate) fn form(&self) -> BTreeMap<String, String> {
        url::form_urlencoded::parse(&self.body).into_owned().collect()
    }
}

/// A refusal as AWS words it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    pub(crate) code: Cow<'static, str>,
    pub(crate) message: String,
}

impl ApiError {
    /// 400 with this code.
    pub(crate) fn new(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code: code.into(), message: message.into() }
    }

    pub(crate) fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// The same code in both protocols, but Query adds no `Exception` and answers 403.
    pub(crate) fn access_denied(protocol: Protocol, message: impl Into<String>) -> Self {
        match protocol {
            Protocol::Json => Self::new("AccessDeniedException", message),
            Protocol::Query { .. } => Self::new("AccessDenied", message).with_status(StatusCode::FORBIDDEN),
        }
    }

    pub(crate) fn validation(protocol: Protocol, message: impl Into<String>) -> Self {
        match protocol {
            Protocol::Json => Self::new("ValidationException", message),
            Protocol::Query { .. } => Self::new("ValidationError", message),
        }
    }

    pub(crate) fn into_response(self, protocol: Protocol, request_id: &str) -> Response {
        match protocol {
            Protocol::Json => self.json(request_id),
            Protocol::Query { namespace } => self.xml(namespace, request_id),
        }
    }

    fn json(self, request_id: &str) -> Response {
        // What the service's front answers spells `message`; what an operation models spells `Message`.
        const FRONT: [&str; 7] = [
            "ExpiredTokenException",
            "IncompleteSignatureException",
            "InvalidSignatureException",
            "MissingAuthenticationTokenException",
            "ServiceUnavailableException",
            "ThrottlingException",
            "UnrecognizedClientException",
        ];
        let spelling = if FRONT.contains(&self.code.as_ref()) { "message" } else { "Message" };
        let body = json!({ "__type": self.code, spelling: self.message }).to_string();
        let headers = [
            ("content-type", "application/x-amz-json-1.1"),
            ("x-amzn-errortype", self.code.as_ref()),
            ("x-amzn-requestid", request_id),
        ];
        (self.status, headers, body).into_response()
    }

    fn xml(self, namespace: &str, request_id: &str) -> Response {
        let blame = if self.status.is_server_error() { "Receiver" } else { "Sender" };
        let body = Xml::document("ErrorResponse", namespace, |xml| {
            xml.nest("Error", |xml| {
                xml.text("Type", blame).text("Code", &self.code).text("Message", &self.message);
            });
            xml.text("RequestId", request_id);
        });
        (self.status, [("content-type", "text/xml"), ("x-amzn-requestid", request_id)], body).into_response()
    }
}

/// What an operation answered.
pub(crate) enum Answer {
    Json(Value),
    /// The elements inside `<{operation}Result>`.
    Xml(Xml),
}

impl Answer {
    pub(crate) fn into_response(self, protocol: Protocol, operation: &str, request_id: &str) -> Response {
        match self {
            Self::Json(body) => {
                let headers = [("content-type", "application/x-amz-json-1.1"), ("x-amzn-requestid", request_id)];
                (headers, body.to_string()).into_response()
            }
            Self::Xml(result) => {
                let namespace = match protocol {
                    Protocol::Json => "",
                    Protocol::Query { namespace } => namespace,
                };
                let body = Xml::document(&format!("{operation}Response"), namespace, |xml| {
                    xml.wrap(&format!("{operation}Result"), result);
                    xml.nest("ResponseMetadata", |xml| {
                        xml.text("RequestId", request_id);
                    });
                });
                ([("content-type", "text/xml"), ("x-amzn-requestid", request_id)], body).into_response()
            }
        }
    }
}
