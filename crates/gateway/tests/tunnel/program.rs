//! The example program, run as anybody would run it: an answer of StartSession in, a port out.

use std::{net::SocketAddr, path::PathBuf, process::Stdio};

use gateway::Sessions;
use sandbox::{Sandbox, SandboxConfig, TemporaryCredentials, data_channel::Side};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines, copy, split},
    net::{TcpListener, TcpStream},
    process::{Child, ChildStdout, Command},
};

use crate::bed::{Bed, HOST, PORT, echo, in_time, pattern};

const BASTION: &str = "i-0da7a9a55ba5710e1";
const DOCUMENT: &str = "AWS-StartPortForwardingSessionToRemoteHost";

#[tokio::test]
async fn an_answer_of_the_cli_becomes_a_port_that_survives_a_cut_and_ends_at_aws() {
    let account = Account::start().await;
    let answer = account.answer_as_the_cli_prints_it().await;
    let mut program = account.program(&["--response", &answer, "--endpoint", account.sandbox.endpoint_url()]).await;
    let mut client = program.connect().await;
    let bytes = pattern(300_000);
    assert!(echo(&mut client, &bytes).await == bytes, "they come back as they went");

    let session_id = account.sandbox.open_sessions().pop().expect("it is open");
    account.sandbox.data_channels().cut(&session_id, Side::Client);
    assert_eq!(echo(&mut client, b"after the cut").await, b"after the cut");

    program.interrupt();
    let (status, words) = program.end().await;
    assert!(status, "{words}");
    assert!(account.sandbox.open_sessions().is_empty(), "TerminateSession was called");
}

#[tokio::test]
async fn an_answer_of_boto3_is_read_from_a_file() {
    let account = Account::start().await;
    let folder = tempfile::tempdir().expect("the temporary folder can be written");
    let file = folder.path().join("answer.json");
    std::fs::write(&file, account.answer_as_boto3_returns_it().await).expect("the folder is new");
    let response = format!("@{}", file.display());
    let program = account.program(&["--response", &response, "--endpoint", account.sandbox.endpoint_url()]).await;
    assert_eq!(echo(&mut program.connect().await, b"hello").await, b"hello");
}

#[tokio::test]
async fn credentials_come_from_a_named_profile() {
    let account = Account::start().await;
    let folder = tempfile::tempdir().expect("the temporary folder can be written");
    let TemporaryCredentials { access_key_id, secret_access_key, session_token, .. } = &account.credentials;
    let keys = format!("aws_access_key_id={access_key_id}\naws_secret_access_key={secret_access_key}\n");
    let profile = format!("[work]\n{keys}aws_session_token={session_token}\n");
    std::fs::write(folder.path().join("credentials"), profile).expect("the folder is new");
    std::fs::write(folder.path().join("config"), "[profile work]\nregion = eu-west-1\n").expect("the folder is new");
    let answer = account.answer_as_the_cli_prints_it().await;
    let mut command = program();
    command.args(["--response", &answer, "--endpoint", account.sandbox.endpoint_url(), "--profile", "work"]);
    command.env("AWS_SHARED_CREDENTIALS_FILE", folder.path().join("credentials"));
    command.env("AWS_CONFIG_FILE", folder.path().join("config"));
    let mut program = Program::start(command).await;
    assert_eq!(echo(&mut program.connect().await, b"hello").await, b"hello");
    program.interrupt();
    assert!(program.end().await.0, "it ends in good order");
    assert!(account.sandbox.open_sessions().is_empty(), "the profile's keys signed TerminateSession");
}

#[tokio::test]
async fn without_an_endpoint_a_lost_websocket_is_the_end_and_the_program_says_why() {
    let bed = Bed::echoing().await;
    let mut command = program();
    command.args(["--response", &bed_answer(&bed, None).await]);
    let mut program = Program::start(command).await;
    assert_eq!(echo(&mut program.connect().await, b"hello").await, b"hello");
    bed.channels.cut(&bed.session_id(), Side::Client);
    let (succeeded, words) = program.end().await;
    assert!(!succeeded, "a script must learn of it");
    assert!(words.contains("without --region or --endpoint there is nobody to ask"), "{words}");
}

