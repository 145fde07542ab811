//! Several sessions behind one route.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use gateway::{
    Demand, Direct, EndCause, FirstWord, MoveCause, Pool, PoolConfig, PoolStream, Route, SessionError, TunnelError,
    TunnelEvent,
};
use sandbox::data_channel::AgentConfig;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::JoinSet,
};

use crate::bed::{Bed, echo, in_time, session_id, tunnel_config};

const SOON: Duration = Duration::from_millis(200);

#[tokio::test]
async fn connections_that_move_little_share_one_session() {
    let bed = Bed::echoing().await;
    let (pool, _events) = bed.pool().await;
    let mut streams = Vec::new();
    for _ in 0..10 {
        let mut stream = connect(&pool).await;
        assert_eq!(echo(&mut stream, b"select 1").await, b"select 1");
        streams.push(stream);
    }
    assert_eq!((pool.sessions(), bed.started()), (1, 1));
}

#[tokio::test]
async fn each_download_in_a_row_gets_a_session_of_its_own() {
    const DOWNLOADS: usize = 4;
    let bed = Bed::new(AgentConfig::default());
    bed.target(|mut client| async move { while client.write_all(&[7; 4096]).await.is_ok() {} }).await;
    let (pool, mut events) = bed.pool_with(PoolConfig { most_sessions: DOWNLOADS, ..config() }).await;
    let mut downloads = JoinSet::new();
    for _ in 0..DOWNLOADS {
        let mut stream = connect(&pool).await;
        in_time(stream.read_exact(&mut vec![0; 200 * 1024])).await.expect("the target pours");
        downloads.spawn(async move { tokio::io::copy(&mut stream, &mut tokio::io::sink()).await });
    }
    assert_eq!(bed.started(), DOWNLOADS);
    for number in 1..=DOWNLOADS {
        let id = session_id(number);
        bed.channels.close_with_text(&id, "");
        events.until(|event| matches!(event, TunnelEvent::Ended { session_id, .. } if *session_id == id)).await;
        in_time(downloads.join_next()).await.expect("one is left").expect("no panic").expect("a clean end");
        assert_eq!(downloads.len(), DOWNLOADS - number, "each session carried one");
    }
}

#[tokio::test]
async fn a_bulk_demand_is_kept_apart_from_the_start_and_its_session_ends_when_idle() {
    let bed = Bed::echoing().await;
    let (pool, mut events) = bed.pool_with(PoolConfig { idle: SOON, ..config() }).await;
    let mut query = connect(&pool).await;
    assert_eq!(echo(&mut query, b"select 1").await, b"select 1");
    let mut dump = in_time(pool.connect(Demand::Bulk)).await.expect("another session is started");
    assert_eq!(echo(&mut dump, b"copy").await, b"copy");
    assert_eq!(pool.sessions(), 2);
    drop(dump);
    let ended = events.until(|event| matches!(event, TunnelEvent::Ended { .. })).await;
    let ended_as = TunnelEvent::Ended { session_id: session_id(2), cause: EndCause::Closed, unterminated: None };
    assert_eq!(ended, ended_as);
    assert!(!bed.channels.is_open(&session_id(2)));
    assert_eq!(echo(&mut query, b"still here").await, b"still here");
}

#[tokio::test]
async fn a_connection_whose_session_stalls_moves_and_the_client_notices_nothing() {
    let bed = Bed::new(unpaced());
    bed.target_that_answers_once().await;
    let (pool, mut events) = bed.pool_with(config()).await;
    let mut stream = connect(&pool).await;
    assert_eq!(echo(&mut stream, b"before").await, b"before");
    drop(stream);
    bed.echo().await;
    let mut one = connect(&pool).await;
    let mut other = connect(&pool).await;
    let (first, second) = tokio::join!(echo(&mut one, b"first words"), echo(&mut other, b"others"));
    assert_eq!((first, second), (b"first words".to_vec(), b"others".to_vec()));
    let moved = events.until(|event| matches!(event, TunnelEvent::Moved { .. })).await;
    let (from, to) = (session_id(1), session_id(2));
    assert_eq!(moved, TunnelEvent::Moved { from: from.clone(), to, cause: MoveCause::Stalled });
    let ended = events.until(|event| matches!(event, TunnelEvent::Ended { .. })).await;
    assert!(matches!(ended, TunnelEvent::Ended { session_id, .. } if session_id == from), "nobody is left in it");
    assert_eq!(bed.started(), 2, "one fresh session served both");
}

