//! The Snapshot in words.

use std::time::Duration;

use model::{
    Gateway, Grant, Identity, LimitKind, OpeningStep, RequestState, SecretsKeptIn, Snapshot, StepTime, TargetView,
    WallTime,
};

/// Time left: minutes, and seconds in the last two minutes.
pub(crate) fn time_left(left: Duration) -> String {
    let seconds = left.as_secs();
    match (seconds / 3_600, seconds / 60 % 60) {
        (0, minutes) if minutes < 2 => format!("{seconds} s"),
        (0, minutes) => format!("{minutes} min"),
        (hours, minutes) => format!("{hours} h {minutes} min"),
    }
}

/// One line about who is signed in.
pub(crate) fn identity(snapshot: &Snapshot, now: WallTime) -> String {
    match &snapshot.identity {
        Identity::SignedOut { cause: None } => "signed out".to_owned(),
        Identity::SignedOut { cause: Some(cause) } => format!("signed out: {cause}"),
        Identity::SigningIn { identity_provider, .. } => format!("signing in at {identity_provider}"),
        Identity::SignedIn { subject, identity_provider, expires_at } => {
            format!("{subject} · {identity_provider} · {}", time_left(now.until(*expires_at)))
        }
    }
}

/// One Target's state: a mark that differs in shape, and words.
pub(crate) fn state(view: &TargetView, now: WallTime) -> (char, String) {
    match &view.gateway {
        Gateway::Open { role, connections, connection, .. } => {
            let port = connection.port;
            return ('●', format!("connected, {role}, 127.0.0.1:{port}, {connections} open{}", limit(view, now)));
        }
        Gateway::Opening { step, .. } => return ('◐', format!("connecting: {}", step_name(*step))),
        Gateway::Broken { cause, .. } => return ('◑', format!("reconnecting: {cause}")),
        Gateway::Closed { cause: Some(cause) } => return ('✕', format!("not connected: {cause}")),
        Gateway::Closing => return ('◔', "disconnecting".to_owned()),
        Gateway::Closed { cause: None } => {}
    }
    match (&view.grant, view.request.as_ref().map(|request| &request.state)) {
        (Some(Grant::Active { role, .. }), _) => ('○', format!("{role} granted{}", limit(view, now))),
        (Some(Grant::Provisioning { .. }), _) => ('◔', "approved, being put in force".to_owned()),
        (_, Some(RequestState::Pending { lapses_at, .. })) => {
            let lapse = lapses_at.map(|at| format!(", lapses in {}", time_left(now.until(at)))).unwrap_or_default();
            ('◔', format!("waiting for approval{lapse}"))
        }
        (_, Some(RequestState::Denied { by, comment })) => ('✕', denied(by.as_deref(), comment.as_deref())),
        (_, Some(RequestState::Failed { cause })) => ('✕', format!("the request failed: {cause}")),
        _ if view.entitlements.iter().any(|entitlement| entitlement.gate == model::Gate::Standing) => {
            ('○', "ready".to_owned())
        }
        _ => ('◌', "on request".to_owned()),
    }
}

/// Who denied, and what they said.
pub(crate) fn denied(by: Option<&str>, comment: Option<&str>) -> String {
    let comment = comment.map(|comment| format!(": \"{comment}\"")).unwrap_or_default();
    format!("{} denied it{comment}", by.unwrap_or("somebody"))
}

fn limit(view: &TargetView, now: WallTime) -> String {
    view.binding_limit.map_or_else(String::new, |limit| {
        let what = match limit.kind {
            LimitKind::Grant => "the grant",
            LimitKind::SignIn => "the sign-in",
        };
        format!(", {what} ends in {}", time_left(now.until(limit.expires_at)))
    })
}

/// What a step does.
pub(crate) fn step_name(step: OpeningStep) -> &'static str {
    match step {
        OpeningStep::BindPort => "take the local port",
        OpeningStep::CheckAccount => "check the account",
        OpeningStep::OpenTunnel => "open the tunnel",
        OpeningStep::ProveLogin => "log in once to prove it",
    }
}

/// A finished step and its time.
pub(crate) fn step_line(done: StepTime) -> String {
    format!("  ✓ {:<24} {:>6} ms", step_name(done.step), done.milliseconds)
}

/// The whole status.
pub(crate) fn status(snapshot: &Snapshot, now: WallTime) -> String {
    let mut lines = vec![identity(snapshot, now)];
    if let SecretsKeptIn::Memory { why } = &snapshot.secrets_kept_in {
        lines.push(format!("secrets are kept in memory only: {why}"));
    }
    lines.extend(snapshot.warnings.iter().map(|warning| format!("! {}\n    {}", warning.message, warning.hint)));
    lines.push(list(snapshot, now));
    let left = snapshot.left_sessions.of_this_computer().count();
    if left > 0 {
        lines.push(format!("{left} SSM sessions left open: `daypass sessions`"));
    }
    if !snapshot.reviews.is_empty() {
        lines.push(format!("{} to review: `daypass review`", snapshot.reviews.len()));
    }
    lines.join("\n")
}

/// One line for each Target.
pub(crate) fn list(snapshot: &Snapshot, now: WallTime) -> String {
    let width = snapshot.targets.iter().map(|view| view.target.id.as_str().len()).max().unwrap_or_default();
    let line = |view: &TargetView| {
        let (mark, words) = state(view, now);
        format!("{mark} {:<width$}  {words}", view.target.id.as_str())
    };
    snapshot.targets.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_show_only_in_the_last_two_minutes() {
        let cases = [(0, "0 s"), (119, "119 s"), (120, "2 min"), (2_520, "42 min"), (25_920, "7 h 12 min")];
        for (seconds, words) in cases {
            assert_eq!(time_left(Duration::from_secs(seconds)), words);
        }
    }
}
