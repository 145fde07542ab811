//! How tunnels begin and end.

use gateway::{EndCause, Refusal, SessionError, TunnelConfig, TunnelError, TunnelEvent};
use sandbox::data_channel::AgentConfig;
use tokio::io::AsyncReadExt;

use crate::bed::{Bed, echo, in_time};

#[tokio::test]
async fn opening_tells_the_session_and_the_version_of_the_agent() {
    let bed = Bed::echoing().await;
    let (_tunnel, mut events) = bed.open().await;
    let session_id = bed.session_id();
    assert_eq!(events.next().await, Some(TunnelEvent::Started { session_id: session_id.clone() }));
    let Some(TunnelEvent::Opened { session_id: opened, agent_version, .. }) = events.next().await else {
        panic!("the handshake comes next");
    };
    assert_eq!((opened, agent_version.to_string().as_str()), (session_id, "3.3.1142.0"));
}

#[tokio::test]
async fn closing_ends_the_session_at_aws() {
    let bed = Bed::echoing().await;
    let (tunnel, mut events) = bed.open().await;
    let mut stream = tunnel.connect().await.expect("it is open");
    assert_eq!(echo(&mut stream, b"hello").await, b"hello");
    in_time(tunnel.close()).await;
    assert!(!bed.channels.is_open(&bed.session_id()));
    assert_eq!(in_time(stream.read(&mut [0])).await.expect("a clean end"), 0);
    let ended = events.until(|event| matches!(event, TunnelEvent::Ended { .. })).await;
    let session_id = bed.session_id();
    assert_eq!(ended, TunnelEvent::Ended { session_id, cause: EndCause::Closed, unterminated: None });
}

#[tokio::test]
async fn a_session_closed_by_the_service_tells_why_and_the_next_connection_gets_a_new_one() {
    let bed = Bed::echoing().await;
    let (tunnel, mut events) = bed.open().await;
    let mut old = tunnel.connect().await.expect("it is open");
    assert_eq!(echo(&mut old, b"old").await, b"old");
    let first = bed.session_id();

    bed.channels.close_with_text(&first, "Your session timed out due to inactivity.");

    let ended = events.until(|event| matches!(event, TunnelEvent::Ended { .. })).await;
    assert!(format!("{ended:?}").contains("timed out due to inactivity"), "{ended:?}");
    assert_eq!(in_time(old.read(&mut [0])).await.expect("a clean end"), 0);
    let mut fresh = in_time(tunnel.connect()).await.expect("a new session is started");
    assert_eq!(echo(&mut fresh, b"new").await, b"new");
    assert_ne!(bed.session_id(), first);
}

#[tokio::test]
async fn a_refused_start_is_passed_on_and_the_tunnel_is_not_open() {
    let bed = Bed::echoing().await;
    let refused = SessionError::Refused { code: "TargetNotConnected".to_owned(), message: "i-1 is offline".to_owned() };
    bed.sessions.errors.lock().expect("not poisoned").push(refused.clone());
    let (tunnel, _events) = bed.try_open(TunnelConfig::default()).await;
    assert!(matches!(tunnel, Err(TunnelError::Start(error)) if error == refused));
}

#[tokio::test]
async fn a_plain_stream_url_outside_this_machine_is_refused_and_its_session_ended() {
    let bed = Bed::echoing().await;
    *bed.sessions.stream_url.lock().expect("not poisoned") = Some("ws://10.1.2.3/v1/data-channel/s".to_owned());
    let (tunnel, _events) = bed.try_open(TunnelConfig::default()).await;
    assert!(tunnel.expect_err("not without TLS").to_string().contains("without TLS"));
    assert!(!bed.channels.is_open(&bed.session_id()), "nobody would ever use it");
}

#[tokio::test]
async fn an_old_agent_is_refused_with_the_version_that_is_needed() {
    let agent_version = "3.1.1080.0".to_owned();
    let bed = Bed::new(AgentConfig { agent_version, ..AgentConfig::default() });
    let (tunnel, _events) = bed.try_open(TunnelConfig::default()).await;
    let error = tunnel.expect_err("it cannot forward to a host");
    assert!(matches!(&error, TunnelError::Ended(EndCause::Refused(Refusal::AgentTooOld { .. }))), "{error:?}");
    assert!(error.to_string().contains("3.1.1374.0 or newer"), "{error}");
    assert!(!bed.channels.is_open(&bed.session_id()));
}
