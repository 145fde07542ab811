//! Real clients through a Front.

use std::{process::Stdio, time::Duration};

use gateway::{Door, FrontEvent};
use tokio::{io::AsyncWriteExt, time::timeout};

use crate::bed::{Bed, Database, PASSWORD, TARGET, TOKEN, TestLogins, out, program, psql, token, words};

#[tokio::test]
async fn psql_logs_in_with_a_local_password_and_never_sees_the_token() {
    let database = Database::start().await;
    let mut bed = Bed::at(&database, TestLogins::with([token("app_ro", TOKEN)])).await;
    bed.front.prove().await.expect("the token is right");

    let who = "SELECT current_user, current_setting('application_name'), current_database()";
    assert_eq!(out(&bed.psql(&bed.dsn("application_name=till"), who).await), "app_ro|till|shop");
    assert!(matches!(bed.event().await, FrontEvent::Accepted { connection: 0, door: Door::Tcp }));
    assert_eq!(bed.logged_in().await, ("app_ro".to_owned(), "shop".to_owned(), "till".to_owned()));
    let FrontEvent::Closed { up, down, error, .. } = bed.event().await else { panic!("psql has left") };
    assert!(up > 60 && down > 60 && error.is_none(), "{up} {down} {error:?}");

    let by_target = bed.dsn(&format!("user={TARGET} dbname={TARGET}"));
    assert_eq!(out(&bed.psql(&by_target, who).await), "app_ro|psql|shop");
    let unnamed = bed.tokio_postgres().await.query_one("SELECT current_setting('application_name')", &[]).await;
    assert_eq!(unnamed.expect("it is open").get::<_, String>(0), "daypass ana@acme.dev req-7");
    assert_eq!(out(&bed.psql(&bed.dsn("host=::1"), who).await), "app_ro|psql|shop", "localhost may lead there");

    let as_told = bed.dsn("options='-c statement_timeout=1234' client_encoding=LATIN1");
    assert_eq!(out(&bed.psql(&as_told, "SHOW statement_timeout").await), "1234ms");
    assert_eq!(out(&bed.psql(&as_told, "SHOW client_encoding").await), "LATIN1");
}

#[tokio::test]
async fn the_socket_needs_no_password_and_tls_is_there_for_who_wants_it() {
    let database = Database::start().await;
    let bed = Bed::at(&database, TestLogins::with([token("app_ro", TOKEN)])).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let roots = folder.path().join("local.pem");
    std::fs::write(&roots, bed.front.authority_pem()).expect("the folder is ours");

    let mut by_socket = psql(&bed.dsn(&bed.socket_dsn("")), "SELECT 1");
    by_socket.env_remove("PGPASSWORD").arg("--no-password");
    assert_eq!(out(&by_socket.output().await.expect("psql is installed")), "1");

    for mode in ["disable", "prefer", "require"] {
        assert_eq!(out(&bed.psql(&bed.dsn(&format!("sslmode={mode}")), "SELECT 1").await), "1", "{mode}");
    }
    for host in ["localhost", "127.0.0.1", crate::bed::HOST] {
        let verified = format!("host={host} hostaddr=127.0.0.1 sslmode=verify-full sslrootcert={}", roots.display());
        assert_eq!(out(&bed.psql(&bed.dsn(&verified), "SELECT 1").await), "1", "{host}");
    }
    let other = format!("host=other.example hostaddr=127.0.0.1 sslmode=verify-full sslrootcert={}", roots.display());
    let output = bed.psql(&bed.dsn(&other), "SELECT 1").await;
    assert!(words(&output).contains("does not match host name"), "{}", words(&output));
    assert_eq!(out(&bed.psql(&bed.dsn("gssencmode=disable channel_binding=disable"), "SELECT 1").await), "1");
}

#[tokio::test]
async fn a_query_is_cancelled_at_the_right_server() {
    let database = Database::start().await;
    let mut bed = Bed::at(&database, TestLogins::with([token("app_ro", TOKEN)])).await;
    let mut child = psql(&bed.dsn(""), "SELECT pg_sleep(600)");
    let child = child.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().expect("psql is installed");
    bed.logged_in().await;
    let running = "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND \
                   state = 'active') THEN RAISE 'not yet'; END IF; END $$";
    while database.postgres.execute("shop", running).await.is_err() {
        tokio::task::yield_now().await;
    }
    let pid = child.id().and_then(|id| rustix::process::Pid::from_raw(i32::try_from(id).ok()?)).expect("it runs");
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it runs");
    let output = timeout(Duration::from_secs(20), child.wait_with_output()).await.expect("soon").expect("it ended");
    assert!(words(&output).contains("canceling statement due to user request"), "{}", words(&output));
}

