//! The identity provider's page. It opens only because a person just clicked in this shell.

use model::{ErrorView, Identity};
use tauri::AppHandle;
use tauri_plugin_opener::OpenerExt as _;

/// The page to open now: once for each sign-in that was asked for here, as soon as its address is known.
pub(crate) fn page_to_open(asked_here: &mut bool, identity: &Identity) -> Option<String> {
    match identity {
        Identity::SigningIn { authorize_url: Some(url), .. } => std::mem::take(asked_here).then(|| url.clone()),
        Identity::SignedIn { .. } => {
            *asked_here = false;
            None
        }
        Identity::SigningIn { authorize_url: None, .. } | Identity::SignedOut { .. } => None,
    }
}

/// Opens the page of the sign-in that is under way.
pub(crate) fn open_again(app: &AppHandle, identity: &Identity) -> Result<(), ErrorView> {
    match identity {
        Identity::SigningIn { authorize_url: Some(url), .. } => open(app, url),
        Identity::SigningIn { .. } | Identity::SignedIn { .. } | Identity::SignedOut { .. } => {
            Err(ErrorView::new("no-sign-in", "no sign-in is under way", "sign in first"))
        }
    }
}

/// Opens a page in the person's browser.
pub(crate) fn open(app: &AppHandle, url: &str) -> Result<(), ErrorView> {
    let cannot = |why: String| ErrorView::new("no-browser", why, "run `daypass sign-in` and open the page it prints");
    if !is_web_page(url) {
        return Err(cannot("the identity provider's page is neither https:// nor on this computer".to_owned()));
    }
    app.opener().open_url(url, None::<&str>).map_err(|error| cannot(format!("no browser could be opened: {error}")))
}

/// A desktop opens programs for other addresses; the identity provider's configuration must not choose one.
fn is_web_page(url: &str) -> bool {
    let loopback = ["http://127.0.0.1", "http://localhost", "http://[::1]"];
    let on_loopback = |url: &str| {
        loopback
            .iter()
            .any(|start| url.strip_prefix(start).is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '/'])))
    };
    url.starts_with("https://") || on_loopback(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_opens_once_and_only_for_a_click_in_this_shell() {
        let mut asked_here = true;
        assert_eq!(page_to_open(&mut asked_here, &signing_in(None)), None, "its address is not known yet");
        assert_eq!(page_to_open(&mut asked_here, &signing_in(Some("https://id"))), Some("https://id".to_owned()));
        assert_eq!(page_to_open(&mut asked_here, &signing_in(Some("https://id"))), None, "it is open already");
        let mut asked_elsewhere = false;
        assert_eq!(
            page_to_open(&mut asked_elsewhere, &signing_in(Some("https://id"))),
            None,
            "the command line opened its own"
        );
    }

    #[test]
    fn only_web_pages_are_opened() {
        for page in [
            "https://id.acme.dev/authorize?x=1",
            "http://127.0.0.1:4567/authorize",
            "http://localhost:1/",
            "http://[::1]:9/",
        ] {
            assert!(is_web_page(page), "{page}");
        }
        for other in [
            "http://id.acme.dev/",
            "file:///etc/passwd",
            "http://127.0.0.1.evil.dev/",
            "http://localhost@evil.dev/",
            "calc",
        ] {
            assert!(!is_web_page(other), "{other}");
        }
    }

    fn signing_in(url: Option<&str>) -> Identity {
        let identity_provider = model::IdentityProviderId::new("acme").expect("a slug");
        Identity::SigningIn { identity_provider, authorize_url: url.map(str::to_owned) }
    }
}
