//! From a click to Credentials.

use access::Event;
use model::{ErrorView, IdentityProviderId};

use super::Reporter;

/// Signs in; dropping the future gives it up and frees the loopback port.
pub(super) async fn run(reporter: Reporter, identity_provider: IdentityProviderId) {
    let event = match signed_in(&reporter, &identity_provider).await {
        Ok(event) => event,
        Err(cause) => Event::SignInFailed { cause },
    };
    reporter.tell(event).await;
}

async fn signed_in(reporter: &Reporter, identity_provider: &IdentityProviderId) -> Result<Event, ErrorView> {
    let shared = &reporter.shared;
    let catalog = shared.catalog()?;
    let provider = catalog.identity_provider(identity_provider).ok_or_else(|| {
        let names: Vec<&str> = catalog.identity_providers.iter().map(|entry| entry.id.as_str()).collect();
        let message = format!("the catalog has no identity provider `{identity_provider}`");
        ErrorView::new("unknown-identity-provider", message, format!("it has {}", names.join(", ")))
    })?;
    // Learns how far our clock is off before a token's times are judged by it.
    let measured = aws::measure(&shared.aws(&provider.region)?).await;
    if let Err(error) = measured {
        return Err(error.view());
    }
    let pending = shared.oidc(provider)?.begin().await.map_err(|error| error.view())?;
    reporter.tell(Event::SignInStarted { authorize_url: pending.authorize_url.clone() }).await;
    let signed_in = pending.finish().await.map_err(|error| error.view())?;
    shared.identity.adopt(shared, provider, signed_in).await
}
