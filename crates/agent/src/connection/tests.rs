//! Names with the characters that readers of connection strings take for their own, before real readers.

use std::{
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener},
    os::unix::net::UnixListener,
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use model::{AccountId, Bastion, Endpoint, Region, TargetId};
use url::Url;

use super::*;

const USER: &str = "o'neil ü 50%";
const DATABASE: &str = "my \"shop\"=ü&?#/$x\\;";
const PASSWORD: &str = "k5Xb2";

#[test]
fn psql_reads_every_form_at_the_socket() {
    for form in [ConnectionForm::Url, ConnectionForm::Psql, ConnectionForm::PgService, ConnectionForm::Env] {
        let home = tempfile::tempdir().expect("a temporary folder");
        let connection = connection(Engine::Postgres, home.path().join("it's \"ü\" 50%"), 5432);
        fs::create_dir(&connection.folder).expect("the folder is ours");
        let listener = UnixListener::bind(connection.socket().expect("a short path")).expect("the folder is ours");
        let said = said_by(psql(&connection, form, home.path()), move || listener.accept().expect("psql connects").0);
        assert_eq!(said, names(), "{form:?}");
    }
}

#[test]
fn psql_reads_every_form_at_the_port_where_a_socket_has_too_long_a_path() {
    for form in [ConnectionForm::Url, ConnectionForm::Psql, ConnectionForm::PgService, ConnectionForm::Env] {
        let home = tempfile::tempdir().expect("a temporary folder");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let port = listener.local_addr().expect("it listens").port();
        let connection = connection(Engine::Postgres, home.path().join("long".repeat(30)), port);
        assert_eq!(connection.socket(), None);
        let said = said_by(psql(&connection, form, home.path()), move || listener.accept().expect("psql connects").0);
        assert_eq!(said, names(), "{form:?}");
    }
}

#[test]
fn the_clients_of_mysql_read_the_option_file_and_the_command() {
    let home = tempfile::tempdir().expect("a temporary folder");
    let connection = connection(Engine::Mariadb, home.path().join("it's \"ü\" 50%"), 3306);
    let socket = connection.socket().expect("a short path").display().to_string();
    let file = home.path().join(OPTION_FILE);
    fs::write(&file, connection.option_file()).expect("the folder is ours");
    let mut defaults = Command::new("my_print_defaults");
    let printed = printed(defaults.arg(format!("--defaults-file={}", file.display())).args(["client", "mysql"]));
    let expected = format!("--socket={socket}\n--user={USER}\n--database={DATABASE}\n");
    assert_eq!(printed, expected);
    let command = connection.text(ConnectionForm::Mysql, None);
    let arguments = shell(&format!("mysql() {{ printf '%s\\n' \"$@\"; }}; {command}"));
    assert_eq!(arguments, format!("-S\n{socket}\n-u\n{USER}\n-D\n{DATABASE}\n"));
}

#[test]
fn a_shell_and_node_read_the_same_variables() {
    for engine in [Engine::Mysql, Engine::Postgres] {
        let home = tempfile::tempdir().expect("a temporary folder");
        let connection = connection(engine, home.path().join("it's ü 50%"), 5432);
        let file = home.path().join("names.env").display().to_string();
        let password = Secret::new(PASSWORD.to_owned());
        let text = connection.written(ConnectionForm::Env, Some(&password)).expect("both engines have it");
        fs::write(&file, text.expose()).expect("the folder is ours");
        let prefix = if engine == Engine::Postgres { "PG" } else { "MYSQL_" };
        let url = connection.tcp_url(Some(PASSWORD));
        let expected = format!("{USER}\n{DATABASE}\n{url}\n");
        let by_shell = format!("printf '%s\\n' \"${prefix}USER\" \"${prefix}DATABASE\" \"$DATABASE_URL\"");
        assert_eq!(shell(&format!("set -a; . '{file}'; {by_shell}")), expected);
        let script = format!(
            "const e = process.env; console.log([e.{prefix}USER, e.{prefix}DATABASE, e.DATABASE_URL].join('\\n'))"
        );
        let mut node = Command::new("node");
        assert_eq!(printed(node.arg(format!("--env-file={file}")).args(["-e", &script])), expected);
    }
}

#[test]
fn no_name_is_more_than_itself_in_the_shell_that_reads_the_variables() {
    for name in ["~root", "`id`", "'`id`", "'$(id)", "\"'`id`\\"] {
        assert_eq!(shell(&format!("NAME={}; printf %s \"$NAME\"", env_quoted(name))), name);
    }
}

