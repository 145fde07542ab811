//! Guests and the agent over real sockets in a temporary folder.

use std::{os::unix::fs::PermissionsExt, path::Path};

use ipc::{
    Answer, Client, ClientMessage, IpcError, MESSAGE_LIMIT, Outcome, PROTOCOL_VERSION, Private, Request, Rung,
    RungState, Server, ServerMessage, SocketPath,
};
use model::{Command, ErrorView, Identity, Notice, SecretsKeptIn, Snapshot, TargetId};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};

#[tokio::test]
async fn a_guest_gets_the_answer_to_its_question() {
    let (_folder, path, agent) = start().await;
    let mut client = Client::connect(&path).await.expect("the agent listens");
    assert_eq!(client.call(Request::Ping).await.expect("an answer"), Answer::Done);
    assert_eq!(client.snapshot().await.expect("an answer"), snapshot(0));
    let ladder = client.call(Request::Doctor { target: None }).await.expect("an answer");
    assert_eq!(ladder, Answer::Doctor(vec![rung()]));
    drop(client);
    agent.await.expect("the agent ends with its guest");
}

#[tokio::test]
async fn words_that_hold_a_password_arrive_and_show_themselves_in_no_log() {
    let (_folder, path, _agent) = start().await;
    let mut client = Client::connect(&path).await.expect("the agent listens");
    let target = TargetId::new("orders-prod").expect("a slug");
    let asked = Request::LocalPassword { target, renew: false };
    let words = client.private(asked.clone()).await.expect("an answer");
    assert_eq!(words.expose(), "CANARY");
    let answer = client.call(asked).await.expect("an answer");
    assert!(!format!("{words:?}{answer:?}").contains("CANARY"), "{answer:?}");
}

#[tokio::test]
async fn a_refusal_reaches_the_guest_word_for_word() {
    let (_folder, path, _agent) = start().await;
    let mut client = Client::connect(&path).await.expect("the agent listens");
    let error = client.command(Command::SignOut).await.expect_err("the agent refuses it");
    assert_eq!(error.view(), refusal());
}

#[tokio::test]
async fn a_subscriber_gets_the_snapshot_in_force_and_then_every_change() {
    let (_folder, path, _agent) = start().await;
    let mut client = Client::connect(&path).await.expect("the agent listens");
    client.subscribe().await.expect("accepted");
    assert_eq!(pushed(&mut client).await, ServerMessage::Snapshot(Box::new(snapshot(0))));
    client.command(Command::CancelSignIn).await.expect("accepted");
    assert_eq!(pushed(&mut client).await, ServerMessage::Notice(notice()), "notices are never dropped");
    let newest = ServerMessage::Snapshot(Box::new(snapshot(2)));
    assert_eq!(pushed(&mut client).await, newest, "of the snapshots that came during a call only the newest is kept");
}

#[tokio::test]
async fn an_agent_that_ends_is_seen_as_ended() {
    let (_folder, path, _agent) = start().await;
    let mut client = Client::connect(&path).await.expect("the agent listens");
    let error = client.command(Command::Quit).await.expect_err("the agent hangs up instead of answering");
    assert!(matches!(error, IpcError::Closed | IpcError::Broken(_)), "{error:?}");
}

#[tokio::test]
async fn without_an_agent_the_error_names_the_socket_and_the_next_step() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = socket_in(folder.path());
    let view = Client::connect(&path).await.expect_err("nobody listens").view();
    assert_eq!(view.code, "no-agent");
    assert!(view.message.contains(path.as_path().to_str().expect("UTF-8")), "{}", view.message);
    assert_eq!(view.hint, "Start the tray application or `daypass agent`");
}

#[tokio::test]
async fn a_socket_left_by_a_crash_is_replaced() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = socket_in(folder.path());
    std::fs::create_dir_all(folder.path().join("daypass")).expect("a folder");
    drop(std::os::unix::net::UnixListener::bind(path.as_path()).expect("a socket file that nobody serves"));
    assert!(path.as_path().exists(), "the standard library leaves the file behind");
    let _server = Server::bind(&path).await.expect("the stale file is replaced");
}

