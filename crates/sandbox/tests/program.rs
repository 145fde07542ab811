//! `daypass-sandbox` as a program: it says when it is ready, is ruled over HTTP, signs people in, and leaves nothing behind.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::thread::JoinHandle;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_daypass-sandbox");

/// A running sandbox whose temporary folder is known.
struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    ready: Value,
    folder: tempfile::TempDir,
}

impl Running {
    fn start(more: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("daypass-program-").tempdir().expect("a temporary folder");
        let temporary = folder.path().join("tmp");
        std::fs::create_dir(&temporary).expect("the folder is writable");
        open_to_everybody(folder.path());
        open_to_everybody(&temporary);
        let mut child = Command::new(PROGRAM)
            .arg("serve")
            .arg("--dir")
            .arg(folder.path().join("catalog"))
            .args(["--until-stdin-closes", "--no-pacing"])
            .args(more)
            .env("TMPDIR", &temporary)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program is built with its tests");
        let mut output = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut line = String::new();
        output.read_line(&mut line).expect("it says that it is ready");
        let ready = serde_json::from_str(&line).unwrap_or_else(|_| panic!("not JSON: {line}"));
        let stdin = child.stdin.take();
        Self { child, stdin, output, ready, folder }
    }

    /// Waits for its end, and says what is left in its temporary folder.
    fn end(mut self) -> (bool, Vec<String>) {
        let status = self.child.wait().expect("it is our child");
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).expect("its output is text");
        assert_eq!(rest, "", "one line and no more");
        (status.success(), entries(&self.folder.path().join("tmp")))
    }

    /// Closes its standard input and waits for its end.
    fn close(mut self) -> (bool, Vec<String>) {
        drop(self.stdin.take());
        self.end()
    }

    fn address(&self, name: &str) -> &str {
        self.ready[name].as_str().unwrap_or_else(|| panic!("no {name} in {}", self.ready))
    }
}

/// PostgreSQL runs as somebody else, who has to be able to enter.
fn open_to_everybody(folder: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).expect("it is ours");
}

fn entries(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("it is there");
    entries.map(|entry| entry.expect("it can be listed").file_name().to_string_lossy().into_owned()).collect()
}

fn http(method: reqwest::Method, url: String, body: Option<Value>) -> (u16, Value) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let request = reqwest::Client::builder().no_proxy().build().expect("a client").request(method, url);
        let request = body.iter().fold(request, reqwest::RequestBuilder::json);
        let answer = request.send().await.expect("the sandbox answers");
        (answer.status().as_u16(), answer.json().await.unwrap_or_default())
    })
}

#[test]
fn it_ends_when_its_standard_input_closes_and_leaves_nothing_behind() {
    let running = Running::start(&["--colleague-approves-after", "2s"]);
    let catalog = std::fs::read_to_string(running.address("catalog")).expect("it is written before it is named");
    let endpoint = format!("endpoint = \"{}\"", running.address("endpoint"));
    assert!(catalog.contains(&endpoint) && catalog.contains(running.address("issuer")), "{catalog}");
    assert!(!entries(&running.folder.path().join("tmp")).is_empty(), "it keeps its files where it is told");
    assert_eq!(running.close(), (true, Vec::new()));
}

#[test]
fn it_ends_by_a_signal_while_its_standard_input_is_open() {
    for signal in [Signal::TERM, Signal::INT] {
        let running = Running::start(&[]);
        let id = Pid::from_child(&running.child);
        kill_process(id, signal).expect("it runs");
        assert_eq!(running.end(), (true, Vec::new()), "{signal:?}");
    }
}

