//! The store against a real Secret Service, and against none. Each test runs itself again in a process whose session bus is
//! its own, so that nobody's real keychain is touched.
#![cfg(target_os = "linux")]

use std::process::{Command, Output};

use model::SecretsKeptIn;
use secrets::{Secret, SecretStore};

const INNER: &str = "DAYPASS_TEST_INNER";

#[test]
fn a_real_keychain_keeps_replaces_and_forgets_secrets() {
    if std::env::var_os(INNER).is_some() {
        return block_on(use_a_keychain());
    }
    let home = tempfile::tempdir().expect("a temporary folder");
    let script = r#"printf test | gnome-keyring-daemon --unlock --components=secrets --control-directory="$HOME" >/dev/null
        "$0" --exact a_real_keychain_keeps_replaces_and_forgets_secrets --nocapture"#;
    let exe = std::env::current_exe().expect("the running test has a path");
    let mut command = Command::new("dbus-run-session");
    command.args(["--", "sh", "-c", script]).arg(exe).env(INNER, "1");
    for variable in ["HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"] {
        command.env(variable, home.path());
    }
    assert_passed(&command.output().expect("dbus-run-session is installed (cargo xtask setup)"));
}

#[test]
fn without_a_keychain_secrets_stay_in_memory_and_the_reason_is_given() {
    if std::env::var_os(INNER).is_some() {
        return block_on(do_without_a_keychain());
    }
    let exe = std::env::current_exe().expect("the running test has a path");
    let mut command = Command::new(exe);
    command.args(["--exact", "without_a_keychain_secrets_stay_in_memory_and_the_reason_is_given", "--nocapture"]);
    command.env(INNER, "1").env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent/bus");
    assert_passed(&command.output().expect("the test can start itself"));
}

async fn use_a_keychain() {
    let (store, kept_in) = SecretStore::open("dev.daypass.test").await;
    assert_eq!(kept_in, SecretsKeptIn::Keychain);
    for length in [12, 9_000] {
        let token = Secret::new(vec![b'x'; length]);
        store.save("refresh-token", token.clone()).await.expect("the keychain is unlocked");
        let (reopened, _) = SecretStore::open("dev.daypass.test").await;
        assert_eq!(reopened.load("refresh-token").await, Ok(Some(token)), "{length} bytes");
    }
    store.forget("refresh-token").await.expect("the keychain is unlocked");
    assert_eq!(store.load("refresh-token").await, Ok(None));
    assert_eq!(store.load("probe").await, Ok(None), "the probe leaves nothing behind");
}

async fn do_without_a_keychain() {
    let (store, kept_in) = SecretStore::open("dev.daypass.test").await;
    let SecretsKeptIn::Memory { why } = kept_in else { panic!("there is no bus, so there is no keychain") };
    assert!(why.starts_with("the keychain refused"), "{why}");
    store.save("refresh-token", Secret::new(b"x".to_vec())).await.expect("memory takes it");
    assert_eq!(store.load("refresh-token").await, Ok(Some(Secret::new(b"x".to_vec()))));
}

fn block_on(work: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime").block_on(work);
}

fn assert_passed(output: &Output) {
    let text = [String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)].concat();
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}
