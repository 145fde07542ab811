use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    sync::watch,
    task::JoinHandle,
    time::Instant,
};

use super::*;
use crate::connections::Traffic;

/// Messages of four bytes: `?` asks, `idle`, `busy` and `more` answer.
#[derive(Default)]
struct Plain {
    bytes: usize,
    busy: bool,
}

impl Dialogue for Plain {
    fn walk(&mut self, bytes: &[u8]) -> bool {
        self.bytes += bytes.len();
        if bytes.ends_with(b"idle") || bytes.ends_with(b"busy") {
            self.busy = bytes.ends_with(b"busy");
            return true;
        }
        false
    }

    fn is_between_messages(&self) -> bool {
        self.bytes.is_multiple_of(4)
    }

    fn is_outside_transaction(&self) -> bool {
        !self.busy
    }

    fn notice(&self, ending: &Ending) -> Vec<u8> {
        ending.notice.clone().into_bytes()
    }

    fn farewell(&self, ending: &Ending) -> Vec<u8> {
        ending.cause.clone().into_bytes()
    }
}

struct Line {
    client: DuplexStream,
    server: DuplexStream,
    ending: watch::Sender<Option<Ending>>,
    spliced: JoinHandle<(Spliced, u64, u64)>,
}

impl Line {
    fn new() -> Self {
        let (client, near) = duplex(64);
        let (server, far) = duplex(64);
        let (ending, watched) = watch::channel(None);
        let watched = EndingWatch::new(watched, Duration::from_secs(300), Duration::from_secs(5));
        let spliced = tokio::spawn(async move {
            let traffic = Traffic::default();
            let open = Open::begin(&traffic);
            let spliced = splice(near, far, Plain::default(), &open, watched).await;
            (spliced, traffic.up(), traffic.down())
        });
        Self { client, server, ending, spliced }
    }

    fn end_in(&self, seconds: u64) {
        let [notice, cause, hint] = ["note", "over", "wait"].map(str::to_owned);
        let at = Instant::now() + Duration::from_secs(seconds);
        self.ending.send_replace(Some(Ending { at, notice, cause, hint }));
    }

    /// The server says something, and the client hears it.
    async fn answer(&mut self, word: &[u8]) {
        self.server.write_all(word).await.expect("it is open");
        assert_eq!(self.heard(word.len()).await, word);
    }

    async fn ask(&mut self) {
        self.client.write_all(b"?").await.expect("it is open");
        let mut question = [0];
        self.server.read_exact(&mut question).await.expect("it is open");
    }

    async fn heard(&mut self, length: usize) -> Vec<u8> {
        let mut words = vec![0; length];
        self.client.read_exact(&mut words).await.expect("it is open");
        words
    }

    async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        self.client.read_to_end(&mut rest).await.expect("it ends in good order");
        rest
    }
}

fn seconds(since: Instant) -> u64 {
    since.elapsed().as_secs()
}

#[tokio::test(start_paused = true)]
async fn a_client_that_stops_sending_still_gets_its_answer() {
    let mut line = Line::new();
    line.ask().await;
    line.client.shutdown().await.expect("it is open");
    assert_eq!(line.server.read(&mut [0]).await.expect("it is open"), 0, "the end is passed on");
    line.answer(b"idle").await;
    drop(line.server);
    assert_eq!(line.client.read(&mut [0]).await.expect("it is open"), 0);
    let (spliced, up, down) = line.spliced.await.expect("no panic");
    assert!(matches!(spliced, Spliced::Finished));
    assert_eq!((up, down), (1, 4));
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_told_five_minutes_before_and_ended_at_the_last_call() {
    let mut line = Line::new();
    let start = Instant::now();
    line.end_in(600);
    assert_eq!(line.heard(4).await, b"note");
    assert_eq!(seconds(start), 300);
    assert_eq!(line.rest().await, b"over");
    assert_eq!(seconds(start), 595);
    drop(line.client);
    assert!(matches!(line.spliced.await.expect("no panic").0, Spliced::Ended));
}

#[tokio::test(start_paused = true)]
async fn a_transaction_has_until_the_deadline() {
    let mut line = Line::new();
    line.ask().await;
    line.answer(b"busy").await;
    let start = Instant::now();
    line.end_in(10);
    assert_eq!(line.heard(4).await, b"note", "a late one is told at once");
    assert_eq!(line.rest().await, b"over");
    assert_eq!(seconds(start), 10);
}

#[tokio::test(start_paused = true)]
async fn a_transaction_that_ends_after_the_last_call_takes_its_connection_along() {
    let mut line = Line::new();
    line.ask().await;
    line.answer(b"busy").await;
    let start = Instant::now();
    line.end_in(10);
    assert_eq!(line.heard(4).await, b"note");
    tokio::time::sleep(Duration::from_secs(7)).await;
    line.ask().await;
    line.answer(b"idle").await;
    assert_eq!(line.rest().await, b"over");
    assert_eq!(seconds(start), 7);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_said_within_a_message() {
    let mut line = Line::new();
    line.ask().await;
    line.answer(b"mo").await;
    line.end_in(10);
    tokio::time::sleep(Duration::from_secs(3)).await;
    line.answer(b"re").await;
    assert_eq!(line.heard(4).await, b"note", "it was kept for the next gap");
    line.answer(b"id").await;
    assert_eq!(line.rest().await, b"", "half a message cannot be followed by anything");
    assert!(matches!(line.spliced.await.expect("no panic").0, Spliced::Ended));
}

#[tokio::test(start_paused = true)]
async fn an_end_that_was_moved_or_taken_back_ends_nothing() {
    let mut line = Line::new();
    line.ask().await;
    line.answer(b"busy").await;
    line.end_in(6);
    assert_eq!(line.heard(4).await, b"note");
    tokio::time::sleep(Duration::from_secs(3)).await;
    line.end_in(1_000);
    line.ask().await;
    line.answer(b"idle").await;
    line.ending.send_replace(None);
    tokio::time::sleep(Duration::from_secs(2_000)).await;
    line.ask().await;
    line.answer(b"idle").await;
    assert!(!line.spliced.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_cannot_hold_the_end_up() {
    let mut line = Line::new();
    line.server.write_all(&[b'x'; 60]).await.expect("it fits");
    let flooding = tokio::spawn(async move { while line.server.write_all(b"more").await.is_ok() {} });
    let [notice, cause, hint] = ["note", "over", "wait"].map(str::to_owned);
    let at = Instant::now() + Duration::from_secs(10);
    line.ending.send_replace(Some(Ending { at, notice, cause, hint }));
    let (spliced, ..) = line.spliced.await.expect("no panic");
    assert!(matches!(spliced, Spliced::Ended));
    assert!(at.elapsed() < Duration::from_secs(20), "{:?}", at.elapsed());
    flooding.await.expect("the server's side is closed");
}
