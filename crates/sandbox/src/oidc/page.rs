//! What a person sees in the browser.

use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};

use crate::account::Person;
use crate::xml::escaped;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:24rem;margin:4rem auto;padding:0 1rem;color-scheme:light dark}\
                     h1{font-size:1.25rem}button{font:inherit;display:block;width:100%;margin:.5rem 0;padding:.75rem;\
                     text-align:left;border:1px solid #8888;border-radius:.5rem;background:transparent;cursor:pointer}\
                     small{display:block;opacity:.7}";

/// The page that asks who it is. Everybody here is made up, so there is no password.
pub(super) fn sign_in(request: &str, people: &[Person]) -> Response {
    let buttons: String = people
        .iter()
        .map(|person| {
            let (short, name, email) = (escaped(person.short), escaped(person.name), escaped(person.email));
            format!("<button name=\"person\" value=\"{short}\">{name}<small>{email}</small></button>")
        })
        .collect();
    let request = escaped(request);
    let body = format!(
        "<h1>Sign in to Acme (sandbox)</h1><p>Daypass wants to know who you are.</p>\
         <form method=\"post\" action=\"/sign-in\"><input type=\"hidden\" name=\"request\" value=\"{request}\">{buttons}\
         <button name=\"decision\" value=\"deny\">Deny</button></form>"
    );
    page(StatusCode::OK, "Sign in", &body)
}

pub(super) fn error(text: &str) -> Response {
    page(StatusCode::BAD_REQUEST, "Cannot sign in", &format!("<h1>Cannot sign in</h1><p>{}</p>", escaped(text)))
}

fn page(status: StatusCode, title: &str, body: &str) -> Response {
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title><style>{STYLE}</style></head>\
         <body>{body}</body></html>"
    );
    // The form's answer redirects to the application's loopback listener, which form-action counts too.
    let policy =
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self' http://127.0.0.1:*; frame-ancestors 'none'";
    let headers =
        [("content-security-policy", policy), ("cache-control", "no-store"), ("referrer-policy", "no-referrer")];
    (status, headers, Html(html)).into_response()
}