#[tokio::test]
async fn a_greeting_that_does_not_come_is_waited_for_no_longer_than_an_answer() {
    let bed = Bed::new(unpaced());
    bed.target_that_answers_once().await;
    let (pool, mut events) = bed.pool_with(PoolConfig { first_word: FirstWord::Target, ..config() }).await;
    let mut stream = connect(&pool).await;
    assert_eq!(echo(&mut stream, b"before").await, b"before");
    bed.target(|mut client| async move {
        drop(client.write_all(b"greeting").await);
        drop(client.read_u8().await);
    })
    .await;
    let mut stream = connect(&pool).await;
    let mut greeting = [0; 8];
    in_time(stream.read_exact(&mut greeting)).await.expect("it comes by another session");
    assert_eq!(&greeting, b"greeting");
    events.until(|event| matches!(event, TunnelEvent::Moved { cause: MoveCause::Stalled, .. })).await;
}

#[tokio::test]
async fn a_connection_that_cannot_move_is_answered_where_it_is() {
    let bed = Bed::new(unpaced());
    let answer = bed.target_that_waits().await;
    let (pool, _events) = bed.pool_with(config()).await;
    let (refused, asked) = (unreachable(), Arc::clone(&bed.sessions.asked));
    bed.sessions.errors.lock().expect("not poisoned").push(refused);
    let mut stream = connect(&pool).await;
    stream.write_all(b"q").await.expect("there is room");
    let waiting = async {
        asked.notified().await;
        answer.notify_one();
    };
    let (read, ()) = in_time(async { tokio::join!(stream.read_u8(), waiting) }).await;
    assert_eq!((read.expect("it stayed"), bed.started()), (b'a', 1));
}

#[tokio::test]
async fn an_answer_that_comes_while_a_fresh_session_is_started_is_taken() {
    let bed = Bed::new(unpaced());
    let answer = bed.target_that_waits().await;
    let (pool, _events) = bed.pool_with(config()).await;
    let gate = bed.sessions.shut();
    let asked = Arc::clone(&bed.sessions.asked);
    let mut stream = connect(&pool).await;
    stream.write_all(b"q").await.expect("there is room");
    let waiting = async {
        asked.notified().await;
        answer.notify_one();
    };
    let (read, ()) = in_time(async { tokio::join!(stream.read_u8(), waiting) }).await;
    assert_eq!(read.expect("it stayed"), b'a');
    gate.add_permits(1);
    stream.write_all(b"q").await.expect("the session has not been ended");
    answer.notify_one();
    assert_eq!(in_time(stream.read_u8()).await.expect("it goes on"), b'a');
}

#[tokio::test]
async fn after_a_failover_an_old_session_is_replaced_and_a_young_one_is_believed() {
    let bed = Bed::new(unpaced());
    let primary = TcpListener::bind(("127.0.0.1", 0)).await.expect("free ports");
    bed.route(primary.local_addr().expect("it is bound"));
    let (young, _events) = bed.pool().await;
    let (old, mut events) = bed.pool_with(PoolConfig { stale_after: Duration::ZERO, ..config() }).await;
    for pool in [&young, &old] {
        let mut stream = connect(pool).await;
        stream.write_all(b"before").await.expect("there is room");
        in_time(primary.accept()).await.expect("it is dialled");
    }
    drop(primary);
    bed.target(|mut client| async move { drop(client.write_all(b"new primary").await) }).await;
    let mut stream = connect(&young).await;
    let error = in_time(stream.read(&mut [0])).await.expect_err("it asked for the address a moment ago");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    let mut words = String::new();
    in_time(connect(&old).await.read_to_string(&mut words)).await.expect("the name leads elsewhere now");
    assert_eq!(words, "new primary");
    events.until(|event| matches!(event, TunnelEvent::Moved { cause: MoveCause::Refused, .. })).await;
}

#[tokio::test]
async fn a_connection_whose_session_ends_before_the_answer_gets_it_from_the_next_session() {
    let bed = Bed::new(unpaced());
    let comers = Arc::new(AtomicUsize::new(0));
    let came = Arc::new(Notify::new());
    let (counted, arrived) = (Arc::clone(&comers), Arc::clone(&came));
    bed.target(move |client| answer_the_second(client, Arc::clone(&counted), Arc::clone(&arrived))).await;
    let (pool, mut events) = bed.pool_with(PoolConfig { first_byte: Duration::from_secs(3600), ..config() }).await;
    let mut stream = connect(&pool).await;
    stream.write_all(b"question").await.expect("there is room");
    in_time(came.notified()).await;
    bed.channels.close_with_text(&session_id(1), "Your session timed out due to inactivity.");
    let mut answer = [0; 8];
    in_time(stream.read_exact(&mut answer)).await.expect("the question was asked again");
    assert_eq!((&answer, comers.load(SeqCst)), (b"question", 2));
    events.until(|event| matches!(event, TunnelEvent::Moved { cause: MoveCause::Ended, .. })).await;
}

