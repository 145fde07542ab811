//! A sign-in outlives the process in a real keychain (gnome-keyring), and only there.

use std::{path::Path, process::Stdio};

use model::SecretsKeptIn;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_is_kept_over_a_restart_and_forgotten_by_signing_out() {
    let world = World::new().await;
    let mut ana = world.person("ana");
    let (_bus, address) = keychain(&ana.home).await;
    ana.session_bus = Some(address);
    ana.signs_in("acme").await;
    let kept_in = ana.sees("where it is kept", |snapshot| Some(snapshot.secrets_kept_in.clone())).await;
    assert_eq!(kept_in, SecretsKeptIn::Keychain);
    ana.does(&["quit"]).await;

    let rows = ana.does(&["connect", "billing-staging", "--", "psql", "-Atc", "SELECT 1"]).await;
    assert_eq!(rows.trim(), "1", "the next agent finds the sign-in");
    ana.does(&["sign-out"]).await;
    ana.does(&["quit"]).await;
    ana.is_refused(&["connect", "billing-staging"], "not-signed-in").await;
}

/// A session bus with an unlocked gnome-keyring that keeps its files in `home`; both end with the bus.
async fn keychain(home: &Path) -> (Child, String) {
    let at_home = |command: &mut Command| {
        for variable in ["HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR"] {
            command.env(variable, home);
        }
        command.stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    };
    let mut daemon = Command::new("dbus-daemon");
    daemon.args(["--session", "--nofork", "--print-address"]).stdout(Stdio::piped());
    at_home(&mut daemon);
    let mut bus = daemon.spawn().expect("dbus-daemon is installed by `cargo xtask setup`");
    let mut said = BufReader::new(bus.stdout.take().expect("stdout is piped")).lines();
    let address = said.next_line().await.expect("it is text").expect("it prints its address");

    let mut keyring = Command::new("sh");
    let unlock = "printf test | gnome-keyring-daemon --unlock --components=secrets --control-directory=\"$HOME\"";
    keyring.args(["-c", unlock]).env("DBUS_SESSION_BUS_ADDRESS", &address).stdout(Stdio::null());
    at_home(&mut keyring);
    let ready = keyring.status().await.expect("gnome-keyring is installed by `cargo xtask setup`");
    assert!(ready.success(), "the keyring is unlocked and serves the bus");
    (bus, address)
}
