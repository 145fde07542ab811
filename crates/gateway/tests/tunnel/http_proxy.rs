//! HTTP proxies between this machine and AWS, as the environment names them, for the example program.

use std::{
    net::SocketAddr,
    process::Stdio,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, copy_bidirectional},
    net::{TcpListener, TcpStream},
    process::{Child, Command},
};

use crate::{
    bed::{Bed, echo, in_time},
    program::{Program, bed_answer, program},
    tls::{TlsFront, authority, certificate},
};

const SERVICE: &str = "ssmmessages.eu-west-1.amazonaws.com";
/// `ana:s3cret`.
const AUTHORIZATION: &str = "Basic YW5hOnMzY3JldA==";

#[tokio::test]
async fn the_websocket_goes_through_the_proxy_that_the_environment_names() {
    let world = World::start(Policy::Anybody).await;
    let mut command = world.program().await;
    command.env("HTTPS_PROXY", world.proxy.url(""));
    let program = Program::start(command).await;
    assert_eq!(echo(&mut program.connect().await, b"hello").await, b"hello");
    let asked = world.proxy.asked();
    assert!(asked[0].starts_with(&format!("CONNECT {SERVICE}:443 HTTP/1.1")), "{asked:?}");
}

#[tokio::test]
async fn the_proxy_is_given_the_name_and_password_of_its_address() {
    let world = World::start(Policy::Authorized).await;
    let mut command = world.program().await;
    command.env("HTTPS_PROXY", world.proxy.url("ana:s3cret@"));
    let program = Program::start(command).await;
    assert_eq!(echo(&mut program.connect().await, b"hello").await, b"hello");
}

#[tokio::test]
async fn tinyproxy_carries_the_websocket_for_those_who_know_its_password() {
    let world = World::start(Policy::Anybody).await;
    let tinyproxy = Tinyproxy::start(&world).await;
    for (login, good) in [("ana:s3cret@", true), ("ana:wr0ng@", false), ("", false)] {
        let mut command = world.program().await;
        command.env("HTTPS_PROXY", format!("http://{login}127.0.0.1:{}", tinyproxy.port));
        if good {
            let program = Program::start(command).await;
            assert_eq!(echo(&mut program.connect().await, b"hello").await, b"hello");
        } else {
            let (succeeded, words) = Program::fail(command).await;
            assert!(!succeeded && words.contains("cannot connect to 127.0.0.1"), "{words}");
        }
    }
    assert_eq!(world.proxy.asked().len(), 1, "the others were not let through");
}

#[tokio::test]
async fn a_proxy_that_says_no_is_told_with_its_answer_and_without_the_password() {
    for (policy, login, told) in [
        (Policy::Authorized, "", "authorization required"),
        (Policy::Authorized, "ana:wr0ng@", "authorization required"),
        (Policy::Nobody, "ana:wr0ng@", "unsuccessful"),
    ] {
        let world = World::start(policy).await;
        let mut command = world.program().await;
        command.env("HTTPS_PROXY", world.proxy.url(login));
        let (succeeded, words) = Program::fail(command).await;
        assert!(!succeeded && words.contains("cannot connect to 127.0.0.1"), "{policy:?}: {words}");
        assert!(words.contains(told), "{policy:?}: {words}");
        assert!(!words.contains("wr0ng"), "{policy:?}: {words}");
    }
}

#[tokio::test]
async fn hosts_that_the_environment_excepts_are_reached_directly() {
    let world = World::start(Policy::Anybody).await;
    let mut command = world.program().await;
    command.env("HTTPS_PROXY", world.proxy.url("")).env("NO_PROXY", ".amazonaws.com");
    // There is no such name behind the example's back: what counts is that the proxy is not asked.
    let (succeeded, words) = Program::fail(command).await;
    assert!(!succeeded && words.contains(SERVICE), "{words}");
    assert_eq!(world.proxy.asked(), [""; 0]);
}

#[tokio::test]
async fn this_machine_itself_is_reached_directly_whatever_the_environment_names() {
    let world = World::start(Policy::Nobody).await;
    let mut command = program();
    command.args(["--response", &bed_answer(&world.bed, None).await]);
    command.env("HTTPS_PROXY", world.proxy.url("")).env("ALL_PROXY", world.proxy.url(""));
    let program = Program::start(command).await;
    assert_eq!(echo(&mut program.connect().await, b"hello").await, b"hello");
    assert_eq!(world.proxy.asked(), [""; 0]);
}

