//! `daypass sign-in`.

use model::{Command, Identity};

use crate::{args::SignInOptions, commands::now, failure::Failure, guest::Guest, terminal::Terminal, words};

/// Signs in: opens the identity provider's page, waits for its answer.
pub(crate) async fn run(guest: &Guest, options: SignInOptions, terminal: Terminal) -> Result<(), Failure> {
    guest.command(Command::SignIn { identity_provider: options.identity_provider }).await?;
    wait(guest, options.no_browser, terminal).await?;
    let snapshot = guest.snapshot().await?;
    terminal.data(&words::identity(&snapshot, now()), &snapshot.identity);
    Ok(())
}

/// Waits for the end of a sign-in that is under way. Ctrl-C gives it up.
pub(crate) async fn wait(guest: &Guest, no_browser: bool, terminal: Terminal) -> Result<(), Failure> {
    let mut opened = false;
    let ended = guest.follow(|snapshot| match &snapshot.identity {
        Identity::SignedIn { .. } => Some(Ok(())),
        Identity::SigningIn { authorize_url: Some(url), .. } => {
            if !std::mem::replace(&mut opened, true) {
                open_page(url, no_browser, terminal);
            }
            None
        }
        Identity::SigningIn { authorize_url: None, .. } => None,
        Identity::SignedOut { cause } => Some(Err(cause.clone().map_or_else(given_up, Failure::from))),
    });
    tokio::select! {
        ended = ended => ended?,
        _ = tokio::signal::ctrl_c() => {
            guest.command(Command::CancelSignIn).await?;
            Err(given_up())
        }
    }
}

fn given_up() -> Failure {
    Failure::new("sign-in-cancelled", "the sign-in was given up", "run `daypass sign-in` again")
}

fn open_page(url: &str, no_browser: bool, terminal: Terminal) {
    terminal.say(&format!("Open this page: {url}"));
    if !no_browser && let Err(error) = webbrowser::open(url) {
        terminal.say(&format!("no browser could be started ({error}); open the page yourself"));
    }
}
