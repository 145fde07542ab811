//! Tokens, legs, ends.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use sandbox::clock::Clock;
use sandbox::data_channel::{AgentConfig, DataChannels, OpenedChannel, Side, Vpc};
use ssm_proto::frame::{MessageType, PayloadType};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::raw_client::*;

/// Whether the service lets this token in.
async fn is_let_in(opened: &OpenedChannel) -> bool {
    RawClient::open(opened).await.frame().await.is_some()
}

#[tokio::test]
async fn a_token_opens_one_websocket() {
    let channels = channels(quick());
    let opened = channels.open(SESSION, own_port(echo().await));
    assert!(is_let_in(&opened).await);
    assert!(!is_let_in(&opened).await, "a token works once");
    let resumed = channels.resume(SESSION).expect("the session is open");
    assert_eq!(resumed.stream_url, opened.stream_url);
    let forged = OpenedChannel { token_value: opened.token_value.chars().rev().collect(), ..resumed.clone() };
    assert!(!is_let_in(&forged).await, "nor does one that was never issued");
    assert!(is_let_in(&resumed).await);
}

#[tokio::test]
async fn a_token_is_good_for_a_minute() {
    let clock = Clock::fixed("2026-11-22T09:00:00Z".parse().expect("a literal instant parses"));
    let channels = DataChannels::start(clock.clone(), quick(), Vpc::new()).expect("a loopback port is free");
    let opened = channels.open(SESSION, own_port(echo().await));
    let _shaken = RawClient::connect(&opened).await;
    let late = channels.resume(SESSION).expect("the session is open");
    clock.advance(Duration::from_secs(10));
    let good = channels.resume(SESSION).expect("the session is open");
    clock.advance(Duration::from_secs(50));
    assert!(!is_let_in(&late).await, "a minute is over");
    let mut client = RawClient::open(&good).await;
    client.send_numbered(1, PayloadType::Output, mux_frame(SYN, 3, b"")).await;
    client.acknowledgement(1).await;
}

#[tokio::test]
async fn an_unknown_session_has_no_websocket() {
    let channels = channels(quick());
    let opened = channels.open(SESSION, own_port(echo().await));
    let elsewhere = opened.stream_url.replace(SESSION, "nobody");
    let address = elsewhere.trim_start_matches("ws://").split('/').next().expect("a host").to_owned();
    let stream = TcpStream::connect(address).await.expect("the service listens");
    let refusal = tokio_tungstenite::client_async(&elsewhere, stream).await.expect_err("there is no such session");
    assert!(matches!(refusal, Error::Http(response) if response.status() == 404));
    assert_eq!(channels.resume("nobody"), None);
    assert!(!channels.terminate("nobody") && !channels.is_open("nobody"));
}

#[tokio::test]
async fn pings_may_overtake_the_token() {
    let channels = channels(quick());
    let opened = channels.open(SESSION, own_port(echo().await));
    let address = opened.stream_url.trim_start_matches("ws://").split('/').next().expect("a host");
    let stream = TcpStream::connect(address).await.expect("the service listens");
    let (mut websocket, _) =
        tokio_tungstenite::client_async(&opened.stream_url, stream).await.expect("the session is known");
    websocket.send(Message::Ping("keepalive".into())).await.expect("open");
    websocket.send(Message::text(opening(&opened.token_value))).await.expect("open");
    assert!(matches!(websocket.next().await, Some(Ok(Message::Pong(_)))));
    assert!(matches!(websocket.next().await, Some(Ok(Message::Binary(_)))), "the handshake begins");
}

#[tokio::test]
async fn a_terminated_session_says_so_and_is_gone() {
    let channels = channels(quick());
    let opened = channels.open(SESSION, own_port(echo().await));
    let mut client = RawClient::connect(&opened).await;
    assert!(channels.terminate(SESSION));
    let closed = client.closing().await;
    assert_eq!((closed.session_id.as_str(), closed.output.as_str()), (SESSION, ""));
    assert!(!channels.is_open(SESSION) && !channels.terminate(SESSION));
    assert_eq!(channels.resume(SESSION), None);
}

#[tokio::test]
async fn the_service_may_end_a_session_with_a_reason() {
    let channels = channels(quick());
    let opened = channels.open(SESSION, own_port(echo().await));
    let mut client = RawClient::connect(&opened).await;
    assert!(channels.close_with_text(SESSION, "Session: timed out."));
    assert_eq!(client.closing().await.output, "Session: timed out.");
}

#[tokio::test]
async fn streams_outlive_a_cut_of_the_clients_leg() {
    let channels = channels(quick());
    let opened = channels.open(SESSION, own_port(echo().await));
    let mut client = RawClient::connect(&opened).await;
    client.mux(SYN, 3, b"").await;
    client.mux(PSH, 3, b"before").await;
    client.until_heard(3, 6).await;
    channels.cut(SESSION, Side::Client);
    assert!(client.frame().await.is_none(), "the connection is gone");
    client.resume(&channels.resume(SESSION).expect("the session is open")).await;
    client.mux(PSH, 3, b" and after").await;
    assert_eq!(client.until_heard(3, 16).await, b"before and after");
}

#[tokio::test]
async fn the_agent_comes_back_after_a_cut_of_its_leg() {
    let channels = channels(AgentConfig { reconnect_delay: Duration::from_millis(5), ..quick() });
    let opened = channels.open(SESSION, own_port(echo().await));
    let mut client = RawClient::connect(&opened).await;
    client.mux(SYN, 3, b"").await;
    client.mux(PSH, 3, b"before").await;
    client.until_heard(3, 6).await;
    channels.cut(SESSION, Side::Agent);
    while !client.heard.publications.contains(&MessageType::StartPublication) {
        client.pass_over().await;
    }
    assert_eq!(client.heard.publications, [MessageType::PausePublication, MessageType::StartPublication]);
    client.mux(PSH, 3, b" and after").await;
    assert_eq!(client.until_heard(3, 16).await, b"before and after");
}

#[tokio::test]
async fn the_hourly_bye_leaves_the_session_open() {
    let channels = channels(quick());
    let opened = channels.open(SESSION, own_port(echo().await));
    let mut client = RawClient::connect(&opened).await;
    channels.say_bye(SESSION);
    assert!(client.frame().await.is_none(), "closed with 1000");
    assert!(client.heard.closed.is_none(), "without channel_closed");
    assert!(channels.is_open(SESSION));
}

#[tokio::test]
async fn the_delay_is_kept_each_way() {
    const DELAY: Duration = Duration::from_millis(40);
    let channels = channels(AgentConfig { one_way_delay: DELAY, ..quick() });
    let opened = channels.open(SESSION, own_port(echo().await));
    let mut client = RawClient::connect(&opened).await;
    let sent = std::time::Instant::now();
    client.mux(SYN, 3, b"").await;
    client.mux(PSH, 3, b"echo").await;
    client.until_heard(3, 4).await;
    assert!(sent.elapsed() >= DELAY * 2, "{:?}", sent.elapsed());
}

#[tokio::test]
async fn nothing_of_a_session_lives_longer_than_the_service() {
    let channels = channels(quick());
    let opened = channels.open(SESSION, own_port(echo().await));
    let mut client = RawClient::connect(&opened).await;
    drop(channels);
    while let Some(frame) = client.frame().await {
        assert_ne!(frame.payload_type, Some(PayloadType::Flag), "nothing is said any more");
    }
}
