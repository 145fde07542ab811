//! Who is signed in. When a sign-in ends, by hand or by time, its Gateways close, and its secrets are forgotten as soon as
//! the last of them is closed: ending an SSM session takes the credentials it was started with.

use model::{ErrorView, IdentityProviderId, Notice, WallTime};
use serde::{Deserialize, Serialize};

use crate::{Access, CloseReason, Effect, Refusal, outbox::Errand};

/// A verified person. Requests belong to one.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Subject {
    pub(crate) identity_provider: IdentityProviderId,
    pub(crate) name: String,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Identity {
    /// After a start, until a person asks for anything or the keychain has answered.
    Unrestored,
    SignedOut {
        /// Why it failed or ended, until the next sign-in.
        cause: Option<ErrorView>,
        /// Whether secrets are still to be forgotten.
        forgetting: bool,
    },
    SigningIn {
        identity_provider: IdentityProviderId,
        authorize_url: Option<String>,
    },
    SignedIn {
        who: Subject,
        /// On AWS's clock.
        expires_at: WallTime,
    },
}

impl Access {
    pub(crate) fn begin_sign_in(&mut self, named: Option<IdentityProviderId>) -> Result<(), Refusal> {
        let wanted = self.identity_provider(named)?;
        match &self.identity {
            Identity::SignedIn { who, .. } => return Err(Refusal::AlreadySignedIn { subject: who.name.clone() }),
            Identity::SigningIn { identity_provider, .. } if *identity_provider == wanted => return Ok(()),
            Identity::SigningIn { .. } => self.cancel_sign_in(),
            Identity::SignedOut { forgetting: true, .. } => self.forget_secrets(),
            Identity::SignedOut { forgetting: false, .. } | Identity::Unrestored => {}
        }
        self.identity = Identity::SigningIn { identity_provider: wanted.clone(), authorize_url: None };
        self.ask(Errand::SignIn, Effect::BeginSignIn { identity_provider: wanted });
        Ok(())
    }

    fn identity_provider(&self, named: Option<IdentityProviderId>) -> Result<IdentityProviderId, Refusal> {
        let offered: Vec<_> = self.catalog.identity_providers.iter().map(|provider| provider.id.clone()).collect();
        match (named, offered.as_slice()) {
            (_, []) => Err(Refusal::NoIdentityProvider),
            (None, [only]) => Ok(only.clone()),
            (None, _) => Err(Refusal::IdentityProviderNotNamed { offered }),
            (Some(named), _) if offered.contains(&named) => Ok(named),
            (Some(identity_provider), _) => Err(Refusal::UnknownIdentityProvider { identity_provider, offered }),
        }
    }

    pub(crate) fn cancel_sign_in(&mut self) {
        if matches!(self.identity, Identity::SigningIn { .. }) {
            self.outbox.abandon(&Errand::SignIn);
            self.identity = Identity::SignedOut { cause: None, forgetting: false };
            self.emit(Effect::AbandonSignIn);
        }
    }

    pub(crate) fn sign_out(&mut self) {
        self.cancel_sign_in();
        self.leave(None);
    }

    pub(crate) fn sign_in_started(&mut self, url: String) {
        if let Identity::SigningIn { authorize_url, .. } = &mut self.identity {
            *authorize_url = Some(url);
        }
    }

    /// `asked`: it answers the sign-in under way. Otherwise it was restored at start, or renewed without a person.
    pub(crate) fn signed_in(&mut self, asked: bool, who: Subject, expires_at: WallTime) {
        match &self.identity {
            Identity::SignedOut { .. } => return,
            Identity::SigningIn { .. } if !asked => return,
            Identity::SignedIn { who: current, expires_at: until } if *current == who && *until == expires_at => return,
            Identity::SignedIn { who: current, .. } if *current == who => {}
            Identity::SignedIn { .. } => self.withdraw_person(),
            Identity::SigningIn { .. } | Identity::Unrestored => self.outbox.abandon_unless(is_of_gateway_or_sign_in),
        }
        self.identity = Identity::SignedIn { who, expires_at };
        if !self.clock.has_passed(expires_at) {
            let until = self.clock.to_local(expires_at);
            self.ask(Errand::Reviews, Effect::WatchReviews { until });
            self.ask(Errand::Sessions, Effect::WatchSessions { until });
        }
    }

