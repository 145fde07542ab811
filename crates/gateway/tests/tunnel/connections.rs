//! Programs of this machine at a listener.

use std::{io, sync::Arc};

use gateway::{BindError, ConnectionEvent, Listener, Observer, Pool, Route, Traffic, TunnelEvent, serve};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{Notify, mpsc},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use crate::bed::{Bed, echo, in_time, pattern};

#[tokio::test]
async fn each_client_gets_its_own_stream_and_is_counted() {
    let bed = Bed::echoing().await;
    let mut gate = Gate::open(bed.pool().await.0).await;
    let bytes = pattern(100_000);
    let (mut one, mut other) = (gate.connect().await, gate.connect().await);
    let (first, second) = tokio::join!(echo(&mut one, &bytes), echo(&mut other, b"select 1"));
    assert!(first == bytes, "100,000 bytes come back as they went");
    assert_eq!(second, b"select 1");
    assert_eq!((gate.traffic.accepted(), gate.traffic.open()), (2, 2));

    drop(one);
    loop {
        if let ConnectionEvent::Closed { up, down, .. } = gate.next_event().await {
            assert_eq!((up, down), (100_000, 100_000));
            break;
        }
    }
    assert_eq!(gate.traffic.open(), 1);
    assert_eq!((gate.traffic.up(), gate.traffic.down()), (100_008, 100_008));
}

#[tokio::test]
async fn a_client_that_stops_sending_still_gets_its_answer() {
    let bed = Bed::new(sandbox::data_channel::AgentConfig::default());
    let asked = Arc::new(Notify::new());
    let answer = Arc::clone(&asked);
    bed.target(move |mut client| {
        let answer = Arc::clone(&answer);
        async move {
            client.read_u8().await.expect("the question comes");
            answer.notified().await;
            client.write_all(b"the answer").await.expect("the SSM agent still listens");
        }
    })
    .await;
    let gate = Gate::open(bed.pool().await.0).await;
    let mut client = gate.connect().await;
    client.write_all(b"q").await.expect("it is accepted");
    client.shutdown().await.expect("half a close");
    asked.notify_one();
    let mut all = Vec::new();
    in_time(client.read_to_end(&mut all)).await.expect("the far end closes in good order");
    assert_eq!(all, b"the answer");
}

#[tokio::test]
async fn a_client_that_does_not_read_does_not_hold_up_the_others() {
    let bed = Bed::new(sandbox::data_channel::AgentConfig { pacing: false, ..Default::default() });
    bed.target(|mut client| async move {
        let length = client.read_u32().await.expect("each asks for so many bytes");
        let bytes = vec![7; usize::try_from(length).expect("it fits")];
        drop(client.write_all(&bytes).await);
    })
    .await;
    let (tunnel, _events) = bed.open().await;
    let mut slow = tunnel.connect().await.expect("it is open");
    slow.write_u32(3_000_000).await.expect("there is room");
    slow.read_u8().await.expect("it has begun");
    let mut quick = tunnel.connect().await.expect("it is open");
    quick.write_u32(10).await.expect("there is room");
    let mut all = Vec::new();
    in_time(quick.read_to_end(&mut all)).await.expect("nothing holds it up");
    assert_eq!(all, [7; 10]);
    all.clear();
    in_time(slow.read_to_end(&mut all)).await.expect("it was kept");
    assert_eq!(all.len(), 2_999_999);
}

#[tokio::test]
async fn a_target_that_cannot_be_reached_is_told_as_refused() {
    let bed = Bed::echoing().await;
    let closed = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("free ports");
    bed.route(closed.local_addr().expect("it is bound"));
    drop(closed);
    let (tunnel, mut events) = bed.open().await;
    let mut stream = tunnel.connect().await.expect("a stream is only a promise");
    let error = in_time(stream.read(&mut [0])).await.expect_err("nobody listens there");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    events.until(|event| matches!(event, TunnelEvent::ConnectRefused { .. })).await;
}

#[tokio::test]
async fn a_listener_is_at_the_port_asked_for_on_loopback_alone() {
    let free = Listener::bind(None).await.expect("some port is free").local_addr().expect("it is bound");
    let listener = Listener::bind(Some(free.port())).await.expect("it was free a moment ago");
    let address = listener.local_addr().expect("it is bound");
    assert_eq!((address.port(), address.ip().is_loopback()), (free.port(), true));
}

#[tokio::test]
async fn a_port_in_use_is_told_with_the_program_that_has_it() {
    let taken = Listener::bind(None).await.expect("some port is free");
    let port = taken.local_addr().expect("it is bound").port();
    let error = Listener::bind(Some(port)).await.expect_err("it is taken");
    let BindError::InUse { port: named, holder } = &error else { panic!("{error}") };
    assert_eq!(*named, port);
    if cfg!(target_os = "linux") {
        let holder = holder.as_ref().expect("it is this very process");
        assert_eq!(holder.pid, std::process::id());
        assert!(error.to_string().contains(&format!("process {}", holder.pid)), "{error}");
    }
}

#[tokio::test]
async fn shutting_down_closes_the_open_connections() {
    let bed = Bed::echoing().await;
    let gate = Gate::open(bed.pool().await.0).await;
    let mut client = gate.connect().await;
    assert_eq!(echo(&mut client, b"x").await, b"x");
    gate.shutdown.cancel();
    in_time(gate.task).await.expect("it ends");
    let end = in_time(client.read(&mut [0])).await;
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    assert_eq!(gate.traffic.open(), 0);
}

struct Gate {
    port: u16,
    traffic: Arc<Traffic>,
    events: mpsc::UnboundedReceiver<ConnectionEvent>,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Gate {
    async fn open(pool: Pool) -> Self {
        let listener = Listener::bind(None).await.expect("some port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let (told, events) = mpsc::unbounded_channel();
        let traffic = Arc::new(Traffic::default());
        let shutdown = CancellationToken::new();
        let observer = Observer { traffic: Arc::clone(&traffic), events: told };
        let task = tokio::spawn(serve(listener, Arc::new(Route::Pool(pool)), shutdown.clone(), observer));
        Self { port, traffic, events, shutdown, task }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.port)).await.expect("it listens")
    }

    async fn next_event(&mut self) -> ConnectionEvent {
        in_time(self.events.recv()).await.expect("it is served")
    }
}