#[tokio::test]
async fn what_is_no_answer_is_refused_without_repeating_it() {
    for (response, told) in [
        (r#"{"SessionId":"s","StreamUrl":"wss://x","TokenValue":7,"Hush":"hush"}"#, "no answer of StartSession"),
        (r#"{"sessionId":"s","streamUrl":"wss://x","tokenValue":"hush"}"#, "no answer of StartSession"),
        ("@/nowhere/hush-not.json", "cannot read /nowhere"),
        (r#"{"SessionId":"s","StreamUrl":"ws://10.1.2.3/v1/x","TokenValue":"hush"}"#, "without TLS"),
    ] {
        let mut command = program();
        command.args(["--response", response]);
        let (succeeded, words) = Program::fail(command).await;
        assert!(!succeeded && words.contains(told), "{words}");
        assert!(response.starts_with('@') || !words.contains("hush"), "a secret is repeated: {words}");
    }
}

/// An account with a Target that echoes.
struct Account {
    sandbox: Sandbox,
    credentials: TemporaryCredentials,
}

impl Account {
    async fn start() -> Self {
        let config = SandboxConfig { with_postgres: false, pacing: false, ..SandboxConfig::default() };
        let sandbox = Sandbox::start(config).await.expect("loopback ports are free");
        sandbox.vpc().route(HOST, PORT, echoing_target().await);
        let credentials = sandbox.credentials("ana", "JitRds").expect("she is a developer");
        Self { sandbox, credentials }
    }

    async fn start_session(&self) -> Value {
        let keys = &self.credentials;
        let token = Some(keys.session_token.clone());
        let credentials = aws_sdk_ssm::config::Credentials::new(
            keys.access_key_id.clone(),
            keys.secret_access_key.clone(),
            token,
            None,
            "sandbox",
        );
        let config = aws_sdk_ssm::Config::builder()
            .behavior_version(aws_sdk_ssm::config::BehaviorVersion::latest())
            .region(aws_sdk_ssm::config::Region::new("eu-west-1"))
            .credentials_provider(credentials)
            .endpoint_url(self.sandbox.endpoint_url())
            .build();
        let call = aws_sdk_ssm::Client::from_conf(config).start_session().target(BASTION).document_name(DOCUMENT);
        let call = call.parameters("host", vec![HOST.to_owned()]).parameters("portNumber", vec![PORT.to_string()]);
        let answer = call.parameters("localPortNumber", vec!["0".to_owned()]).send().await.expect("she may");
        json!({
            "SessionId": answer.session_id, "TokenValue": answer.token_value, "StreamUrl": answer.stream_url,
        })
    }

    async fn answer_as_the_cli_prints_it(&self) -> String {
        format!("{:#}\n", self.start_session().await)
    }

    /// `json.dumps(client.start_session(…))`.
    async fn answer_as_boto3_returns_it(&self) -> String {
        let mut answer = self.start_session().await;
        answer["ResponseMetadata"] = json!({
            "RequestId": "0a1b", "HTTPStatusCode": 200, "HTTPHeaders": {"server": "Server"}, "RetryAttempts": 0,
        });
        answer.to_string()
    }

    async fn program(&self, arguments: &[&str]) -> Program {
        let keys = &self.credentials;
        let mut command = program();
        command.args(arguments).args(["--region", "eu-west-1"]);
        command.env("AWS_ACCESS_KEY_ID", &keys.access_key_id).env("AWS_SECRET_ACCESS_KEY", &keys.secret_access_key);
        command.env("AWS_SESSION_TOKEN", &keys.session_token);
        Program::start(command).await
    }
}

async fn echoing_target() -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("loopback has free ports");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = split(&mut client);
                drop(copy(&mut from, &mut to).await);
            });
        }
    });
    address
}

/// A session of the bed as StartSession would tell it, at `origin` if there is one.
pub(crate) async fn bed_answer(bed: &Bed, origin: Option<&str>) -> String {
    let started = bed.sessions.start().await.expect("no error is asked for");
    let stream_url = origin.map_or(started.stream_url.clone(), |origin| crate::tls::at(origin, &started.stream_url));
    let token = started.token.expose();
    json!({"SessionId": started.session_id, "StreamUrl": stream_url, "TokenValue": token}).to_string()
}

/// The example, at some free port, with nothing of this machine's environment.
pub(crate) fn program() -> Command {
    let tests = std::env::current_exe().expect("a running program has a file");
    let built = tests.ancestors().nth(2).expect("tests lie in target/PROFILE/deps").to_owned();
    let example: PathBuf = built.join("examples").join(format!("tunnel{}", std::env::consts::EXE_SUFFIX));
    assert!(example.is_file(), "it is built along with all tests: cargo build -p gateway --example tunnel");
    let mut command = Command::new(example);
    command.env_clear().env("AWS_EC2_METADATA_DISABLED", "true").args(["--local-port", "0"]).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

pub(crate) struct Program {
    child: Child,
    port: u16,
    _said: Lines<BufReader<ChildStdout>>,
}

impl Program {
    /// Until it listens.
    pub(crate) async fn start(mut command: Command) -> Self {
        let mut child = command.spawn().expect("it is built");
        let mut said = BufReader::new(child.stdout.take().expect("it is a pipe")).lines();
        let line = in_time(said.next_line()).await.expect("it is text");
        let port = line.as_deref().and_then(|line| line.rsplit(':').next()?.parse().ok());
        let Some(port) = port else { panic!("it does not listen: {}", Self::words(&mut child).await) };
        Self { child, port, _said: said }
    }

    /// Runs one that is expected to fail before it listens; whether it succeeded, and its words.
    pub(crate) async fn fail(mut command: Command) -> (bool, String) {
        let output = in_time(command.output()).await.expect("it is built");
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.port)).await.expect("it listens")
    }

    fn interrupt(&self) {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
        let id = id.expect("it runs");
        rustix::process::kill_process(id, rustix::process::Signal::INT).expect("it is ours");
    }

    /// Waits for its end; whether it succeeded, and its words.
    async fn end(&mut self) -> (bool, String) {
        let status = in_time(self.child.wait()).await.expect("it is our child");
        (status.success(), Self::words(&mut self.child).await)
    }

    async fn words(child: &mut Child) -> String {
        let mut words = Vec::new();
        if let Some(stderr) = &mut child.stderr {
            in_time(stderr.read_to_end(&mut words)).await.expect("it is a pipe");
        }
        String::from_utf8_lossy(&words).into_owned()
    }
}