    pub(crate) fn sign_in_failed(&mut self, asked: bool, cause: ErrorView) {
        match &self.identity {
            Identity::SignedOut { .. } => {}
            Identity::SigningIn { .. } if asked => {
                self.outbox.abandon(&Errand::SignIn);
                self.identity = Identity::SignedOut { cause: Some(cause.clone()), forgetting: false };
                self.outbox.tell(Notice::SignInFailed { cause });
            }
            Identity::SigningIn { .. } => {}
            Identity::Unrestored => self.identity = Identity::SignedOut { cause: Some(cause), forgetting: false },
            Identity::SignedIn { .. } => self.end_sign_in(Some(cause)),
        }
    }

    /// The sign-in ends by itself: one notice names all Gateways that close with it.
    pub(crate) fn expire_sign_in(&mut self) {
        if let Identity::SignedIn { expires_at, .. } = self.identity
            && self.clock.has_passed(expires_at)
        {
            self.end_sign_in(None);
        }
    }

    pub(crate) fn forget_when_closed(&mut self) {
        if matches!(self.identity, Identity::SignedOut { forgetting: true, .. }) && self.all_gateways_are_closed() {
            self.forget_secrets();
        }
    }

    /// The person who can act now.
    pub(crate) fn who(&self) -> Option<&Subject> {
        match &self.identity {
            Identity::SignedIn { who, .. } => Some(who),
            Identity::SignedOut { .. } | Identity::SigningIn { .. } | Identity::Unrestored => None,
        }
    }

    pub(crate) fn signed_in_to(&self, asked: &str) -> Result<&Subject, Refusal> {
        self.who().ok_or_else(|| Refusal::NotSignedIn { asked: asked.to_owned() })
    }

    fn end_sign_in(&mut self, cause: Option<ErrorView>) {
        let targets = self.live_targets();
        self.leave(cause);
        if !targets.is_empty() {
            self.outbox.tell(Notice::SignInNeeded { targets });
        }
    }

    fn leave(&mut self, cause: Option<ErrorView>) {
        self.withdraw_person();
        self.identity = Identity::SignedOut { cause, forgetting: true };
    }

    /// What the person alone was entitled to stops. Answers that are facts about requests are still heard.
    fn withdraw_person(&mut self) {
        for target in self.live_targets() {
            self.close(&target, CloseReason::SignedOut);
        }
        self.reviews.list.clear();
        self.forget_left_sessions();
        self.outbox.abandon_unless(is_fact_or_closing);
    }

    fn forget_secrets(&mut self) {
        if let Identity::SignedOut { forgetting, .. } = &mut self.identity {
            *forgetting = false;
        }
        self.emit(Effect::ForgetSecrets);
    }
}

fn is_of_gateway_or_sign_in(errand: &Errand) -> bool {
    match errand {
        Errand::Close(_) | Errand::Open(_) | Errand::SignIn => true,
        Errand::End(_)
        | Errand::EndSession(_)
        | Errand::Place(_)
        | Errand::Review(_)
        | Errand::Reviews
        | Errand::Sessions
        | Errand::Watch(_)
        | Errand::Withdraw(_) => false,
    }
}

fn is_fact_or_closing(errand: &Errand) -> bool {
    match errand {
        Errand::Close(_) | Errand::End(_) | Errand::EndSession(_) | Errand::Place(_) | Errand::Withdraw(_) => true,
        Errand::Open(_)
        | Errand::Review(_)
        | Errand::Reviews
        | Errand::Sessions
        | Errand::SignIn
        | Errand::Watch(_) => false,
    }
}