#[tokio::test]
async fn a_socket_that_somebody_serves_is_left_alone() {
    let (_folder, path, _agent) = start().await;
    let error = Server::bind(&path).await.expect_err("it is taken");
    assert!(matches!(error, IpcError::AnotherAgent { .. }), "{error:?}");
    assert!(path.as_path().exists(), "the other agent's socket stays");
}

#[tokio::test]
async fn a_server_removes_its_socket_when_it_ends() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = socket_in(folder.path());
    drop(Server::bind(&path).await.expect("a free path"));
    assert!(!path.as_path().exists(), "no socket is left behind");
}

#[tokio::test]
async fn socket_and_folder_are_for_this_user_alone() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = socket_in(folder.path());
    std::fs::create_dir(folder.path().join("daypass")).expect("a folder");
    set_mode(&folder.path().join("daypass"), 0o777);
    let _server = Server::bind(&path).await.expect("an own folder is tightened");
    assert_eq!(mode(&folder.path().join("daypass")), 0o700);
    assert_eq!(mode(path.as_path()), 0o600);
}

#[tokio::test]
async fn a_link_in_place_of_the_folder_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let elsewhere = tempfile::tempdir().expect("a temporary folder");
    std::os::unix::fs::symlink(elsewhere.path(), folder.path().join("daypass")).expect("a link");
    let error = Server::bind(&socket_in(folder.path())).await.expect_err("a link may point into a stranger's folder");
    assert!(matches!(error, IpcError::UnsafeFolder { .. }), "{error:?}");
}

#[tokio::test]
async fn a_path_that_the_system_cannot_address_is_named() {
    let path = SocketPath::at(format!("/tmp/{}/agent.sock", "x".repeat(120)));
    let error = Client::connect(&path).await.expect_err("it is too long");
    assert!(matches!(error, IpcError::PathTooLong { .. }), "{error:?}");
}

#[tokio::test]
async fn a_message_beyond_the_limit_is_an_error_and_not_a_full_memory() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = socket_in(folder.path());
    let server = Server::bind(&path).await.expect("a free path");
    let mut raw = UnixStream::connect(path.as_path()).await.expect("the server listens");
    let flood = tokio::spawn(async move { raw.write_all(&vec![b' '; MESSAGE_LIMIT + 1]).await });
    let error = server.accept().await.expect("a guest").reader.next().await.expect_err("no line may be so long");
    assert!(matches!(error, IpcError::TooLong { .. }), "{error:?}");
    drop(flood);
}

#[tokio::test]
async fn a_line_that_is_no_message_does_not_end_the_connection() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = socket_in(folder.path());
    let server = Server::bind(&path).await.expect("a free path");
    let mut raw = UnixStream::connect(path.as_path()).await.expect("the server listens");
    raw.write_all(b"GET / HTTP/1.1\n{\"id\":7,\"request\":\"ping\"}\n").await.expect("sent");
    let mut guest = server.accept().await.expect("a guest");
    assert!(matches!(guest.reader.next().await, Err(IpcError::Malformed(_))));
    let next = guest.reader.next().await.expect("the next line is fine");
    assert_eq!(next, Some(ClientMessage { id: 7, request: Request::Ping }));
}

#[tokio::test]
async fn a_guest_of_another_version_is_told_the_version_and_left() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = socket_in(folder.path());
    let server = Server::bind(&path).await.expect("a free path");
    let mut raw = UnixStream::connect(path.as_path()).await.expect("the server listens");
    raw.write_all(b"{\"id\":1,\"request\":{\"hello\":{\"version\":99}}}\n").await.expect("sent");
    let error = server.accept().await.expect("a guest").welcome().await.expect_err("another version");
    assert!(matches!(error, IpcError::VersionMismatch { theirs: 99, .. }), "{error:?}");
    let mut told = String::new();
    raw.read_to_string(&mut told).await.expect("the answer, then the end");
    let reply: ServerMessage = serde_json::from_str(&told).expect("one message");
    let outcome = Outcome::Ok(Answer::Hello { version: PROTOCOL_VERSION });
    assert_eq!(reply, ServerMessage::Reply { id: 1, outcome });
}

