//! Sessions that idle, last too long, or whose websocket is old; an SSM agent that cannot forward; a failover.

use std::time::Duration;

use sandbox::clock::Clock;
use sandbox::data_channel::{DataChannels, PortProperties, SessionLimits, Vpc};

use super::raw_client::*;

const MINUTE: Duration = Duration::from_secs(60);

/// A clock that stands still, and a service with these limits.
fn limited(limits: SessionLimits) -> (Clock, DataChannels) {
    let clock = Clock::fixed("2026-11-22T09:00:00Z".parse().expect("a literal instant parses"));
    let channels = DataChannels::start(clock.clone(), quick(), Vpc::new()).expect("a loopback port is free");
    channels.limit(limits);
    (clock, channels)
}

#[tokio::test]
async fn a_session_that_idles_is_ended_with_a_reason() {
    let (clock, channels) = limited(SessionLimits { idle: Some(20 * MINUTE), ..SessionLimits::default() });
    let mut client = RawClient::connect(&channels.open(SESSION, own_port(echo().await))).await;
    client.mux(SYN, 3, b"").await;
    for bytes in 1..=3 {
        clock.advance(19 * MINUTE);
        client.mux(PSH, 3, b"x").await;
        client.until_heard(3, bytes).await;
    }
    assert!(channels.is_open(SESSION), "a byte every 19 minutes is no idling");
    clock.advance(20 * MINUTE);
    let output = client.closing().await.output;
    assert_eq!(
        output,
        format!("SessionId: {SESSION} : Your session timed out due to inactivity and has been terminated.")
    );
}

#[tokio::test]
async fn a_session_that_lasts_too_long_is_ended_whatever_it_does() {
    let (clock, channels) = limited(SessionLimits { maximum: Some(60 * MINUTE), ..SessionLimits::default() });
    let mut client = RawClient::connect(&channels.open(SESSION, own_port(echo().await))).await;
    clock.advance(59 * MINUTE);
    client.mux(SYN, 3, b"").await;
    client.mux(PSH, 3, b"busy").await;
    client.until_heard(3, 4).await;
    clock.advance(MINUTE);
    assert!(client.closing().await.output.contains("maximum duration"));
}

#[tokio::test]
async fn a_websocket_is_closed_every_hour_and_the_session_goes_on() {
    let (clock, channels) = limited(SessionLimits { websocket: Some(60 * MINUTE), ..SessionLimits::default() });
    let mut client = RawClient::connect(&channels.open(SESSION, own_port(echo().await))).await;
    client.mux(SYN, 3, b"").await;
    for hour in 1..=2 {
        clock.advance(60 * MINUTE);
        while client.frame().await.is_some() {}
        client.resume(&channels.resume(SESSION).expect("the session is open")).await;
        client.mux(PSH, 3, b"x").await;
        client.until_heard(3, hour).await;
    }
}

#[tokio::test]
async fn limits_hold_for_sessions_that_are_open_already() {
    let (clock, channels) = limited(SessionLimits::default());
    let mut client = RawClient::connect(&channels.open(SESSION, own_port(echo().await))).await;
    clock.advance(10 * MINUTE);
    channels.limit(SessionLimits { maximum: Some(MINUTE), ..SessionLimits::default() });
    assert!(client.closing().await.output.contains("maximum duration"));
}

#[tokio::test]
async fn an_agent_that_forwards_no_ports_says_so() {
    let channels = channels(quick());
    let opened = channels.open_through("2.3.612.0", SESSION, own_port(echo().await));
    let mut client = RawClient::connect(&opened).await;
    assert!(client.closing().await.output.starts_with("Plugin with name Port is not supported"));
}

#[tokio::test]
async fn after_a_failover_an_open_session_hangs_and_a_new_one_reaches_the_new_address() {
    let vpc = Vpc::new();
    let channels = DataChannels::start(Clock::real(), quick(), vpc.clone()).expect("a loopback port is free");
    vpc.route("orders", 5432, echo().await);
    let orders = || PortProperties { host: Some("orders".to_owned()), port: 5432 };
    let mut old = RawClient::connect(&channels.open(SESSION, orders())).await;
    old.mux(SYN, 3, b"").await;
    old.mux(PSH, 3, b"anybody").await;
    old.until_heard(3, 7).await;
    vpc.fail_over("orders", 5432, echo().await);
    old.mux(SYN, 5, b"").await;
    old.mux(PSH, 5, b"anybody").await;
    let answer = tokio::time::timeout(Duration::from_millis(200), old.until_heard(5, 1)).await;
    assert!(answer.is_err(), "nobody is there any more: {answer:?}");
    let mut new = RawClient::connect(&channels.open("jane-new", orders())).await;
    new.mux(SYN, 3, b"").await;
    new.mux(PSH, 3, b"anybody").await;
    assert_eq!(new.until_heard(3, 7).await, b"anybody");
}
