//! Notifications whose buttons act.

use std::time::Duration;

use model::{Command, Decision, EndReason, ErrorView, Notice, TargetId};
use tauri::AppHandle;

use crate::{
    action::{self, Action},
    countdown,
};

/// How long buttons act. A daemon that dies says nothing, so nobody waits for it longer than this.
const BUTTONS_ACT: Duration = Duration::from_secs(15 * 60);

/// A notification as a plain value.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Telling {
    title: String,
    body: String,
    buttons: Vec<(&'static str, Action)>,
}

/// Tells the person, and does what they click.
pub(crate) fn tell(app: &AppHandle, notice: &Notice) {
    let (app, telling) = (app.clone(), telling(notice));
    tauri::async_runtime::spawn(async move {
        if let Some(action) = show(telling).await {
            action::carry_out(app, action).await;
        }
    });
}

/// Tells what went wrong with something the person just clicked.
pub(crate) async fn tell_failure(failure: &ErrorView) {
    show(Telling { title: sentence(&failure.message), body: sentence(&failure.hint), buttons: vec![] }).await;
}

/// Shows it and waits for a click, for a limited time.
async fn show(telling: Telling) -> Option<Action> {
    let mut notification = notify_rust::Notification::new();
    notification.appname("Daypass").summary(&telling.title).body(&escape(&telling.body));
    for (at, (label, _)) in telling.buttons.iter().enumerate() {
        notification.action(&at.to_string(), label);
    }
    let shown = match notification.show_async().await {
        Ok(shown) => shown,
        Err(error) => {
            tracing::warn!(%error, title = telling.title, "a notification was not shown");
            return None;
        }
    };
    if telling.buttons.is_empty() {
        return None;
    }
    let mut clicked = None;
    let answered = shown.wait_for_action_async(|response| clicked = Some(response.clone()));
    if tokio::time::timeout(BUTTONS_ACT, answered).await.is_err() {
        return None;
    }
    chosen(telling.buttons, &clicked?)
}

fn chosen(mut buttons: Vec<(&'static str, Action)>, clicked: &notify_rust::NotificationResponse) -> Option<Action> {
    let notify_rust::NotificationResponse::Action(name) = clicked else { return None };
    let at: usize = name.parse().ok()?;
    (at < buttons.len()).then(|| buttons.swap_remove(at).1)
}

fn telling(notice: &Notice) -> Telling {
    match notice {
        Notice::AccessEnded { target, reason } => {
            tell_about(format!("Access to {target} {}", over(*reason)), String::new(), vec![ask_again(target)])
        }
        Notice::EndsSoon { target, expires_at } => {
            let disconnect = ("Disconnect", Action::Ask(Command::CloseGateway { target: target.clone() }));
            let title = format!("{target}: access ends at {}", countdown::clock_time(*expires_at));
            tell_about(title, "Finish or save what you are doing.".to_owned(), vec![disconnect])
        }
        Notice::GatewayBroken { target, cause }
        | Notice::GatewayFailed { target, cause }
        | Notice::GatewayInterrupted { target, cause } => {
            failed(format!("{target}: {}", cause.message), cause, Action::ShowWindow(Some(target.clone())))
        }
        Notice::RequestApproved { target, role, by, expires_at, .. } => {
            let connect = ("Connect", Action::Ask(Command::OpenGateway { target: target.clone(), role: Some(*role) }));
            let by = by.as_deref().map(|by| format!(" by {by}")).unwrap_or_default();
            let body = format!("{role} until {}", countdown::clock_time(*expires_at));
            tell_about(format!("Access to {target} approved{by}"), body, vec![connect])
        }
        Notice::RequestDenied { target, by, comment, .. } => {
            let who = by.as_deref().unwrap_or("Somebody");
            tell_about(format!("{who} denied {target}"), comment.clone().unwrap_or_default(), vec![ask_again(target)])
        }
        Notice::RequestLapsed { target, .. } => {
            tell_about(format!("Nobody answered the request for {target}"), String::new(), vec![ask_again(target)])
        }
        Notice::RequestFailed { target, cause, .. } => {
            failed(format!("The request for {target} failed"), cause, Action::ShowWindow(Some(target.clone())))
        }
        Notice::ReviewWanted { review } => review_wanted(review),
        Notice::SessionsLeft { count } => sessions_left(*count),
        Notice::SignInFailed { cause } => failed(
            "Signing in did not work".to_owned(),
            cause,
            Action::Ask(Command::SignIn { identity_provider: None }),
        ),
        Notice::SignInNeeded { targets } => sign_in_needed(targets),
    }
}

fn over(reason: EndReason) -> &'static str {
    match reason {
        EndReason::Expired => "ended",
        EndReason::Released => "was given back",
        EndReason::Revoked => "was revoked",
    }
}

