//! `daypass-sandbox browse`: what a person does in the browser, without one.

use std::io::Write as _;
use std::time::Duration;

use clap::Args;
use reqwest::Url;
use reqwest::redirect::Policy;

/// Opens the sign-in page, signs in (or declines) and follows to the application.
#[derive(Args)]
pub(crate) struct Browse {
    /// The page to open.
    url: Url,
    /// Who signs in: ana, ben or eva.
    #[arg(long = "as", value_name = "PERSON")]
    who: String,
    /// Declines instead.
    #[arg(long)]
    deny: bool,
}

/// Why the walk ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BrowseError {
    #[error("cannot open the page: {0}; is the sandbox still running?")]
    Http(#[from] reqwest::Error),
    #[error("{url} is not on loopback, and this browser signs in nowhere else")]
    NotLoopback { url: Url },
    #[error(
        "the page at {url} has no sign-in form (it answered {status}); open the page that `daypass sign-in` printed"
    )]
    NoForm { url: Url, status: u16 },
    #[error("the application answered {status} at its redirect address")]
    Refused { status: u16 },
    #[error("cannot write to the standard output: {0}")]
    Output(#[from] std::io::Error),
}

impl Browse {
    pub(crate) async fn run(self) -> Result<(), BrowseError> {
        if !is_loopback(&self.url) {
            return Err(BrowseError::NotLoopback { url: without_query(&self.url) });
        }
        let follow_on_loopback = Policy::custom(|attempt| {
            if is_loopback(attempt.url()) && attempt.previous().len() < 10 { attempt.follow() } else { attempt.stop() }
        });
        let browser = reqwest::Client::builder()
            .no_proxy()
            .redirect(follow_on_loopback)
            .timeout(Duration::from_secs(60))
            .build()?;
        let page = browser.get(self.url).send().await?;
        let (url, status) = (page.url().clone(), page.status().as_u16());
        let html = page.text().await?;
        let request =
            hidden_field(&html, "request").ok_or_else(|| BrowseError::NoForm { url: without_query(&url), status })?;
        let choice = if self.deny { ("decision", "deny") } else { ("person", self.who.as_str()) };
        let action = url.join("/sign-in").map_err(|_| BrowseError::NoForm { url: without_query(&url), status })?;
        let answer = browser.post(action).form(&[("request", request.as_str()), choice]).send().await?;
        let status = answer.status();
        writeln!(std::io::stdout(), "{} {}", status.as_u16(), without_query(answer.url()))?;
        if status.is_success() { Ok(()) } else { Err(BrowseError::Refused { status: status.as_u16() }) }
    }
}

fn is_loopback(url: &Url) -> bool {
    url.host_str().is_some_and(model::is_loopback_host)
}

/// Codes and states are nobody's business.
fn without_query(url: &Url) -> Url {
    let mut url = url.clone();
    url.set_query(None);
    url
}

/// `<input type="hidden" name="NAME" value="…">`, as the sandbox's own page writes it.
fn hidden_field(html: &str, name: &str) -> Option<String> {
    let (_, after) = html.split_once(&format!("name=\"{name}\" value=\""))?;
    after.split_once('"').map(|(value, _)| value.to_owned())
}