#[tokio::test]
async fn when_no_other_session_can_be_had_the_last_error_is_told() {
    let bed = Bed::new(unpaced());
    bed.target_that_waits().await;
    let (pool, mut events) = bed.pool().await;
    let mut stream = connect(&pool).await;
    bed.sessions.errors.lock().expect("not poisoned").push(unreachable());
    bed.channels.close_with_text(&session_id(1), "");
    let error = in_time(stream.read(&mut [0])).await.expect_err("there is no session");
    assert!(error.to_string().contains("no route to AWS"), "{error}");
    events.until(|event| matches!(event, TunnelEvent::Ended { .. })).await;
    bed.sessions.errors.lock().expect("not poisoned").push(unreachable());
    let error = in_time(pool.connect(Demand::Interactive)).await.expect_err("AWS does not answer");
    assert!(matches!(error, TunnelError::Start(SessionError::Unreachable { .. })), "{error}");
    assert_eq!(in_time(pool.connect(Demand::Interactive)).await.map(drop).map_err(|error| error.to_string()), Ok(()));
}

#[tokio::test]
async fn closing_ends_every_session_at_aws() {
    let bed = Bed::echoing().await;
    let (pool, _events) = bed.pool().await;
    let mut query = connect(&pool).await;
    assert_eq!(echo(&mut query, b"q").await, b"q");
    let mut dump = in_time(pool.connect(Demand::Bulk)).await.expect("another session is started");
    assert_eq!(echo(&mut dump, b"d").await, b"d");
    in_time(pool.close()).await;
    assert_eq!([1, 2].map(|number| bed.channels.is_open(&session_id(number))), [false, false]);
    for mut stream in [query, dump] {
        assert_eq!(in_time(stream.read(&mut [0])).await.expect("a clean end"), 0);
    }
}

#[tokio::test]
async fn a_direct_route_dials_the_target_and_says_why_it_cannot() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("free ports");
    let port = listener.local_addr().expect("it is bound").port();
    let route = Route::from(Direct::new("127.0.0.1", port, Duration::from_secs(5)));
    let mut stream = in_time(route.connect(Demand::Bulk)).await.expect("it listens");
    let (mut target, _) = listener.accept().await.expect("it was dialled");
    stream.write_all(b"x").await.expect("it is open");
    assert_eq!(target.read_u8().await.expect("it is open"), b'x');
    drop(listener);
    let error = in_time(route.connect(Demand::Interactive)).await.expect_err("nobody listens");
    assert!(error.to_string().contains(&format!("cannot connect to 127.0.0.1 at port {port}")), "{error}");
    let unknown = Route::from(Direct::new("no-such-host.invalid", 5432, Duration::from_secs(5)));
    let error = in_time(unknown.connect(Demand::Interactive)).await.expect_err("there is no such name");
    assert!(error.to_string().contains("no-such-host.invalid cannot be looked up"), "{error}");
}

async fn connect(pool: &Pool) -> PoolStream {
    in_time(pool.connect(Demand::Interactive)).await.expect("the pool is open")
}

/// The first comer gets no answer, the next one gets his question back.
async fn answer_the_second(mut client: TcpStream, comers: Arc<AtomicUsize>, came: Arc<Notify>) {
    let mut question = [0; 8];
    client.read_exact(&mut question).await.expect("the question comes");
    let first = comers.fetch_add(1, SeqCst) == 0;
    came.notify_one();
    if !first {
        drop(client.write_all(&question).await);
    }
    drop(client.read_u8().await);
}

fn config() -> PoolConfig {
    PoolConfig { tunnel: tunnel_config(), first_byte: SOON, ..PoolConfig::default() }
}

fn unpaced() -> AgentConfig {
    AgentConfig { pacing: false, ..AgentConfig::default() }
}

fn unreachable() -> SessionError {
    SessionError::Unreachable { message: "no route to AWS".to_owned() }
}
