//! The text a signature is made over.

use aws_lc_rs::digest;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::wire::Arrived;

/// Everything but RFC 3986's unreserved characters.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The canonical request of a call signed in its headers, or what is missing in it.
pub(super) fn call(call: &Arrived, signed_headers: &[String]) -> Result<String, String> {
    if !signed_headers.iter().any(|name| name == "host") {
        return Err("'Host' must be a 'SignedHeader' in the AWS Authorization.".into());
    }
    let mut headers = String::new();
    for name in signed_headers {
        let values: Vec<String> = call.headers.get_all(name.as_str()).iter().map(one_spaced).collect();
        if values.is_empty() {
            return Err(format!("Signed header '{name}' is missing from the request."));
        }
        headers.push_str(&format!("{name}:{}\n", values.join(",")));
    }
    let payload = hex::encode(digest::digest(&digest::SHA256, &call.body));
    let path: Vec<String> = call.uri.path().split('/').map(encoded).collect();
    let (path, query) = (path.join("/"), query(call.uri.query().unwrap_or_default(), None));
    let signed = signed_headers.join(";");
    Ok(format!("{}\n{path}\n{query}\n{headers}\n{signed}\n{payload}", call.method))
}

/// The canonical request of a presigned `GET /` without a body.
pub(super) fn presigned(host: &str, raw_query: &str, signature_field: &str) -> String {
    let payload = hex::encode(digest::digest(&digest::SHA256, b""));
    format!("GET\n/\n{}\nhost:{host}\n\nhost\n{payload}", query(raw_query, Some(signature_field)))
}

/// Fields decoded, encoded again in the one way there is, and sorted; `left_out` is not part of it.
fn query(raw: &str, left_out: Option<&str>) -> String {
    let mut fields: Vec<(String, String)> = raw
        .split('&')
        .filter(|field| !field.is_empty())
        .map(|field| field.split_once('=').unwrap_or((field, "")))
        .filter(|(name, _)| Some(*name) != left_out)
        .map(|(name, value)| (recoded(name), recoded(value)))
        .collect();
    fields.sort();
    fields.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

fn recoded(text: &str) -> String {
    encoded(&percent_decode_str(text).decode_utf8_lossy())
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

fn one_spaced(value: &axum::http::HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).split_whitespace().collect::<Vec<_>>().join(" ")
}
