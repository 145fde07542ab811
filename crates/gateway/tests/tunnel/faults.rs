//! Websockets come and go; connections stay.

use std::time::Duration;

use gateway::{SessionError, TunnelConfig, TunnelEvent};
use sandbox::data_channel::{AgentConfig, Side};
use tokio::io::AsyncWriteExt;

use crate::bed::{Bed, echo, in_time, pattern};

#[tokio::test]
async fn a_connection_survives_the_hourly_goodbye_of_the_service() {
    let bed = Bed::echoing().await;
    let (tunnel, mut events) = bed.open().await;
    let mut stream = tunnel.connect().await.expect("it is open");
    assert_eq!(echo(&mut stream, b"before").await, b"before");

    bed.channels.say_bye(&bed.session_id());

    let broken = events.until(|event| matches!(event, TunnelEvent::Broken { .. })).await;
    assert!(format!("{broken:?}").contains("Bye"), "{broken:?}");
    events.until(|event| matches!(event, TunnelEvent::Healed { .. })).await;
    assert_eq!(echo(&mut stream, b"after").await, b"after");
}

#[tokio::test]
async fn bytes_on_their_way_when_either_leg_is_cut_arrive_once_and_in_order() {
    for side in [Side::Client, Side::Agent] {
        let bed = Bed::echoing().await;
        let (tunnel, _events) = bed.open().await;
        let mut stream = tunnel.connect().await.expect("it is open");
        let bytes = pattern(200_000);
        for part in bytes.chunks(50_000) {
            let (channels, session_id) = (bed.channels.clone(), bed.session_id());
            let (echoed, ()) = tokio::join!(echo(&mut stream, part), async move {
                tokio::task::yield_now().await;
                channels.cut(&session_id, side);
            });
            assert!(echoed == part, "{side:?}");
        }
    }
}

#[tokio::test]
async fn resuming_goes_on_until_aws_answers() {
    let bed = Bed::echoing().await;
    let (tunnel, mut events) = bed.open().await;
    let mut stream = tunnel.connect().await.expect("it is open");
    let code = "ExpiredTokenException".to_owned();
    bed.sessions.errors.lock().expect("not poisoned").extend([
        SessionError::Unreachable { message: "no route".to_owned() },
        SessionError::Refused { code, message: "expired".to_owned() },
        SessionError::Unreachable { message: "no route".to_owned() },
    ]);
    bed.channels.cut(&bed.session_id(), Side::Client);
    events.until(|event| format!("{event:?}").contains("ExpiredToken")).await;
    events.until(|event| matches!(event, TunnelEvent::Healed { .. })).await;
    assert_eq!(echo(&mut stream, b"after").await, b"after");
}

#[tokio::test]
async fn asking_for_a_new_websocket_gives_one_at_once() {
    let bed = Bed::echoing().await;
    let (tunnel, mut events) = bed.open().await;
    let mut stream = tunnel.connect().await.expect("it is open");
    tunnel.reconnect();
    events.until(|event| matches!(event, TunnelEvent::Healed { .. })).await;
    assert_eq!(echo(&mut stream, b"after waking").await, b"after waking");
}

#[tokio::test]
async fn the_first_bytes_are_repeated_until_the_agent_has_looked_up_its_network() {
    let port_start_delay = Duration::from_millis(300);
    let bed = Bed::echoing_with(AgentConfig { pacing: false, port_start_delay, ..AgentConfig::default() }).await;
    let (tunnel, _events) = bed.open().await;
    let mut stream = tunnel.connect().await.expect("it is open");
    assert_eq!(echo(&mut stream, b"early").await, b"early");
}

#[tokio::test]
async fn pausing_either_leg_loses_nothing() {
    let bed = Bed::echoing().await;
    let (tunnel, _events) = bed.open().await;
    let mut stream = tunnel.connect().await.expect("it is open");
    for side in [Side::Client, Side::Agent] {
        bed.channels.pause_publication(&bed.session_id(), side);
        stream.write_all(b"while paused ").await.expect("there is room");
        bed.channels.start_publication(&bed.session_id(), side);
        let mut back = [0; 13];
        in_time(tokio::io::AsyncReadExt::read_exact(&mut stream, &mut back)).await.expect("it is echoed");
        assert_eq!(&back, b"while paused ");
    }
}

#[tokio::test]
async fn silence_is_noticed_by_an_unanswered_ping() {
    let bed = Bed::new(AgentConfig { one_way_delay: Duration::from_secs(3600), ..AgentConfig::default() });
    let silent = silent_websocket().await;
    *bed.sessions.stream_url.lock().expect("not poisoned") = Some(silent);
    let ping_interval = Duration::from_millis(50);
    let config = TunnelConfig { ping_interval, pong_deadline: ping_interval, ..TunnelConfig::default() };
    let (told, mut events) = tokio::sync::mpsc::unbounded_channel();
    let opening = tokio::spawn(gateway::Tunnel::open(bed.sessions.clone(), config, told));
    let broken = loop {
        if let TunnelEvent::Broken { cause, .. } = in_time(events.recv()).await.expect("it tells") {
            break cause;
        }
    };
    assert!(broken.contains("nothing was heard"), "{broken}");
    opening.abort();
}

/// Opens websockets and says nothing, not even a pong.
async fn silent_websocket() -> String {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("loopback has free ports");
    let url = format!("ws://{}/v1", listener.local_addr().expect("it is bound"));
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((client, _)) = listener.accept().await {
            kept.push(tokio_tungstenite::accept_async(client).await);
        }
    });
    url
}