fn sign_in_needed(targets: &[TargetId]) -> Telling {
    let names: Vec<&str> = targets.iter().map(TargetId::as_str).collect();
    let purpose = if names.is_empty() { "go on".to_owned() } else { format!("keep {} open", names.join(", ")) };
    let sign_in = ("Sign in", Action::Ask(Command::SignIn { identity_provider: None }));
    tell_about(format!("Sign in again to {purpose}"), String::new(), vec![sign_in])
}

fn sessions_left(count: u32) -> Telling {
    let (title, which) = match count {
        1 => ("1 SSM session is still open".to_owned(), "It was"),
        several => (format!("{several} SSM sessions are still open"), "They were"),
    };
    let body = format!("{which} left when Daypass ended without a farewell.");
    let buttons = vec![("End", Action::Ask(Command::EndLeftSessions)), ("Details", Action::ShowWindow(None))];
    tell_about(title, body, buttons)
}

fn ask_again(target: &TargetId) -> (&'static str, Action) {
    ("Request again", Action::ShowWindow(Some(target.clone())))
}

fn review_wanted(review: &model::PendingReview) -> Telling {
    let answer = |decision| {
        Action::Ask(Command::ReviewRequest { broker_ref: review.broker_ref.clone(), decision, comment: None })
    };
    let length = countdown::spoken(&review.duration);
    let title = format!("{} asks for {} on {} for {length}", review.requester, review.role, review.target);
    let buttons = vec![
        ("Approve", answer(Decision::Approve)),
        ("Deny", answer(Decision::Deny)),
        ("Details", Action::ShowWindow(None)),
    ];
    tell_about(title, review.justification.clone(), buttons)
}

fn failed(title: String, cause: &ErrorView, next: Action) -> Telling {
    let label = if matches!(next, Action::Ask(_)) { "Try again" } else { "Details" };
    let body = if title.ends_with(&cause.message) { sentence(&cause.hint) } else { lines(cause) };
    tell_about(title, body, vec![(label, next)])
}

fn lines(cause: &ErrorView) -> String {
    format!("{} {}", sentence(&cause.message), sentence(&cause.hint))
}

fn tell_about(title: String, body: String, buttons: Vec<(&'static str, Action)>) -> Telling {
    Telling { title, body, buttons }
}

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| format!("{}{}.", first.to_uppercase(), letters.as_str())).unwrap_or_default()
}

/// Bodies are markup, and what colleagues write must not be.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use model::{PendingReview, WallTime};

    use super::*;

    #[test]
    fn a_wanted_review_says_who_asks_for_what_and_can_be_answered_at_once() {
        let review = PendingReview {
            broker_ref: "e-2".into(),
            requester: "ben".into(),
            target: "ledger-prod".into(),
            role: "read-write".into(),
            duration: "PT1H".into(),
            justification: "INC-42 stuck batch".into(),
            requested_at: WallTime::from_unix_seconds(0),
            own: false,
        };
        let told = telling(&Notice::ReviewWanted { review });
        assert_eq!(told.title, "ben asks for read-write on ledger-prod for 1 h");
        assert_eq!(told.body, "INC-42 stuck batch");
        let labels: Vec<&str> = told.buttons.iter().map(|(label, _)| *label).collect();
        assert_eq!(labels, ["Approve", "Deny", "Details"]);
        let command = Command::ReviewRequest { broker_ref: "e-2".into(), decision: Decision::Approve, comment: None };
        assert_eq!(told.buttons.first().map(|(_, action)| action), Some(&Action::Ask(command)));
    }

    #[test]
    fn a_failure_says_cause_and_next_step_once() {
        let cause = ErrorView::new("port-in-use", "port 15432 is used by postgres", "end it or choose another port");
        let target = TargetId::new("orders-prod").expect("a slug");
        let told = telling(&Notice::GatewayFailed { target, cause });
        assert_eq!(told.title, "orders-prod: port 15432 is used by postgres");
        assert_eq!(told.body, "End it or choose another port.");
    }

    #[test]
    fn only_the_button_that_was_clicked_acts() {
        let buttons = || vec![("One", Action::OpenSignInPage), ("Two", Action::ShowWindow(None))];
        let clicked = |name: &str| notify_rust::NotificationResponse::Action(name.to_owned());
        assert_eq!(chosen(buttons(), &clicked("1")), Some(Action::ShowWindow(None)));
        assert_eq!(chosen(buttons(), &clicked("2")), None);
        assert_eq!(chosen(buttons(), &clicked("default")), None);
    }

    #[test]
    fn what_colleagues_write_is_no_markup() {
        assert_eq!(escape("<a href='x'>&</a>"), "&lt;a href='x'&gt;&amp;&lt;/a&gt;");
    }
}
