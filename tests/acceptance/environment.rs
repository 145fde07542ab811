//! What the surroundings may not do: choose the account, or see a secret.

use crate::world::{Ran, World, finished};

/// Parts of credentials and tokens that must not be seen anywhere.
const CANARIES: [&str; 4] = ["X-Amz-Signature", "X-Amz-Security-Token", "ASIA", "eyJ"];

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_arguments_variables_files_or_logs() {
    let world = World::new().await;
    let ana = world.person("ana");
    ana.signs_in("acme").await;
    // Arguments and variables of the client, of the command that started it, and of the agent.
    let look = "env; for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline; grep -qz \"DAYPASS_DATA_DIR=$DAYPASS_DATA_DIR\" $p/environ && \
                tr '\\0' '\\n' < $p/environ; done; psql -Atc 'SELECT count(*) FROM orders'";
    let child =
        ana.command(&["connect", "billing-staging", "--", "sh", "-c", look]).env("DAYPASS_LOG", "trace").spawn();
    let Ran { out, err, code } = finished(child.expect("daypass is built by --workspace")).await;
    assert_eq!(code, Some(0), "{err}");
    let said =
        [out, err, ana.does(&["status", "--json"]).await, ana.does(&["doctor", "billing-staging", "--json"]).await]
            .concat();
    let mut places = vec![("output".to_owned(), said)];
    let mut folders = vec![ana.home.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("it is ours").flatten() {
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else if entry.file_type().is_ok_and(|kind| kind.is_file()) {
                let text = String::from_utf8_lossy(&std::fs::read(entry.path()).expect("it is ours")).into_owned();
                places.push((entry.path().display().to_string(), text));
            }
        }
    }
    assert!(
        places.iter().any(|(name, text)| name.ends_with("daypass.log") && !text.is_empty()),
        "there is a log to look at"
    );
    // Asked for by name, and only then, it is shown.
    let local_password = ana.does(&["password", "billing-staging"]).await;
    let canaries = CANARIES.into_iter().chain([local_password.trim()]);
    for (name, text) in places {
        for canary in canaries.clone() {
            assert!(!text.contains(canary), "`{canary}` is in {name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_way_in_without_a_password_is_for_its_owner_only_and_only_while_connected() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = World::new().await;
    let ana = world.person("ana");
    ana.signs_in("acme").await;
    ana.does(&["connect", "billing-staging"]).await;
    let folder = ana.data_dir().join("run/gateways/billing-staging");
    let mode = std::fs::metadata(&folder).expect("it is there while connected").permissions().mode();
    assert_eq!(mode & 0o077, 0, "others cannot enter it");
    for entry in std::fs::read_dir(&folder).expect("it is ours") {
        let path = entry.expect("it is readable").path();
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(!text.contains("X-Amz-Signature") && !text.contains("password"), "{}: {text}", path.display());
    }
    ana.does(&["disconnect", "billing-staging"]).await;
    assert!(!folder.exists(), "it is gone with the gateway");
}
