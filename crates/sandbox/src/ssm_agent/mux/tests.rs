use std::net::Ipv4Addr;

use tokio::net::TcpListener;
use tokio::time::Instant;

use super::*;

/// Dials one listener.
struct To(TcpListener);

impl Dial for To {
    async fn dial(&self) -> io::Result<TcpStream> {
        TcpStream::connect(self.0.local_addr()?).await
    }

    async fn refused(&self) {}
}

async fn listener() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a loopback port is free")
}

fn session() -> (Session, mpsc::Receiver<Bytes>) {
    let (frames, queued) = mpsc::channel(16);
    let heard = AtomicBool::new(true);
    (Session { streams: Mutex::default(), bucket: Bucket::new(), frames, heard }, queued)
}

#[tokio::test(start_paused = true)]
async fn keepalive_says_something_every_ten_seconds_and_ends_after_thirty_of_silence() {
    let (mut client, agent) = tokio::io::duplex(1_024);
    let start = Instant::now();
    let serving = tokio::spawn(serve(agent, true, To(listener().await)));
    let mut nop = [0; 8];
    client.read_exact(&mut nop).await.expect("the agent speaks");
    assert_eq!((nop, start.elapsed()), ([1, NOP, 0, 0, 0, 0, 0, 0], KEEPALIVE_EVERY));
    let ended = serving.await.expect("no panic");
    assert!(matches!(ended, Err(MuxError::KeepaliveTimeout)), "{ended:?}");
    assert_eq!(start.elapsed(), KEEPALIVE_TIMEOUT * 2, "the first half minute counts the opening as heard");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_nop_is_alive() {
    let (mut client, agent) = tokio::io::duplex(1_024);
    let serving = tokio::spawn(serve(agent, true, To(listener().await)));
    for _ in 0..20 {
        tokio::time::advance(Duration::from_secs(10)).await;
        client.write_all(&frame(NOP, 0, &[])).await.expect("the agent listens");
        let mut nop = [0; 8];
        client.read_exact(&mut nop).await.expect("the agent speaks");
    }
    assert!(!serving.is_finished());
}

#[tokio::test]
async fn what_a_closed_stream_did_not_read_leaves_the_bucket() {
    let (session, mut queued) = session();
    let (accepted, mut backlog) = mpsc::channel(1);
    session.opened(3, &accepted).await;
    session.inbound(3, Inbound::Data(Bytes::from(vec![0; BUCKET])));
    session.inbound(5, Inbound::Data(Bytes::from_static(b"nobody's")));
    assert_eq!(*session.bucket.held(), BUCKET, "bytes for an unknown stream do not count");
    assert!(!session.bucket.has_room());
    session.close(backlog.recv().await.expect("it was accepted")).await;
    assert_eq!(*session.bucket.held(), 0);
    assert_eq!(queued.recv().await.as_deref(), Some(&[1, FIN, 0, 0, 3, 0, 0, 0][..]));
}

#[tokio::test]
async fn a_second_syn_changes_nothing() {
    let (session, _queued) = session();
    let (accepted, mut backlog) = mpsc::channel(2);
    session.opened(3, &accepted).await;
    session.opened(3, &accepted).await;
    assert_eq!(backlog.recv().await.map(|stream| stream.id), Some(3));
    assert!(backlog.try_recv().is_err());
}

#[tokio::test]
async fn frames_to_the_client_carry_32_768_bytes_at_most() {
    let (session, mut queued) = session();
    let copying = tokio::spawn(async move {
        session.copy_down(3, &mut &[7; 100_000][..]).await;
    });
    let mut lengths = Vec::new();
    while let Some(frame) = queued.recv().await {
        lengths.push(frame.len() - HEADER);
    }
    copying.await.expect("no panic");
    assert_eq!(lengths, [32_768, 32_768, 32_768, 1_696]);
}