#[test]
fn it_is_ruled_over_http_from_loopback_alone() {
    let running = Running::start(&["--clock-offset", "-600"]);
    let at = |path: &str| format!("{}/{path}", running.address("admin"));
    let (_, state) = http(reqwest::Method::GET, at("state"), None);
    let now: jiff::Timestamp = state["now"].as_str().expect("a text").parse().expect("RFC 3339");
    let behind = jiff::Timestamp::now().duration_since(now).as_secs();
    assert!((599..700).contains(&behind), "ten minutes behind, not {behind} s");

    let (_, moved) = http(reqwest::Method::POST, at("clock"), Some(json!({ "advance-seconds": 3600 })));
    let then: jiff::Timestamp = moved["now"].as_str().expect("a text").parse().expect("RFC 3339");
    assert!(then.duration_since(now).as_secs() >= 3600, "an hour later");
    let off = json!({ "id": "i-0da7a9a55ba5710e1", "online": false });
    assert_eq!(http(reqwest::Method::POST, at("node"), Some(off)).0, 204);
    let (_, state) = http(reqwest::Method::GET, at("state"), None);
    assert_eq!(state["nodes"][0]["online"], false);
    for (path, body) in [
        ("node", json!({ "id": "i-0da7a9a55ba5710e1", "agent-version": "3.0.1.0" })),
        ("task", json!({ "id": "7c1d4a0e9b3f4e52a6d8b0c2e4f60718", "exec-agent": "STOPPED" })),
        ("session-limits", json!({ "idle-seconds": 1200, "websocket-seconds": 3600 })),
        ("network", json!({ "do": "fail-over", "host": "orders", "port": 5432, "to": "127.0.0.1:9" })),
        ("network", json!({ "do": "black-hole", "host": "orders", "port": 5432 })),
    ] {
        assert_eq!(http(reqwest::Method::POST, at(path), Some(body.clone())).0, 204, "{path} {body}");
    }
    let (status, answer) = http(reqwest::Method::POST, at("approve"), Some(json!({ "as": "ben" })));
    assert_eq!(status, 409);
    assert!(answer["error"].as_str().expect("a text").contains("no request waits"), "{answer}");
    let misspelt = json!({ "advance": 3600 });
    assert_eq!(http(reqwest::Method::POST, at("clock"), Some(misspelt)).0, 422);

    let mut rebound =
        std::net::TcpStream::connect(running.address("endpoint").trim_start_matches("http://")).expect("it listens");
    rebound
        .write_all(b"GET /_sandbox/state HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
        .expect("it reads");
    let mut answer = String::new();
    rebound.read_to_string(&mut answer).expect("it answers");
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    assert_eq!(running.close(), (true, Vec::new()));
}

/// The application's end of a sign-in: answers one request and hands back its first line.
fn application() -> (u16, JoinHandle<String>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let answering = std::thread::spawn(move || {
        let (mut client, _) = listener.accept().expect("the browser comes");
        let mut line = String::new();
        BufReader::new(&client).read_line(&mut line).expect("a request");
        client.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").expect("it reads");
        line
    });
    (port, answering)
}

fn browse(url: &str, more: &[&str]) -> Output {
    Command::new(PROGRAM).args(["browse", url, "--as", "ana"]).args(more).output().expect("the program is built")
}

#[test]
fn its_browser_signs_in_or_declines_and_follows_to_the_application() {
    let running = Running::start(&[]);
    let page = |port: u16| {
        let issuer = running.address("issuer");
        format!(
            "{issuer}/authorize?response_type=code&client_id=daypass&scope=openid&state=s&code_challenge_method=S256\
             &code_challenge={}&redirect_uri=http%3A%2F%2F127.0.0.1%3A{port}%2Fcallback",
            "c".repeat(43)
        )
    };
    for (more, expected) in [(&[][..], "code="), (&["--deny"][..], "error=access_denied")] {
        let (port, answering) = application();
        let output = browse(&page(port), more);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(said.trim(), format!("200 http://127.0.0.1:{port}/callback"), "no code and no state in it");
        let line = answering.join().expect("it does not panic");
        assert!(line.starts_with("GET /callback?") && line.contains(expected), "{line}");
    }
    let elsewhere = browse("http://example.com/", &[]);
    assert!(!elsewhere.status.success());
    assert!(String::from_utf8_lossy(&elsewhere.stderr).contains("is not on loopback"));
    let no_form = browse(&format!("{}/jwks", running.address("issuer")), &[]);
    assert!(String::from_utf8_lossy(&no_form.stderr).contains("has no sign-in form"));
    assert_eq!(running.close(), (true, Vec::new()));
}
