use std::time::Duration;

use db_proto::mysql::{ClientLoginError, is_ok};
use sandbox::mariadb::MysqlPlugin;

use super::{
    billing::{Billing, USER, client, mariadb, run, sql},
    wire::Wire,
};
use crate::bed::{PASSWORD, TOKEN, TestLogins, out, secret, token, words};

#[tokio::test]
async fn statements_of_all_kinds_pass() {
    let database = Billing::start().await;
    let bed = database.front().await;
    bed.front.prove().await.expect("the token is right");
    let script = "SELECT 1; SELECT DATABASE(); CREATE TEMPORARY TABLE t (a INT, b TEXT); \
                  INSERT INTO t VALUES (1, 'x'), (2, REPEAT('y', 100)); SELECT a, LENGTH(b) FROM t; \
                  PREPARE p FROM 'SELECT a + ? FROM t'; SET @two = 2; EXECUTE p USING @two; \
                  BEGIN; DELETE FROM t WHERE a = 1; COMMIT; SELECT COUNT(*) FROM t";
    let said = out(&sql(&bed, &[], script).await);
    assert_eq!(said, "1\nbilling\n1\t1\n2\t100\n3\n4\n1");
    let version = out(&sql(&bed, &[], "SELECT VERSION()").await);
    let shown = Wire::log_in(&bed).await.expect("it may").session.greeting.version;
    assert!(shown.ends_with(&version), "{shown} is the real server's {version}");
}

#[tokio::test]
async fn compression_is_ours_alone_and_big_results_survive_it() {
    let database = Billing::start().await;
    let compressed = |config: &mut gateway::FrontConfig| config.mysql.compression = Some(true);
    let bed = database.front_with(TestLogins::with([token(USER, TOKEN)]), compressed).await;
    bed.front.prove().await.expect("the token is right");
    let status = out(&sql(&bed, &["--skip-ssl"], "SHOW SESSION STATUS LIKE 'Compression'").await);
    assert_eq!(status, "Compression\tON");
    let many = "SELECT seq, REPEAT('abc', 20) FROM seq_1_to_50000";
    let said = out(&sql(&bed, &[], many).await);
    assert_eq!(said.lines().count(), 50_000);
    assert!(said.lines().zip(1..).all(|(line, number)| line.starts_with(&format!("{number}\tabcabc"))));
    let long = "SELECT LENGTH(@a := REPEAT('z', 20000000)) ; SELECT SHA2(REPEAT('q', 18000000), 256) = SHA2(@b, 256) \
                FROM (SELECT @b := REPEAT('q', 18000000)) x; SELECT REPEAT('w', 17000000)";
    let mut client = mariadb(&bed, &["--max-allowed-packet=64M", "--execute", long]);
    let said = out(&run(&mut client).await);
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines[..2], ["20000000", "1"]);
    assert!(lines[2].len() == 17_000_000 && lines[2].bytes().all(|byte| byte == b'w'), "a row of two packets");
}

#[tokio::test]
async fn a_dump_is_whole_and_loads_again() {
    let database = Billing::start().await;
    let bed = database.front().await;
    bed.front.prove().await.expect("the token is right");
    let mut dump = client(&bed, "mariadb-dump", &["--single-transaction", "billing"]);
    let dumped = out(&run(&mut dump).await);
    assert!(dumped.contains("CREATE TABLE `invoices`") && dumped.ends_with(|last: char| last.is_ascii_digit()));
    out(&sql(&bed, &[], "DROP TABLE invoice_lines").await);
    out(&sql(&bed, &[], &dumped).await);
    assert_eq!(out(&sql(&bed, &[], "SELECT COUNT(*) > 60 FROM invoice_lines").await), "1");
}

#[tokio::test]
async fn a_kill_by_the_id_of_the_greeting_ends_the_query() {
    let database = Billing::start().await;
    let bed = database.front().await;
    let mut victim = Wire::log_in(&bed).await.expect("it may");
    let real = victim.value("SELECT CONNECTION_ID()").await;
    assert_ne!(real, victim.thread_id().to_string(), "the greeting came before there was a session upstream");
    victim.send(b"\x03SELECT SLEEP(3000)").await;
    let mut killer = Wire::log_in(&bed).await.expect("it may");
    let running =
        format!("SELECT COUNT(*) FROM information_schema.processlist WHERE id = {real} AND info LIKE '%SLEEP%'");
    while killer.value(&running).await != "1" {
        tokio::task::yield_now().await;
    }
    let kill = format!("\x03KILL QUERY {}", victim.thread_id());
    assert!(is_ok(&killer.ask(kill.as_bytes()).await));
    assert!(!victim.answer().await.is_empty(), "MariaDB ends SLEEP() early and calls that a result");
}