/// Data channels inside TLS under AWS's name, to be reached through a proxy alone.
struct World {
    bed: Bed,
    proxy: Proxy,
    folder: tempfile::TempDir,
}

impl World {
    async fn start(policy: Policy) -> Self {
        let bed = Bed::echoing().await;
        let authority = authority("Acme");
        let front = TlsFront::start(&bed, certificate(&authority, SERVICE)).await;
        let folder = tempfile::tempdir().expect("the temporary folder can be written");
        std::fs::write(folder.path().join("ca.pem"), authority.ca_pem()).expect("the folder is new");
        Self { bed, proxy: Proxy::start(policy, front.address).await, folder }
    }

    async fn program(&self) -> tokio::process::Command {
        let mut command = program();
        command.args(["--response", &bed_answer(&self.bed, Some(&format!("wss://{SERVICE}"))).await]);
        command.arg("--ca-bundle").arg(self.folder.path().join("ca.pem"));
        command
    }
}

/// The real program. It resolves names itself, so it is told to hand everything on to the world's own proxy.
struct Tinyproxy {
    port: u16,
    _process: Child,
    _folder: tempfile::TempDir,
}

impl Tinyproxy {
    async fn start(world: &World) -> Self {
        let free = TcpListener::bind(("127.0.0.1", 0)).await.expect("loopback has free ports");
        let port = free.local_addr().expect("it is bound").port();
        drop(free);
        let folder = tempfile::tempdir().expect("the temporary folder can be written");
        let config = folder.path().join("tinyproxy.conf");
        let (login, behind) = ("BasicAuth ana s3cret", world.proxy.address);
        let lines = format!("Port {port}\nListen 127.0.0.1\n{login}\nUpstream http {behind}\nLogLevel Info\n");
        std::fs::write(&config, lines).expect("the folder is new");
        let mut command = Command::new("tinyproxy");
        command.arg("-d").arg("-c").arg(config).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().expect("tinyproxy is installed by `cargo xtask setup`");
        let mut log = BufReader::new(process.stdout.take().expect("it is a pipe")).lines();
        while let Some(line) = in_time(log.next_line()).await.expect("it is text") {
            if line.contains("Accepting connections") {
                // It logs on, and must not meet a closed pipe.
                tokio::spawn(async move { while let Ok(Some(_)) = log.next_line().await {} });
                return Self { port, _process: process, _folder: folder };
            }
        }
        panic!("tinyproxy does not start");
    }
}

/// Whom a proxy serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Policy {
    Anybody,
    Authorized,
    Nobody,
}

/// Whatever name it is asked for leads to one address.
struct Proxy {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    async fn start(policy: Policy, behind: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("loopback has free ports");
        let address = listener.local_addr().expect("it is bound");
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let noted = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(client, policy, behind, Arc::clone(&noted)));
            }
        });
        Self { address, asked }
    }

    /// `login` is empty or `NAME:PASSWORD@`.
    fn url(&self, login: &str) -> String {
        format!("http://{login}{}", self.address)
    }

    /// Each request with its headers.
    fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("nothing panics with it").clone()
    }
}

async fn serve(client: TcpStream, policy: Policy, behind: SocketAddr, asked: Arc<Mutex<Vec<String>>>) {
    let mut client = BufReader::new(client);
    let mut request = String::new();
    while !request.ends_with("\r\n\r\n") {
        if client.read_line(&mut request).await.expect("the client speaks HTTP") == 0 {
            return;
        }
    }
    asked.lock().expect("nothing panics with it").push(request.clone());
    let authorized = request.lines().any(|line| {
        line.split_once(": ")
            .is_some_and(|(name, value)| name.eq_ignore_ascii_case("proxy-authorization") && value == AUTHORIZATION)
    });
    let answer = match policy {
        Policy::Anybody => "200 Connection established",
        Policy::Authorized if authorized => "200 Connection established",
        Policy::Authorized => "407 Proxy Authentication Required",
        Policy::Nobody => "403 Forbidden",
    };
    let answer = format!("HTTP/1.1 {answer}\r\n\r\n");
    client.write_all(answer.as_bytes()).await.expect("the client listens");
    if answer.contains(" 200 ") {
        let mut service = TcpStream::connect(behind).await.expect("it listens");
        // Ends when either side goes.
        drop(copy_bidirectional(&mut client, &mut service).await);
    }
}
