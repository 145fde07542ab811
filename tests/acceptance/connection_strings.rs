//! What `daypass url TARGET --as FORM` prints, read by those who are to read it.

use std::{fs, path::PathBuf, process::Stdio};

use serde_json::Value;
use tokio::process::Command;

use crate::{
    clients::{Way, program_of, told},
    world::{Person, World, finished},
};

#[tokio::test(flavor = "multi_thread")]
async fn every_form_for_postgresql_leads_its_reader_in() {
    let world = World::new().await;
    let ana = world.person("ana");
    ana.signs_in("acme").await;
    let bed = Bed::open(&ana, "billing-staging").await;
    let shop = "app_ro|shop";
    let ask = "-XAtc 'SELECT current_user, current_database()'";

    for url in [bed.text("url").await, bed.with_password("url").await] {
        assert_eq!(bed.shell(&format!("psql {ask} '{url}'")).await, shop, "{url}");
        assert_eq!(bed.reads("psycopg-text", &url).await, shop, "{url}");
    }
    assert_eq!(bed.reads("node-postgres-text", &bed.with_password("url").await).await, shop);
    assert_eq!(bed.reads("JdbcText", &bed.with_password("jdbc").await).await, shop);
    let psql = bed.text("psql").await;
    assert_eq!(bed.shell(&format!("{psql} {ask}")).await, shop, "{psql}");
    let services = bed.file("services.conf", &bed.text("pg-service").await);
    let by_service = format!("PGSERVICEFILE='{services}' PGSERVICE=billing-staging psql {ask}");
    assert_eq!(bed.shell(&by_service).await, shop);
    for env in [bed.text("env").await, bed.with_password("env").await] {
        let file = bed.file("postgres.env", &env);
        assert_eq!(bed.shell(&format!("set -a; . '{file}'; psql {ask}")).await, shop, "{env}");
        bed.is_read_alike_by_node(&file, &["PGHOST", "PGPORT", "PGUSER", "PGDATABASE", "DATABASE_URL"]).await;
    }
    bed.suits_datagrip("jdbc:postgresql://", "org.postgresql.Driver", shop).await;
    bed.suits_tableplus("postgresql:", "/shop").await;
    bed.suits_dbeaver("postgresql").await;

    let servers: Value = serde_json::from_str(&bed.text("pgadmin").await).expect("pgAdmin reads JSON");
    let server = &servers["Servers"]["1"];
    assert_eq!((&server["Port"], &server["Username"]), (&bed.way.port.into(), &"app_ro".into()));
    for field in ["Name", "Group", "Host", "MaintenanceDB"] {
        assert!(server[field].is_string(), "its import asks for {field}: {server}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_form_for_mysql_and_mariadb_leads_its_reader_in() {
    let world = World::new().await;
    let ana = world.person("ana");
    ana.signs_in("acme").await;
    for (target, driver) in [("billing-mysql", "mysql"), ("stock-mariadb", "mariadb")] {
        let bed = Bed::open(&ana, target).await;
        let billing = "app_ro|billing";
        let ask = "-Ne \"SELECT CONCAT(SUBSTRING_INDEX(CURRENT_USER(), '@', 1), '|', DATABASE())\"";

        assert_eq!(bed.reads("mysql2-text", &bed.with_password("url").await).await, billing);
        let jdbc = bed.with_password("jdbc").await;
        assert!(jdbc.starts_with(&format!("jdbc:{driver}://127.0.0.1:")), "{jdbc}");
        assert_eq!(bed.reads("JdbcText", &jdbc).await, billing, "{jdbc}");
        let mysql = bed.text("mysql").await;
        assert_eq!(bed.shell(&format!("{mysql} {ask}")).await, billing, "{mysql}");
        for env in [bed.text("env").await, bed.with_password("env").await] {
            let file = bed.file("mysql.env", &env);
            let by_variables =
                format!("set -a; . '{file}'; mariadb --no-defaults -u \"$MYSQL_USER\" {ask} \"$MYSQL_DATABASE\"");
            assert_eq!(bed.shell(&by_variables).await, billing, "{env}");
            bed.is_read_alike_by_node(
                &file,
                &["MYSQL_HOST", "MYSQL_TCP_PORT", "MYSQL_UNIX_PORT", "MYSQL_USER", "DATABASE_URL"],
            )
            .await;
        }
        let options = "my_print_defaults client mysql; mariadb --print-defaults";
        let options = bed.ana.does(&["connect", target, "--", "sh", "-c", options]).await;
        let socket = format!("--socket={}", ana.data_dir().display());
        for option in ["--user=app_ro", "--database=billing", &socket] {
            assert_eq!(options.matches(option).count(), 2, "MYSQL_HOME leads to {option}: {options}");
        }
        let inside = bed.ana.does(&["connect", target, "--", "sh", "-c", &format!("mariadb {ask}")]).await;
        assert_eq!(inside.trim(), billing);
        let class = if driver == "mysql" { "com.mysql.cj.jdbc.Driver" } else { "org.mariadb.jdbc.Driver" };
        bed.suits_datagrip(&format!("jdbc:{driver}://"), class, billing).await;
        bed.suits_tableplus("mysql:", "/billing").await;
        bed.suits_dbeaver(if driver == "mysql" { "mysql8" } else { "mariaDB" }).await;
    }
}

/// A Target that is connected, and somebody who asks how to get there.
struct Bed<'a> {
    ana: &'a Person,
    target: &'static str,
    way: Way,
}

impl<'a> Bed<'a> {
    async fn open(ana: &'a Person, target: &'static str) -> Self {
        Self { ana, target, way: Way::open(ana, target).await }
    }

    async fn text(&self, form: &str) -> String {
        let text = self.ana.does(&["url", self.target, "--as", form]).await;
        assert!(!text.contains(&self.way.password), "nobody asked for the password: {text}");
        text.trim().to_owned()
    }

    async fn with_password(&self, form: &str) -> String {
        let text = self.ana.does(&["url", self.target, "--as", form, "--with-password"]).await;
        assert!(text.contains(&self.way.password), "it was asked for: {text}");
        text.trim().to_owned()
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path: PathBuf = self.ana.home.join(name);
        fs::write(&path, format!("{text}\n")).expect("the home is writable");
        path.display().to_string()
    }

    /// What a command of bash prints, with nothing of a database in its environment.
    async fn shell(&self, command: &str) -> String {
        let mut bash = Command::new("bash");
        bash.args(["-c", command]).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        bash.env("HOME", &self.ana.home).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let ran = finished(bash.spawn().expect("bash is installed")).await;
        assert_eq!(ran.code, Some(0), "{command}: {}", ran.err);
        ran.out.trim().to_owned()
    }

    /// What a program of tests/clients prints when it is given a connection string.
    async fn reads(&self, program: &str, text: &str) -> String {
        let ran = told(program_of(program).spawn().expect("there is a shell"), text).await;
        assert_eq!(ran.code, Some(0), "{program} with {text}: {}", ran.err);
        ran.out.trim().to_owned()
    }

    async fn is_read_alike_by_node(&self, file: &str, names: &[&str]) {
        let wanted = names.join(" ");
        let by_bash = format!("set -a; . '{file}'; for name in {wanted}; do echo \"${{!name}}\"; done");
        let script = "for (const name of process.argv.slice(1)) console.log(process.env[name])";
        let by_node = format!("node --env-file='{file}' -e '{script}' {wanted}");
        assert_eq!(self.shell(&by_node).await, self.shell(&by_bash).await);
    }

    async fn suits_datagrip(&self, scheme: &str, class: &str, expected: &str) {
        let source = self.reads("datagrip-text", &self.text("datagrip").await).await;
        let [url, user, driver] = source.lines().collect::<Vec<_>>()[..] else { panic!("three lines: {source}") };
        assert!(url.starts_with(scheme), "{url}");
        assert_eq!((user, driver), (self.way.user.as_str(), class));
        assert_eq!(self.reads("JdbcText", &format!("{url}\n{user}\n{}", self.way.password)).await, expected);
    }

    async fn suits_tableplus(&self, scheme: &str, database: &str) {
        let url = self.with_password("tableplus").await;
        let script = "const u = new URL(process.argv[1]); \
                      console.log(u.protocol, u.username, u.password, u.host, u.pathname, u.searchParams.get(\"name\"))";
        let Way { port, user, password, .. } = &self.way;
        let expected = format!("{scheme} {user} {password} 127.0.0.1:{port} {database} {}", self.target);
        assert_eq!(self.shell(&format!("node -e '{script}' '{url}'")).await, expected);
    }

    /// DBeaver parts `-con` at each `|`, and a part at its first `=`.
    async fn suits_dbeaver(&self, driver: &str) {
        let text = self.with_password("dbeaver").await;
        let parts: Vec<(&str, &str)> = text.split('|').filter_map(|part| part.split_once('=')).collect();
        let Way { port, user, password, database, .. } = &self.way;
        for part in [("driver", driver), ("host", "127.0.0.1"), ("port", &port.to_string()), ("database", database)] {
            assert!(parts.contains(&part), "{part:?} in {text}");
        }
        assert!(parts.contains(&("user", user)) && parts.contains(&("password", password)), "{text}");
    }
}
