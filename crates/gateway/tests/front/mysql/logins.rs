use sandbox::mariadb::MysqlPlugin;

use super::billing::{Billing, USER, mariadb, run, sql};
use crate::bed::{PASSWORD, TOKEN, TestLogins, out, secret, token, words};

const COUNT: &str = "SELECT COUNT(*) > 0 FROM invoices";

#[tokio::test]
async fn the_real_client_gets_in_with_each_plug_in_with_and_without_tls() {
    let database = Billing::start().await;
    let mut bed = database.front().await;
    bed.front.prove().await.expect("the token is right");
    for plugin in ["mysql_native_password", "caching_sha2_password", "client_ed25519"] {
        for tls in ["--skip-ssl", "--ssl"] {
            let plugin = format!("--default-auth={plugin}");
            assert_eq!(out(&sql(&bed, &[tls, &plugin], COUNT).await), "1", "{plugin} {tls}");
            let (user, billing, _) = bed.logged_in().await;
            assert_eq!((user.as_str(), billing.as_str()), (USER, "billing"));
        }
    }
}

#[tokio::test]
async fn a_program_of_this_user_needs_no_password_at_the_socket() {
    let database = Billing::start().await;
    let bed = database.front().await;
    let socket = format!("--socket={}", bed.front.socket().expect("on Unix").display());
    for password in ["", "anything"] {
        let mut client = mariadb(&bed, &["--host=localhost", &socket, "billing", "--execute", COUNT]);
        assert_eq!(out(&run(client.env("MYSQL_PWD", password)).await), "1", "{password}");
    }
}

#[tokio::test]
async fn clients_that_verify_the_certificate_find_the_targets_name_in_it() {
    let database = Billing::start().await;
    let bed = database.front().await;
    let file = bed.folder.path().join("authority.pem");
    std::fs::write(&file, bed.front.authority_pem()).expect("the folder is ours");
    let authority = format!("--ssl-ca={}", file.display());
    let cipher = sql(&bed, &[&authority, "--ssl-verify-server-cert"], COUNT).await;
    assert_eq!(out(&cipher), "1");
}

#[tokio::test]
async fn secrets_log_in_by_whatever_the_database_asks_for() {
    let database = Billing::start().await;
    let door = database.mariadb.door();
    let password = "exactly-thirty-two-bytes-long-00";
    for plugin in [MysqlPlugin::Native, MysqlPlugin::CachingSha2, MysqlPlugin::Ed25519] {
        door.set_password("robin", password, plugin).await.expect("the superuser may");
        let mut bed = database.front_with(TestLogins::with([secret("robin", password)]), |_| {}).await;
        for _ in 0..2 {
            assert_eq!(out(&sql(&bed, &[], COUNT).await), "1", "{plugin:?}");
            assert_eq!(bed.logged_in().await.0, "robin", "whatever the client calls itself");
        }
    }
}

#[tokio::test]
async fn a_server_like_mysql_8_is_shown_as_it_is() {
    let database = Billing::with_door(|door| door.like_mysql_8()).await;
    let bed = database.front().await;
    bed.front.prove().await.expect("the token is right");
    for tls in ["--skip-ssl", "--ssl"] {
        assert_eq!(out(&sql(&bed, &[tls], COUNT).await), "1");
    }
}

#[tokio::test]
async fn a_rotated_secret_is_read_again_and_no_client_sees_it() {
    let database = Billing::start().await;
    database.mariadb.door().set_password("robin", "new", MysqlPlugin::Native).await.expect("the superuser may");
    let logins = TestLogins::with([secret("robin", "old"), secret("robin", "new")]);
    let bed = database.front_with(logins, |_| {}).await;
    assert_eq!(out(&sql(&bed, &[], COUNT).await), "1");
    assert_eq!(bed.logins.refused.load(std::sync::atomic::Ordering::SeqCst), 1);
}

#[tokio::test]
async fn no_client_is_told_a_token_or_a_secret() {
    let database = Billing::start().await;
    let bed = database.front_with(TestLogins::with([token(USER, "wrong-canary-93")]), |_| {}).await;
    let refused = sql(&bed, &[], COUNT).await;
    let told = words(&refused);
    assert!(told.contains("ERROR 1045 (28000)") && told.contains("IAM token of app_rw"), "{told}");
    for canary in ["wrong-canary-93", TOKEN, PASSWORD] {
        assert!(!told.contains(canary), "{told}");
    }
}