#[tokio::test]
async fn read_only_roles_begin_read_only() {
    let database = Database::start().await;
    let mut config = crate::bed::config(&database.authority);
    config.read_only = true;
    let upstream = crate::bed::route(database.endpoint.address());
    let bed = Bed::with(config, upstream, TestLogins::with([token("app_rw", TOKEN)])).await;
    let write = "UPDATE products SET price_cents = 1 WHERE id = 2";
    let refused = bed.psql(&bed.dsn(""), write).await;
    assert!(words(&refused).contains("cannot execute UPDATE in a read-only transaction"), "{}", words(&refused));
    let refused = bed.psql(&bed.dsn("options='-c work_mem=1MB'"), write).await;
    assert!(words(&refused).contains("read-only transaction"), "{}", words(&refused));
    let meant = bed.psql(&bed.dsn("options='-c default_transaction_read_only=off'"), write).await;
    assert_eq!(out(&meant), "UPDATE 1", "it is a default, not a wall");
}

#[tokio::test]
async fn copies_pipelines_notifications_and_large_objects_pass_untouched() {
    let database = Database::start().await;
    database.execute("CREATE TABLE copied (id int, body text); GRANT ALL ON copied TO app_rw; GRANT CREATE ON SCHEMA public TO app_rw").await;
    let mut config = crate::bed::config(&database.authority);
    config.database_user = "app_rw".to_owned();
    let upstream = crate::bed::route(database.endpoint.address());
    let bed = Bed::with(config, upstream, TestLogins::with([token("app_rw", TOKEN)])).await;
    let dsn = bed.dsn("user=app_rw");

    let mut copy = program("psql");
    copy.args(["--no-psqlrc", "--command", "COPY copied FROM STDIN", &dsn])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = copy.spawn().expect("psql is installed");
    let rows: String = (0..50_000).map(|n| format!("{n}\t{}\n", "x".repeat(n % 97))).collect();
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(rows.as_bytes()).await.expect("it reads");
    drop(stdin);
    assert_eq!(out(&child.wait_with_output().await.expect("it ends")), "COPY 50000");
    let back = bed.psql(&dsn, "COPY (SELECT * FROM copied ORDER BY id) TO STDOUT").await;
    assert!(back.stdout == rows.as_bytes(), "every byte comes back");
    assert_eq!(out(&bed.psql(&dsn, "SELECT lo_from_bytea(4711, 'large')").await), "4711");
    assert_eq!(out(&bed.psql(&dsn, "SELECT lo_get(4711)").await), "\\x6c61726765");

    let mut dump = program("pg_dump");
    dump.args(["--schema-only", "--table", "copied", &dsn]);
    let dumped = out(&dump.output().await.expect("pg_dump is installed"));
    assert!(dumped.contains("CREATE TABLE public.copied"), "{dumped}");

    pipelined(&bed).await;
}

async fn pipelined(bed: &Bed) {
    let mut config: tokio_postgres::Config = bed.dsn("user=app_rw").parse().expect("a connection string");
    config.password(PASSWORD);
    let (client, mut connection) = config.connect(tokio_postgres::NoTls).await.expect("it may log in");
    let (heard, mut notifications) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(Ok(message)) = std::future::poll_fn(|cx| connection.poll_message(cx)).await {
            if let tokio_postgres::AsyncMessage::Notification(notification) = message {
                drop(heard.send(notification.payload().to_owned()));
            }
        }
    });
    client.batch_execute("LISTEN tills").await.expect("it may");
    let many = (0..200).map(|n| {
        let client = &client;
        async move { client.query_one("SELECT $1::int4 * 2", &[&n]).await.map(|row| row.get::<_, i32>(0)) }
    });
    let answers = futures_util::future::try_join_all(many).await.expect("all are answered");
    assert_eq!(answers, (0..200).map(|n| n * 2).collect::<Vec<_>>());
    client.batch_execute("NOTIFY tills, 'ring'").await.expect("it may");
    assert_eq!(notifications.recv().await.as_deref(), Some("ring"));
}

#[tokio::test]
async fn many_clients_at_once_and_many_after_each_other_see_no_error() {
    let database = Database::start().await;
    let bed = Bed::at(&database, TestLogins::with([token("app_ro", TOKEN)])).await;
    let script = bed.folder.path().join("lookup.sql");
    let lookup = "\\set id random(1, 50)\nSELECT status FROM orders WHERE id = :id;\n";
    std::fs::write(&script, lookup).expect("the folder is ours");
    for how in [&["--transactions=100", "--protocol=prepared"][..], &["--transactions=4", "--connect"]] {
        let mut pgbench = program("pgbench");
        pgbench.args(["--no-vacuum", "--client=32", "--jobs=2", "--file"]).arg(&script).args(how).arg(bed.dsn(""));
        let output = timeout(Duration::from_secs(100), pgbench.output()).await.expect("soon").expect("it is installed");
        let said = out(&output);
        assert!(said.contains("number of failed transactions: 0"), "{said}");
    }
    while bed.front.traffic().open() > 0 {
        tokio::task::yield_now().await;
    }
}
