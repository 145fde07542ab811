//! What happens where something is missing.

use std::process::Stdio;

use crate::desk::{Desk, in_time};
use crate::{notifier::Notifier, panel::Panel};

#[tokio::test]
async fn without_a_screen_it_says_so_and_ends_with_2() {
    let desk = Desk::new().await;
    let (_sandbox, catalog) = desk.sandbox().await;
    let mut daypass = desk.daypass(&catalog);
    daypass.env_remove("DISPLAY").stderr(Stdio::piped());
    let output = in_time("the end", daypass.output()).await.expect("it was just built");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("no display is known") && said.contains("hint: "), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_tray_the_window_opens_and_the_person_is_told() {
    let desk = Desk::new().await;
    let mut notifier = Notifier::on(&desk.bus).await;
    let (_sandbox, catalog) = desk.sandbox().await;
    let _daypass = desk.daypass(&catalog).spawn().expect("it was just built");
    let told = notifier.tells("This desktop shows no tray icons").await;
    assert!(told.body.starts_with("Use the window"), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_owner_of_the_same_state_is_refused_with_3() {
    let desk = Desk::new().await;
    let panel = Panel::on(&desk.bus).await;
    let mut notifier = Notifier::on(&desk.bus).await;
    let (_sandbox, catalog) = desk.sandbox().await;
    let _first = desk.daypass(&catalog).spawn().expect("it was just built");
    panel.menu().await.line("Quit").await;
    let second = in_time("the end", desk.daypass(&catalog).stderr(Stdio::piped()).output()).await;
    let output = second.expect("it was just built");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    notifier.tells("Another Daypass is running").await;
}
