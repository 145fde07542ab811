//! The window, driven as a person drives it.

use std::{process::Stdio, time::Duration};

use fantoccini::{Client, ClientBuilder, Locator, wd::Capabilities};
use tokio::{
    net::{TcpListener, TcpStream},
    process::{Child, Command},
};

use crate::{
    desk::{Desk, PATIENCE, in_time},
    panel::Panel,
};

/// How often the page is looked at.
const EVERY: Duration = Duration::from_millis(50);

#[tokio::test(flavor = "multi_thread")]
async fn in_the_window_one_signs_in_and_connects() {
    let desk = Desk::new().await;
    let _panel = Panel::on(&desk.bus).await;
    let (_sandbox, catalog) = desk.sandbox().await;
    desk.browser_signs_in_as("ana");
    let mut arguments = desk.arguments(&catalog).to_vec();
    arguments.push("--window".to_owned());
    let (_driver, window) = open(&desk, &arguments).await;

    click(&window, "header button.primary").await;
    shows(&window, "#who", "ana@acme.dev").await;
    click(&window, "#row-billing-staging .action button").await;
    shows(&window, "#row-billing-staging[data-state=open] .state", "Connected").await;
    shows(&window, "#row-billing-staging dl", "127.0.0.1").await;
    click(&window, "#row-billing-staging .action button").await;
    shows(&window, "#row-billing-staging[data-state=closed] .state", "Ready to connect").await;
    window.close().await.expect("the window closes");
}

/// Starts the driver and, through it, Daypass.
async fn open(desk: &Desk, arguments: &[String]) -> (Child, Client) {
    let free = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let port = free.local_addr().expect("it is bound").port();
    drop(free);
    let mut driver: Command = desk.command("WebKitWebDriver");
    let driver = driver.arg(format!("--port={port}")).env("TAURI_WEBVIEW_AUTOMATION", "true").stdout(Stdio::null());
    let driver = driver.spawn().expect("WebKitWebDriver is installed: run `cargo xtask setup`");
    in_time("the driver", listens(port)).await;
    let options = serde_json::json!({ "binary": env!("CARGO_BIN_EXE_daypass-desktop"), "args": arguments });
    let mut capabilities = Capabilities::new();
    capabilities.insert("webkitgtk:browserOptions".to_owned(), options);
    let mut builder = ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new());
    let connect = builder.capabilities(capabilities).connect(&format!("http://127.0.0.1:{port}")).await;
    (driver, connect.expect("Daypass opens its window"))
}

/// The driver does not say when it listens.
async fn listens(port: u16) {
    let mut look = tokio::time::interval(EVERY);
    while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        look.tick().await;
    }
}

async fn click(window: &Client, selector: &str) {
    let wait = window.wait().at_most(PATIENCE).every(EVERY);
    let button = wait.for_element(Locator::Css(selector)).await.expect("the button is there");
    // A click goes to a place, and the page may still move; this one goes to the button.
    window
        .execute("arguments[0].click()", vec![serde_json::to_value(&button).expect("an element")])
        .await
        .expect("clicked");
}

async fn shows(window: &Client, selector: &str, text: &str) {
    let mut shown = String::new();
    let wait = tokio::time::timeout(PATIENCE, async {
        let mut look = tokio::time::interval(EVERY);
        while !shown.contains(text) {
            look.tick().await;
            // An element may go away between being found and being read. What the driver itself reads is empty for headings
            // that may be cut off.
            if let Ok(found) = window.find(Locator::Css(selector)).await {
                shown = found.prop("innerText").await.ok().flatten().unwrap_or_default();
            }
        }
    });
    if wait.await.is_err() {
        panic!("{selector} must say `{text}` and says `{shown}`");
    }
}