#[test]
fn urls_hold_the_names_in_their_parts() {
    for engine in [Engine::Mariadb, Engine::Mysql, Engine::Postgres] {
        let connection = connection(engine, PathBuf::from("/run/daypass"), 5432);
        let password = Secret::new(PASSWORD.to_owned());
        for form in [ConnectionForm::Url, ConnectionForm::Tableplus, ConnectionForm::Jdbc] {
            let text = connection.written(form, Some(&password)).expect("every engine has it");
            let url = Url::parse(text.expose().trim_start_matches("jdbc:")).expect("it is a URL");
            let decoded = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
            let asked =
                |name: &str| url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
            let (user, password) = if form == ConnectionForm::Jdbc {
                (asked("user").unwrap_or_default(), asked("password").unwrap_or_default())
            } else {
                (decoded(url.username()), decoded(url.password().unwrap_or_default()))
            };
            assert_eq!((user.as_str(), password.as_str()), (USER, PASSWORD), "{form:?} of {engine:?}");
            assert_eq!((url.host_str(), url.port()), (Some(HOST), Some(5432)));
            assert_eq!(decoded(url.path().trim_start_matches('/')), DATABASE, "{form:?} of {engine:?}");
        }
    }
}

#[test]
fn the_files_of_windows_stay_json_and_xml() {
    let connection = connection(Engine::Postgres, PathBuf::from("/run/daypass"), 5432);
    let servers = connection.text(ConnectionForm::Pgadmin, None);
    let servers: serde_json::Value = serde_json::from_str(&servers).expect("it is JSON");
    assert_eq!(servers["Servers"]["1"]["MaintenanceDB"], DATABASE);
    assert_eq!(servers["Servers"]["1"]["Username"], USER);
    let source = Connection { user: "a<b>&\"c".to_owned(), ..connection }.text(ConnectionForm::Datagrip, None);
    assert!(source.contains("<user-name>a&lt;b&gt;&amp;&quot;c</user-name>"), "{source}");
}

fn connection(engine: Engine, folder: PathBuf, port: u16) -> Connection {
    let target = Target {
        id: TargetId::new("orders-prod").expect("a valid name"),
        engine,
        endpoint: Endpoint { host: "orders-prod.c9.eu-west-1.rds.amazonaws.com".to_owned(), port: 5432 },
        region: Region::new("eu-west-1").expect("a Region"),
        account: AccountId::new("111122223333").expect("12 digits"),
        database: DATABASE.to_owned(),
        rds_identifier: "orders-prod".to_owned(),
        environment: Environment::Production,
        bastion: Bastion::Instance("i-0da7a9a55ba5710e1".to_owned()),
        document: model::SessionDocument::default(),
        local_port: None,
    };
    Connection { target, user: USER.to_owned(), port, folder }
}

fn names() -> (String, String) {
    (USER.to_owned(), DATABASE.to_owned())
}

/// psql, started as a person starts it with that form.
fn psql(connection: &Connection, form: ConnectionForm, home: &Path) -> Command {
    let text = connection.text(form, None);
    let file = home.join("form");
    fs::write(&file, &text).expect("the folder is ours");
    let mut sh = bare("sh");
    let command = if form == ConnectionForm::Psql {
        format!("{text} -X")
    } else if form == ConnectionForm::PgService {
        "PGSERVICEFILE=\"$FILE\" PGSERVICE=orders-prod psql -X".to_owned()
    } else if form == ConnectionForm::Env {
        "set -a; . \"$FILE\"; psql -X".to_owned()
    } else {
        "psql -X \"$FORM\"".to_owned()
    };
    sh.env("FORM", &text).env("FILE", file).arg("-c").arg(command);
    sh
}

/// The user and database that a client of PostgreSQL names when it has connected.
fn said_by<S: Read + Write>(mut client: Command, accept: impl FnOnce() -> S + Send + 'static) -> (String, String) {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || tell.send(names_in(accept())));
    let output = client.output().expect("every system has sh");
    let said = told.recv_timeout(Duration::from_secs(10));
    said.unwrap_or_else(|_| panic!("psql did not connect: {}", String::from_utf8_lossy(&output.stderr)))
}

/// Of a StartupMessage. What is asked for before it, TLS or GSSAPI, is not to be had.
fn names_in(mut client: impl Read + Write) -> (String, String) {
    let mut head = [0; 8];
    let length = loop {
        client.read_exact(&mut head).expect("psql goes on");
        let [a, b, c, d, 0, 3, ..] = head else {
            client.write_all(b"N").expect("psql goes on");
            continue;
        };
        break u32::from_be_bytes([a, b, c, d]);
    };
    let mut body = vec![0; usize::try_from(length).expect("some bytes") - 8];
    client.read_exact(&mut body).expect("psql says it all");
    let body = String::from_utf8(body).expect("names in UTF-8");
    let texts: Vec<&str> = body.split('\0').collect();
    let named = |name: &str| texts.chunks(2).find(|pair| pair[0] == name).map(|pair| pair[1].to_owned());
    (named("user").expect("a user"), named("database").expect("a database"))
}

fn shell(command: &str) -> String {
    printed(bare("sh").args(["-c", command]))
}

fn printed(command: &mut Command) -> String {
    let output = command.output().expect("it is installed by `cargo xtask setup`");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn bare(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).stdin(Stdio::null());
    command
}