#[tokio::test]
async fn a_read_only_role_begins_read_only_and_stays_so_over_resets() {
    let database = Billing::start().await;
    let read_only = |config: &mut gateway::FrontConfig| config.read_only = true;
    let bed = database.front_with(TestLogins::with([token(USER, TOKEN)]), read_only).await;
    let told = words(&sql(&bed, &[], "INSERT INTO invoices SELECT * FROM invoices").await);
    assert!(told.contains("ERROR 1792"), "{told}");
    let mut wire = Wire::log_in(&bed).await.expect("it may");
    assert_eq!(wire.value("SELECT @@tx_read_only").await, "1");
    assert!(is_ok(&wire.ask(b"\x03SET SESSION TRANSACTION READ WRITE").await), "whoever wants it otherwise can say so");
    assert_eq!(wire.value("SELECT @@tx_read_only").await, "0");
    assert!(is_ok(&wire.ask(&[0x1F]).await), "COM_RESET_CONNECTION");
    assert_eq!(wire.value("SELECT @@tx_read_only").await, "1");
}

#[tokio::test]
async fn a_session_changes_its_user_and_goes_on() {
    let database = Billing::start().await;
    let door = database.mariadb.door();
    door.set_password("robin", "secret", MysqlPlugin::Native).await.expect("the superuser may");
    for compression in [false, true] {
        let change = |config: &mut gateway::FrontConfig| config.mysql.compression = Some(compression);
        let bed = database.front_with(TestLogins::with([secret("robin", "secret")]), change).await;
        bed.front.prove().await.expect("the secret is right");
        let mut wire = Wire::log_in(&bed).await.expect("it may");
        assert!(is_ok(&wire.ask(b"\x03SET @mine = 1").await));
        let before = wire.value("SELECT CONNECTION_ID()").await;
        wire.change_user(PASSWORD).await.expect("the local password is right");
        assert_eq!(wire.value("SELECT @mine IS NULL").await, "1", "its state is reset");
        assert_eq!(wire.value("SELECT CONNECTION_ID()").await, before, "it is the same session");
        assert_eq!(wire.value("SELECT DATABASE()").await, "billing");
        let refused = wire.change_user("guess").await.expect_err("a wrong local password");
        assert!(matches!(refused, ClientLoginError::Refused { error, .. } if error.code == 1045));
        assert_eq!(wire.packet().await, None, "whoever fails is out");
    }
}

#[tokio::test]
async fn files_of_this_machine_are_given_only_where_that_is_allowed() {
    let database = Billing::start().await;
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), "1\n2\n3\n").expect("it is ours");
    let load = format!(
        "CREATE TEMPORARY TABLE t (a INT); LOAD DATA LOCAL INFILE '{}' INTO TABLE t; SELECT SUM(a) FROM t",
        file.path().display()
    );
    for (allowed, compression) in [(false, false), (true, false), (true, true)] {
        let change = |config: &mut gateway::FrontConfig| {
            config.mysql.local_files = allowed;
            config.mysql.compression = Some(compression);
        };
        let bed = database.front_with(TestLogins::with([token(USER, TOKEN)]), change).await;
        bed.front.prove().await.expect("the token is right");
        let output = sql(&bed, &["--local-infile=1"], &load).await;
        if allowed {
            assert_eq!(out(&output), "6");
        } else {
            assert!(words(&output).contains("ERROR"), "{}", words(&output));
        }
    }
}

#[tokio::test]
async fn commands_sent_ahead_are_answered_in_order() {
    let database = Billing::start().await;
    let bed = database.front().await;
    let mut wire = Wire::log_in(&bed).await.expect("it may");
    for _ in 0..3 {
        wire.send(&[0x0E]).await;
        wire.send(&[0x1F]).await;
    }
    for _ in 0..6 {
        assert!(is_ok(&wire.answer().await));
    }
}

#[tokio::test]
async fn bytes_are_counted_and_a_farewell_closes_in_order() {
    let database = Billing::start().await;
    let mut bed = database.front().await;
    out(&sql(&bed, &[], "SELECT REPEAT('a', 100000)").await);
    loop {
        if let gateway::FrontEvent::Closed { up, down, error, .. } = bed.event().await {
            assert!(up > 20 && down > 100_000, "{up} up, {down} down");
            assert_eq!(error, None);
            break;
        }
    }
    assert_eq!(bed.front.traffic().open(), 0);
    tokio::time::timeout(Duration::from_secs(10), bed.front.close("closed", "open it again")).await.expect("soon");
}