#[test]
fn the_socket_is_in_the_runtime_folder_or_in_a_folder_with_the_users_number() {
    let path = SocketPath::for_user(Some(Path::new("/run/user/1000")));
    assert_eq!(path.as_path(), Path::new("/run/user/1000/daypass/agent.sock"));
    let uid = rustix::process::geteuid().as_raw();
    let path = SocketPath::for_user(None);
    assert_eq!(path.as_path(), std::env::temp_dir().join(format!("daypass-{uid}/agent.sock")));
}

#[test]
fn an_agent_with_a_data_folder_of_its_own_has_a_socket_of_its_own() {
    assert_eq!(SocketPath::find(Some(Path::new("/tmp/one"))).as_path(), Path::new("/tmp/one/run/agent.sock"));
}

/// An agent that serves one guest: refuses SignOut, publishes a notice and two snapshots on CancelSignIn, ends on Quit.
async fn start() -> (tempfile::TempDir, SocketPath, tokio::task::JoinHandle<()>) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = socket_in(folder.path());
    let server = Server::bind(&path).await.expect("a free path");
    let agent = tokio::spawn(async move {
        let mut guest = server.accept().await.expect("a guest");
        guest.welcome().await.expect("the same version");
        while let Some(message) = guest.reader.next().await.expect("a well-formed message") {
            let (before, outcome, after) = serve(&message.request);
            for pushed in before {
                guest.writer.send(&pushed).await.expect("the guest reads");
            }
            let Some(outcome) = outcome else { return };
            guest.writer.send(&ServerMessage::Reply { id: message.id, outcome }).await.expect("the guest reads");
            for pushed in after {
                guest.writer.send(&pushed).await.expect("the guest reads");
            }
        }
    });
    (folder, path, agent)
}

fn serve(request: &Request) -> (Vec<ServerMessage>, Option<Outcome>, Vec<ServerMessage>) {
    let snap = |skew| ServerMessage::Snapshot(Box::new(snapshot(skew)));
    match request {
        Request::Command(Command::CancelSignIn) => {
            (vec![snap(1), ServerMessage::Notice(notice()), snap(2)], Some(Outcome::Ok(Answer::Done)), vec![])
        }
        Request::Command(Command::Quit) => (vec![], None, vec![]),
        Request::Command(_) => (vec![], Some(Outcome::Error(refusal())), vec![]),
        Request::ConnectionText { .. } | Request::LocalPassword { .. } => {
            (vec![], Some(Outcome::Ok(Answer::Private(Private::new("CANARY")))), vec![])
        }
        Request::Doctor { .. } => (vec![], Some(Outcome::Ok(Answer::Doctor(vec![rung()]))), vec![]),
        Request::Hello { .. } | Request::Ping => (vec![], Some(Outcome::Ok(Answer::Done)), vec![]),
        Request::Snapshot => (vec![], Some(Outcome::Ok(Answer::Snapshot(Box::new(snapshot(0))))), vec![]),
        Request::Subscribe => (vec![], Some(Outcome::Ok(Answer::Done)), vec![snap(0)]),
    }
}

async fn pushed(client: &mut Client) -> ServerMessage {
    client.next().await.expect("a message").expect("the agent still runs")
}

fn socket_in(folder: &Path) -> SocketPath {
    SocketPath::for_user(Some(folder))
}

fn snapshot(clock_skew_seconds: i32) -> Snapshot {
    Snapshot {
        identity: Identity::SignedOut { cause: None },
        identity_providers: vec![],
        targets: vec![],
        reviews: vec![],
        left_sessions: model::LeftSessions::default(),
        secrets_kept_in: SecretsKeptIn::Keychain,
        clock_skew_seconds,
        warnings: vec![],
    }
}

fn notice() -> Notice {
    Notice::SignInNeeded { targets: vec![] }
}

fn refusal() -> ErrorView {
    ErrorView::new("not-signed-in", "nobody is signed in; nothing to do", "sign in first")
}

fn rung() -> Rung {
    Rung { name: "clock".into(), state: RungState::Passed, seen: "0 s apart".into(), hint: None }
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).expect("it exists").permissions().mode() & 0o777
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("own folder");
}
