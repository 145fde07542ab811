//! The whole main job from the tray's menu alone.

use std::process::Stdio;

use ipc::{Client, SocketPath};
use model::{Command, RoleName, TargetId};
use tokio::process::Child;

use crate::{
    clipboard::Copied,
    desk::{Desk, in_time},
    notifier::Notifier,
    panel::{Line, Menu, Panel},
    xfce::XfcePanel,
};

#[tokio::test(flavor = "multi_thread")]
async fn from_the_tray_one_signs_in_connects_queries_disconnects_and_quits() {
    let desk = Desk::new().await;
    let panel = Panel::on(&desk.bus).await;
    let _notifier = Notifier::on(&desk.bus).await;
    let (sandbox, catalog) = desk.sandbox().await;
    let mut daypass = desk.daypass(&catalog).spawn().expect("it was just built");
    let menu = panel.menu().await;
    signs_in(&desk, &menu).await;

    connects_and_queries(&desk, &menu).await;
    disconnects_and_quits(&menu, &mut daypass).await;
    assert_eq!(sandbox.open_sessions(), Vec::<String>::new(), "every tunnel's session is ended");
    assert!(!socket(&desk).as_path().exists(), "no socket is left behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn asked_to_end_by_the_system_it_ends_its_sessions_first() {
    let desk = Desk::new().await;
    let panel = Panel::on(&desk.bus).await;
    let _notifier = Notifier::on(&desk.bus).await;
    let (sandbox, catalog) = desk.sandbox().await;
    let mut daypass = desk.daypass(&catalog).spawn().expect("it was just built");
    let menu = panel.menu().await;
    signs_in(&desk, &menu).await;
    connects_and_queries(&desk, &menu).await;
    assert_eq!(sandbox.open_sessions().len(), 1);

    let id = daypass.id().expect("it runs").to_string();
    let mut kill = desk.command("kill");
    assert!(kill.args(["-s", "TERM", &id]).status().await.expect("every system has kill").success());
    let ended = in_time("the end", daypass.wait()).await.expect("it can be waited for");
    assert_eq!(ended.code(), Some(0), "it is a wish, not an accident");
    assert_eq!(sandbox.open_sessions(), Vec::<String>::new(), "the session is ended with it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_granted_access_counts_down_in_the_open_menu_and_is_told() {
    let desk = Desk::new().await;
    let panel = Panel::on(&desk.bus).await;
    let mut notifier = Notifier::on(&desk.bus).await;
    let (_sandbox, catalog) = desk.sandbox().await;
    let _daypass = desk.daypass(&catalog).spawn().expect("it was just built");
    let menu = panel.menu().await;
    signs_in(&desk, &menu).await;
    menu.line("◌ orders-prod · request access…").await;

    let before = connects_for_two_minutes(&desk, &mut notifier, &menu).await;
    let after = counts_down(&menu, &before).await;
    assert!(after.is(&before), "the line is kept and only its words change: {before:?} {after:?}");

    menu.click_on(after.find("Give access back").expect("it is granted")).await;
    menu.line("◌ orders-prod · request access…").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_panel_shows_the_icon_and_all_is_done_in_its_menu() {
    let desk = Desk::new().await;
    let panel = XfcePanel::on(&desk).await;
    let mut notifier = Notifier::on(&desk.bus).await;
    let (sandbox, catalog) = desk.sandbox().await;
    panel.shows_nothing().await;
    let mut daypass = desk.daypass(&catalog).spawn().expect("it was just built");
    let menu = panel.menu().await;
    let signed_out = panel.shows_an_icon_unlike(None).await;
    signs_in(&desk, &menu).await;
    let signed_in = panel.shows_an_icon_unlike(Some(&signed_out)).await;

    let row = connects_and_queries(&desk, &menu).await;
    let left = row.label.strip_prefix("● billing-staging · read-only · ");
    assert!(left.is_some_and(|left| left.starts_with(|first: char| first.is_ascii_digit())), "how long, in {row:?}");
    panel.shows_an_icon_unlike(Some(&signed_in)).await;

    let before = connects_for_two_minutes(&desk, &mut notifier, &menu).await;
    counts_down(&menu, &before).await;
    menu.click_on(before.find("Disconnect").expect("it is connected")).await;
    menu.line("○ orders-prod").await;

    disconnects_and_quits(&menu, &mut daypass).await;
    panel.shows_nothing().await;
    assert_eq!(sandbox.open_sessions(), Vec::<String>::new(), "every tunnel's session is ended");
}

async fn signs_in(desk: &Desk, menu: &Menu<'_>) {
    menu.line("Not signed in").await;
    desk.browser_signs_in_as("ana");
    menu.click("Sign in at Acme (sandbox)").await;
    menu.line("ana@acme.dev · Acme (sandbox) · ").await;
}

/// Connects to billing-staging, and psql accepts what is copied there.
async fn connects_and_queries(desk: &Desk, menu: &Menu<'_>) -> Line {
    menu.click("○ billing-staging").await;
    let row = menu.line("● billing-staging · read-only").await;
    let copied = Copied::next_on(&desk.display);
    menu.click_on(row.find("Copy connection string").expect("it is connected")).await;
    assert_eq!(orders(desk, &copied.text().await).await, "t", "the copied string leads to the rows");
    row
}

async fn disconnects_and_quits(menu: &Menu<'_>, daypass: &mut Child) {
    menu.click("Disconnect").await;
    menu.line("○ billing-staging").await;
    menu.click("Quit").await;
    let ended = in_time("the end", daypass.wait()).await.expect("it can be waited for");
    assert_eq!(ended.code(), Some(0));
}

/// Asks for orders-prod and, when told that it is granted, clicks on Connect.
async fn connects_for_two_minutes(desk: &Desk, notifier: &mut Notifier, menu: &Menu<'_>) -> Line {
    asks_for_two_minutes(desk).await;
    let told = notifier.tells("Access to orders-prod approved").await;
    assert!(told.body.starts_with("read-only until "), "{told:?}");
    tokio::select! {
        line = menu.line("● orders-prod · read-only · 1 min") => line,
        never = notifier.keeps_clicking(&told, "Connect") => match never {},
    }
}

/// Waits until the line reads differently.
async fn counts_down(menu: &Menu<'_>, before: &Line) -> Line {
    let changed = |line: &Line| line.label.starts_with("● orders-prod") && line.label != before.label;
    menu.shows("the next second", |menu| menu.find("● orders-prod").filter(|line| changed(line)).cloned()).await
}

async fn asks_for_two_minutes(desk: &Desk) {
    let mut agent = Client::connect(&socket(desk)).await.expect("the desktop is the agent");
    let ask = Command::RequestAccess {
        target: TargetId::new("orders-prod").expect("a valid name"),
        role: RoleName::ReadOnly,
        duration: "2m".parse().expect("a duration"),
        justification: "INC-42 stuck batch".to_owned(),
        ticket: None,
        connect_when_approved: false,
    };
    agent.command(ask).await.expect("it is offered");
}

/// Whether psql finds orders there.
async fn orders(desk: &Desk, url: &str) -> String {
    let mut psql = desk.command("psql");
    psql.args(["-X", "-At", "-c", "SELECT count(*) > 0 FROM orders", url])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let output = in_time("psql", psql.output()).await.expect("psql is installed");
    assert!(output.status.success(), "psql must accept {url}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn socket(desk: &Desk) -> SocketPath {
    SocketPath::find(Some(&desk.data_dir()))
}
