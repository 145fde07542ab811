//! Our multiplexer against the one that the SSM agent has: the public Go library, in a process of its own.

use std::{env::temp_dir, path::Path, process::Stdio, sync::Arc};

use bytes::Bytes;
use futures_util::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use gateway::{ResumedSession, SessionError, Sessions, StartedSession, Tunnel, TunnelConfig, TunnelStream};
use sha2::{Digest, Sha256};
use ssm_proto::frame::{
    ACKNOWLEDGE_FLAGS, Acknowledgement, FLAG_SYN, Frame, HandshakeComplete, HandshakeRequest, MessageType, PayloadType,
    RequestedClientAction, format_uuid,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::{Notify, mpsc},
};
use tokio_tungstenite::{WebSocketStream, tungstenite::Message};

use crate::bed::{echo, in_time, pattern};

/// Most bytes of a message of the SSM agent.
const LONGEST_PAYLOAD: usize = 1024;

#[tokio::test]
async fn the_go_library_and_ours_carry_many_streams_both_ways() {
    let far = FarEnd::start(&[]).await;
    let bytes = pattern(700_000);
    let mut tasks = tokio::task::JoinSet::new();
    for length in [1, 1016, 1017, 32_768, 65_536, 700_000] {
        let mut given = far.stream(&format!("give {length}")).await;
        let mut taken = far.stream(&format!("take {length}")).await;
        let mut echoed = far.stream("echo").await;
        let bytes = bytes.get(..length).expect("none is longer").to_vec();
        tasks.spawn(async move {
            assert!(echo(&mut echoed, &bytes).await == bytes, "{length} bytes echoed");
            taken.write_all(&bytes).await.expect("it takes them");
            assert_eq!(rest(&mut taken).await, hex(&Sha256::digest(&bytes)), "{length} bytes taken");
            assert!(rest(&mut given).await == bytes, "{length} bytes given");
        });
    }
    while let Some(done) = in_time(tasks.join_next()).await {
        done.expect("every stream is right");
    }
}

#[tokio::test]
async fn a_stream_that_is_not_read_holds_up_no_other_one() {
    let far = FarEnd::start(&[]).await;
    let mut unread = far.stream("give 5000000").await;
    unread.read_u8().await.expect("it has begun");
    let mut quick = far.stream("echo").await;
    assert_eq!(echo(&mut quick, b"select 1").await, b"select 1");
    assert_eq!(rest(&mut unread).await.len(), 4_999_999);
}

#[tokio::test]
async fn the_go_library_learns_of_every_stream_that_is_closed_here() {
    let far = FarEnd::start(&[]).await;
    for _ in 0..50 {
        let mut stream = far.stream("echo").await;
        assert_eq!(echo(&mut stream, b"x").await, b"x");
    }
    let mut last = far.stream("alone").await;
    assert_eq!(rest(&mut last).await, b"alone");
}

#[tokio::test]
async fn the_keepalives_of_the_go_library_do_no_harm() {
    let far = FarEnd::start(&["keepalive"]).await;
    let mut stream = far.stream("echo").await;
    for part in pattern(100_000).chunks(1000) {
        assert!(echo(&mut stream, part).await == part, "bytes between keepalives");
    }
}

async fn rest(stream: &mut TunnelStream) -> Vec<u8> {
    let mut all = Vec::new();
    in_time(stream.read_to_end(&mut all)).await.expect("a clean end");
    all
}

fn hex(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect()
}

/// A Tunnel to the Go process.
struct FarEnd {
    tunnel: Tunnel,
    _process: Child,
}

impl FarEnd {
    async fn start(arguments: &[&str]) -> Self {
        let program = build().await;
        let spawned = Command::new(&program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        let mut process = spawned.expect("it was built a moment ago");
        let stdin = process.stdin.take().expect("it is a pipe");
        let stdout = process.stdout.take().expect("it is a pipe");
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("loopback has free ports");
        let stream_url = format!("ws://{}/v1/data-channel/s", listener.local_addr().expect("it is bound"));
        tokio::spawn(async move {
            let (client, _) = listener.accept().await.expect("the tunnel dials");
            serve(client, stdin, stdout).await;
        });
        let events = mpsc::unbounded_channel().0;
        let tunnel = in_time(Tunnel::open(OneSession { stream_url }, TunnelConfig::default(), events)).await;
        Self { tunnel: tunnel.expect("the handshake is the SSM agent's"), _process: process }
    }

    async fn stream(&self, wants: &str) -> TunnelStream {
        let mut stream = self.tunnel.connect().await.expect("it is open");
        stream.write_all(format!("{wants}\n").as_bytes()).await.expect("there is room");
        stream
    }
}

/// Debian's packages lie in a GOPATH of the old kind. Each test builds for itself; Go's cache makes the second one quick.
async fn build() -> tempfile::TempPath {
    const LIBRARY: &str = "/usr/share/gocode";
    let installed = Path::new(LIBRARY).join("src/github.com/xtaci/smux").is_dir();
    assert!(installed, "`cargo xtask setup` installs golang-github-xtaci-smux-dev");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tunnel/smux/far_end.go");
    let program = tempfile::Builder::new().prefix("smux-").tempfile().expect("a temporary folder").into_temp_path();
    let built = Command::new("go")
        .args(["build", "-o"])
        .arg(&program)
        .arg(source)
        .env("GO111MODULE", "off")
        .env("GOPATH", LIBRARY)
        .env("GOCACHE", temp_dir().join("daypass-go-cache"))
        .env("GOFLAGS", "")
        .output()
        .await;
    let built = built.expect("`cargo xtask setup` installs golang-go");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    program
}

struct OneSession {
    stream_url: String,
}

impl Sessions for OneSession {
    async fn start(&self) -> Result<StartedSession, SessionError> {
        let (session_id, stream_url) = ("s".to_owned(), self.stream_url.clone());
        Ok(StartedSession { session_id, stream_url, token: "t".to_owned().into() })
    }

    async fn resume(&self, _: &str) -> Result<Option<ResumedSession>, SessionError> {
        Ok(None)
    }

    async fn terminate(&self, _: &str) -> Result<(), SessionError> {
        Ok(())
    }
}

/// An SSM agent on a network that loses nothing, with the Go process as its multiplexer.
async fn serve(client: TcpStream, to_mux: ChildStdin, from_mux: ChildStdout) {
    client.set_nodelay(true).expect("it is connected");
    let websocket = tokio_tungstenite::accept_async(client).await.expect("the tunnel speaks websocket");
    let (to_client, from_client) = websocket.split();
    let (out, messages) = mpsc::unbounded_channel();
    let answered = Arc::new(Notify::new());
    let said = say(out.clone(), from_mux, Arc::clone(&answered));
    // Whichever ends first, the tunnel is closed.
    tokio::select! {
        () = write(to_client, messages) => {}
        () = said => {}
        () = read(from_client, out, to_mux, answered) => {}
    }
}

async fn write(
    mut to_client: SplitSink<WebSocketStream<TcpStream>, Message>,
    mut messages: mpsc::UnboundedReceiver<Frame>,
) {
    while let Some(frame) = messages.recv().await {
        if to_client.send(Message::Binary(frame.encode())).await.is_err() {
            return;
        }
    }
}

async fn say(out: mpsc::UnboundedSender<Frame>, mut from_mux: ChildStdout, answered: Arc<Notify>) {
    let mut sequence_number = 0;
    let mut data = |payload_type, payload: Bytes| {
        let flags = if sequence_number == 0 { FLAG_SYN } else { 0 };
        let sent = frame(MessageType::OutputStreamData, sequence_number, flags, Some(payload_type), payload);
        sequence_number += 1;
        drop(out.send(sent));
    };
    let properties = serde_json::json!({"type": "LocalPortForwarding", "portNumber": "5432", "localPortNumber": "0"});
    let asked = HandshakeRequest {
        agent_version: "3.3.1142.0".to_owned(),
        requested_client_actions: vec![RequestedClientAction {
            action_type: "SessionType".to_owned(),
            action_parameters: serde_json::json!({"SessionType": "Port", "Properties": properties}),
        }],
    };
    data(PayloadType::HandshakeRequest, asked.to_json().into());
    answered.notified().await;
    let complete = HandshakeComplete { time_to_complete_ns: 1, customer_message: String::new() };
    data(PayloadType::HandshakeComplete, complete.to_json().into());
    let mut packet = [0; LONGEST_PAYLOAD];
    while let Ok(length @ 1..) = from_mux.read(&mut packet).await {
        data(PayloadType::Output, Bytes::copy_from_slice(&packet[..length]));
    }
}

async fn read(
    mut from_client: SplitStream<WebSocketStream<TcpStream>>,
    out: mpsc::UnboundedSender<Frame>,
    mut to_mux: ChildStdin,
    answered: Arc<Notify>,
) {
    let mut expected = 0;
    while let Some(Ok(message)) = from_client.next().await {
        let Message::Binary(encoded) = message else { continue };
        let received = Frame::decode(encoded).expect("the tunnel sends whole messages");
        if received.message_type != MessageType::InputStreamData {
            continue;
        }
        let number = received.sequence_number;
        assert!(number <= expected, "nothing is lost on the way, so nothing comes early");
        drop(out.send(acknowledgement(&received)));
        if number == expected {
            expected += 1;
            match received.payload_type {
                Some(PayloadType::HandshakeResponse) => answered.notify_one(),
                Some(PayloadType::Output) => to_mux.write_all(&received.payload).await.expect("it runs"),
                _ => {}
            }
        }
    }
}

fn acknowledgement(received: &Frame) -> Frame {
    let payload = Acknowledgement {
        message_type: received.message_type.as_str().to_owned(),
        message_id: format_uuid(received.message_id),
        sequence_number: received.sequence_number,
        is_sequential: true,
    };
    frame(MessageType::Acknowledge, 0, ACKNOWLEDGE_FLAGS, None, payload.to_json().into())
}

fn frame(
    message_type: MessageType,
    sequence_number: i64,
    flags: u64,
    payload_type: Option<PayloadType>,
    payload: Bytes,
) -> Frame {
    Frame { message_type, sequence_number, flags, message_id: [7; 16], created_at_ms: 1, payload_type, payload }
}
