//! The agent's habits.

use std::time::Duration;

use sandbox::clock::Clock;
use sandbox::data_channel::{AgentConfig, DataChannels, PortProperties, Side, Vpc};
use ssm_proto::frame::{Flag, HandshakeRequest, MessageType, PayloadType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::raw_client::*;

#[tokio::test]
async fn the_handshake_names_the_port_and_the_agents_version() {
    let channels = channels(AgentConfig { agent_version: "3.1.1374.0".to_owned(), ..quick() });
    let properties = PortProperties { host: Some("orders.example".to_owned()), port: 5432 };
    let mut client = RawClient::open(&channels.open(SESSION, properties)).await;
    let first = client.data().await;
    assert_eq!((first.sequence_number, first.flags), (0, 1), "SYN on the first message");
    let request = HandshakeRequest::from_json(&first.payload).expect("JSON");
    assert_eq!(request.agent_version, "3.1.1374.0");
    let action = &request.requested_client_actions[0];
    assert_eq!(action.action_type, "SessionType");
    assert_eq!(action.action_parameters["SessionType"], "Port");
    let expected = serde_json::json!({
        "host": "orders.example", "localPortNumber": "0", "portNumber": "5432", "type": "LocalPortForwarding",
    });
    assert_eq!(action.action_parameters["Properties"], expected);
}

#[tokio::test]
async fn many_streams_share_a_channel() {
    let channels = channels(quick());
    let mut client = RawClient::connect(&channels.open(SESSION, own_port(echo().await))).await;
    for id in [3, 5, 7] {
        client.mux(SYN, id, b"").await;
        client.mux(PSH, id, &id.to_le_bytes()).await;
    }
    for id in [7_u32, 3, 5] {
        assert_eq!(client.until_heard(id, 4).await, id.to_le_bytes());
        client.mux(FIN, id, b"").await;
    }
    client.until(|heard| heard.fins.len() == 3).await;
}

#[tokio::test]
async fn a_stream_ends_when_the_database_hangs_up() {
    let port = serve(|mut stream| async move { stream.write_all(b"farewell").await }).await;
    let channels = channels(quick());
    let mut client = RawClient::connect(&channels.open(SESSION, own_port(port))).await;
    client.mux(SYN, 3, b"").await;
    client.until(|heard| heard.fins == [3]).await;
    assert_eq!(client.heard.streams[&3], b"farewell", "all of it comes before the FIN");
    let late = client.send(PayloadType::Output, mux_frame(PSH, 3, b"too late")).await;
    client.acknowledgement(late).await;
    assert!(channels.is_open(SESSION), "what comes for a stream that is gone is thrown away");
}

#[tokio::test]
async fn the_clients_fin_closes_the_connection_after_what_came_before_it() {
    let (all, received) = tokio::sync::oneshot::channel();
    let all = std::sync::Mutex::new(Some(all));
    let port = serve(move |mut stream| {
        let all = all.lock().expect("one connection").take().expect("one connection");
        async move {
            let mut text = String::new();
            stream.read_to_string(&mut text).await?;
            all.send(text).expect("the test waits");
            Ok(())
        }
    })
    .await;
    let channels = channels(quick());
    let mut client = RawClient::connect(&channels.open(SESSION, own_port(port))).await;
    client.mux(SYN, 3, b"").await;
    client.mux(PSH, 3, b"last words").await;
    client.mux(FIN, 3, b"").await;
    assert_eq!(received.await.expect("the connection ended"), "last words");
    client.until(|heard| heard.fins == [3]).await;
}

#[tokio::test]
async fn data_before_handshake_complete_is_acknowledged_and_thrown_away() {
    let channels = channels(quick());
    let mut client = RawClient::open(&channels.open(SESSION, own_port(echo().await))).await;
    assert_eq!(client.data().await.payload_type, Some(PayloadType::HandshakeRequest));
    let early = client.send(PayloadType::Output, mux_frame(SYN, 3, b"")).await;
    client.acknowledgement(early).await;
    client.send(PayloadType::HandshakeResponse, response(1)).await;
    assert_eq!(client.data().await.payload_type, Some(PayloadType::HandshakeComplete));
    client.mux(PSH, 3, b"into the void").await;
    client.mux(SYN, 5, b"").await;
    client.mux(PSH, 5, b"heard").await;
    client.until_heard(5, 5).await;
    assert!(!client.heard.streams.contains_key(&3), "the SYN was lost, so there is no stream 3");
}

#[tokio::test]
async fn data_before_the_port_is_ready_is_not_acknowledged_and_comes_again() {
    let config = AgentConfig { port_start_delay: Duration::from_millis(600), ..quick() };
    let channels = channels(config);
    let mut client = RawClient::connect(&channels.open(SESSION, own_port(echo().await))).await;
    let syn = client.send(PayloadType::Output, mux_frame(SYN, 3, b"")).await;
    let data = client.send(PayloadType::Output, mux_frame(PSH, 3, b"patience")).await;
    client.acknowledgement(data).await;
    assert!(!client.acknowledged.contains(&syn), "early ones are kept and acknowledged, the one in turn is not");
    while !client.acknowledged.contains(&syn) {
        client.send_numbered(syn, PayloadType::Output, mux_frame(SYN, 3, b"")).await;
        client.pass_over_for(Duration::from_millis(10)).await;
    }
    assert_eq!(client.until_heard(3, 8).await, b"patience");
}

#[tokio::test]
async fn messages_out_of_order_and_twice_are_put_right_and_acknowledged_each_time() {
    let channels = channels(quick());
    let mut client = RawClient::connect(&channels.open(SESSION, own_port(echo().await))).await;
    let messages = [mux_frame(SYN, 3, b""), mux_frame(PSH, 3, b"one "), mux_frame(PSH, 3, b"two")];
    for number in [3, 2, 2, 1, 1] {
        let message = messages[usize::try_from(number - 1).expect("small")].clone();
        client.send_numbered(number, PayloadType::Output, message).await;
    }
    assert_eq!(client.until_heard(3, 7).await, b"one two");
    client.acknowledgement(1).await;
    let times = |number| client.acknowledged.iter().filter(|seen| **seen == number).count();
    assert_eq!((times(2), times(3)), (2, 1), "every copy that came is acknowledged");
}

#[tokio::test]
async fn only_the_oldest_message_is_resent_to_a_client_that_does_not_acknowledge() {
    let channels = channels(quick());
    let mut client = RawClient::open(&channels.open(SESSION, own_port(echo().await))).await;
    client.send(PayloadType::HandshakeResponse, response(1)).await;
    let mut seen = Vec::new();
    while seen.iter().filter(|number| **number == 0).count() < 3 {
        let frame = client.frame().await.expect("the channel is open");
        if frame.message_type == MessageType::OutputStreamData {
            seen.push(frame.sequence_number);
        }
    }
    let completes = seen.iter().filter(|number| **number == 1).count();
    assert_eq!(completes, 1, "HandshakeComplete waits behind the unacknowledged request: {seen:?}");
}

#[tokio::test]
async fn a_message_without_payload_counts_like_any_other() {
    let channels = channels(quick());
    let mut client = RawClient::connect(&channels.open(SESSION, own_port(echo().await))).await;
    client.send_numbered(1, PayloadType::Output, "").await;
    client.send_numbered(2, PayloadType::Output, mux_frame(SYN, 3, b"")).await;
    client.send_numbered(3, PayloadType::Output, mux_frame(PSH, 3, b"x")).await;
    client.until_heard(3, 1).await;
    assert!(client.acknowledged.contains(&1), "{:?}", client.acknowledged);
}

#[tokio::test]
async fn a_pause_holds_the_agent_until_the_start() {
    let (speak, spoken) = tokio::sync::watch::channel(false);
    let port = serve(move |mut stream| {
        let mut spoken = spoken.clone();
        async move {
            // Ends with the test.
            let _ = spoken.wait_for(|speak| *speak).await;
            stream.write_all(b"news").await
        }
    })
    .await;
    let channels = channels(quick());
    let mut client = RawClient::connect(&channels.open(SESSION, own_port(port))).await;
    client.mux(SYN, 3, b"").await;
    channels.pause_publication(SESSION, Side::Agent);
    client.pass_over_for(Duration::from_millis(50)).await;
    speak.send_replace(true);
    client.pass_over_for(Duration::from_millis(250)).await;
    assert_eq!(client.handled(), 2, "the handshake and no more");
    channels.start_publication(SESSION, Side::Agent);
    assert_eq!(client.until_heard(3, 4).await, b"news");
}

#[tokio::test]
async fn a_client_that_speaks_ends_the_pause() {
    let channels = channels(quick());
    let mut client = RawClient::connect(&channels.open(SESSION, own_port(echo().await))).await;
    client.mux(SYN, 3, b"").await;
    channels.pause_publication(SESSION, Side::Agent);
    client.mux(PSH, 3, b"wake up").await;
    client.until_heard(3, 7).await;
}

#[tokio::test]
async fn the_session_ends_with_the_clients_flag() {
    let channels = channels(quick());
    let mut client = RawClient::connect(&channels.open(SESSION, own_port(echo().await))).await;
    client.mux(SYN, 3, b"").await;
    client.flag(Flag::TerminateSession).await;
    assert_eq!(client.closing().await.output, "", "a normal end");
    assert!(!channels.is_open(SESSION));
}

#[tokio::test]
async fn a_handshake_that_fails_ends_the_session_in_words() {
    let channels = channels(quick());
    let mut client = RawClient::open(&channels.open(SESSION, own_port(echo().await))).await;
    client.data().await;
    client.send(PayloadType::HandshakeResponse, response(3)).await;
    let expected = "Encountered error while initiating handshake. SessionType failed on client with status 3 error: \
                    no such thing here";
    assert_eq!(client.closing().await.output, expected);
}

#[tokio::test]
async fn a_client_that_does_not_answer_has_fifteen_seconds() {
    let clock = Clock::real();
    let channels = DataChannels::start(clock.clone(), quick(), Vpc::new()).expect("a loopback port is free");
    let mut client = RawClient::open(&channels.open(SESSION, own_port(echo().await))).await;
    client.data().await;
    clock.advance(Duration::from_secs(15));
    let output = client.closing().await.output;
    assert!(output.contains("Handshake timed out."), "{output}");
}

#[tokio::test]
async fn a_client_too_old_for_streams_is_told() {
    let channels = channels(quick());
    let mut client = RawClient::open(&channels.open(SESSION, own_port(echo().await))).await;
    client.data().await;
    client.send(PayloadType::HandshakeResponse, response_of("1.1.9.0", 1)).await;
    assert!(client.closing().await.output.contains("1.1.9.0"));
}

#[tokio::test]
async fn the_metadata_service_is_forbidden() {
    let channels = channels(quick());
    let properties = PortProperties { host: Some("169.254.169.254".to_owned()), port: 80 };
    let mut client = RawClient::connect(&channels.open(SESSION, properties)).await;
    assert_eq!(client.closing().await.output, "Forwarding to IP address 169.254.169.254 is forbidden.");
}

#[tokio::test]
async fn a_name_nobody_knows_ends_the_session_in_words() {
    let channels = channels(quick());
    let properties = PortProperties { host: Some("nowhere.example".to_owned()), port: 5432 };
    let mut client = RawClient::connect(&channels.open(SESSION, properties)).await;
    assert_eq!(client.closing().await.output, "lookup nowhere.example: no such host");
}

#[tokio::test]
async fn a_session_keeps_what_a_name_meant_when_it_began() {
    let vpc = Vpc::new();
    let before = serve(|mut stream| async move { stream.write_all(b"before").await }).await;
    let after = serve(|mut stream| async move { stream.write_all(b"after").await }).await;
    vpc.route("orders.example", 5432, before);
    let channels = DataChannels::start(Clock::real(), quick(), vpc.clone()).expect("a loopback port is free");
    let properties = PortProperties { host: Some("orders.example".to_owned()), port: 5432 };
    let mut old = RawClient::connect(&channels.open(SESSION, properties.clone())).await;
    old.mux(SYN, 3, b"").await;
    old.until(|heard| heard.fins == [3]).await;
    vpc.route("orders.example", 5432, after);
    old.mux(SYN, 5, b"").await;
    old.until(|heard| heard.fins == [3, 5]).await;
    let mut new = RawClient::connect(&channels.open("another", properties)).await;
    new.mux(SYN, 3, b"").await;
    new.until(|heard| heard.fins == [3]).await;
    assert_eq!((&old.heard.streams[&5][..], &new.heard.streams[&3][..]), (&b"before"[..], &b"after"[..]));
}

#[tokio::test]
async fn one_black_hole_holds_up_the_streams_behind_it() {
    let vpc = Vpc::new();
    vpc.black_hole("orders.example", 5432);
    let channels = DataChannels::start(Clock::real(), quick(), vpc).expect("a loopback port is free");
    let properties = PortProperties { host: Some("orders.example".to_owned()), port: 5432 };
    let mut client = RawClient::connect(&channels.open(SESSION, properties)).await;
    client.mux(SYN, 3, b"").await;
    let second = client.send(PayloadType::Output, mux_frame(SYN, 5, b"")).await;
    client.acknowledgement(second).await;
    assert!(client.heard.fins.is_empty(), "neither is dialled to its end");
}

#[tokio::test]
async fn another_version_of_smux_ends_the_session() {
    let channels = channels(quick());
    let mut client = RawClient::connect(&channels.open(SESSION, own_port(echo().await))).await;
    client.send(PayloadType::Output, vec![2, SYN, 0, 0, 3, 0, 0, 0]).await;
    assert_eq!(client.closing().await.output, "invalid protocol");
}

#[tokio::test]
async fn megabytes_come_through_whole() {
    const SIZE: usize = 3 * 1024 * 1024;
    let port = serve(|mut stream| async move {
        let bytes: Vec<u8> = (0..SIZE).map(|at| u8::try_from(at % 251).expect("below 251")).collect();
        stream.write_all(&bytes).await
    })
    .await;
    let channels = channels(quick());
    let mut client = RawClient::connect(&channels.open(SESSION, own_port(port))).await;
    client.mux(SYN, 3, b"").await;
    client.until(|heard| heard.fins == [3]).await;
    let whole = client.heard.streams[&3].iter().enumerate().all(|(at, byte)| usize::from(*byte) == at % 251);
    assert!(whole && client.heard.streams[&3].len() == SIZE);
}

#[tokio::test]
async fn pacing_costs_a_millisecond_a_message() {
    const MESSAGES: usize = 150;
    let port = serve(|mut stream| async move { stream.write_all(&[7; MESSAGES * 1_024]).await }).await;
    let channels = channels(AgentConfig { pacing: true, ..quick() });
    let mut client = RawClient::connect(&channels.open(SESSION, own_port(port))).await;
    client.mux(SYN, 3, b"").await;
    client.until_heard(3, 1).await;
    let start = std::time::Instant::now();
    client.until(|heard| heard.fins == [3]).await;
    let least = Duration::from_millis(u64::try_from(MESSAGES - 5).expect("small"));
    assert!(start.elapsed() >= least, "{:?}", start.elapsed());
}

#[tokio::test]
async fn what_was_under_way_at_a_cut_comes_again() {
    let port =
        serve(|mut stream| async move { stream.write_all(&(0..=255).cycle().take(40_960).collect::<Vec<_>>()).await })
            .await;
    let config = AgentConfig { pacing: true, one_way_delay: Duration::from_millis(10), ..quick() };
    let channels = channels(config);
    let mut client = RawClient::connect(&channels.open(SESSION, own_port(port))).await;
    client.mux(SYN, 3, b"").await;
    client.until_heard(3, 5_000).await;
    channels.cut(SESSION, Side::Client);
    client.resume(&channels.resume(SESSION).expect("the session is open")).await;
    client.until(|heard| heard.fins == [3]).await;
    assert!(client.heard.streams[&3].iter().copied().eq((0..=255).cycle().take(40_960)), "every byte, in order");
}

#[tokio::test]
async fn a_destination_that_does_not_read_holds_up_acknowledgements() {
    let (release, held) = tokio::sync::watch::channel(false);
    let port = serve(move |mut stream| {
        let mut held = held.clone();
        async move {
            // Ends with the test.
            let _ = held.wait_for(|released| *released).await;
            tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.map(|_| ())
        }
    })
    .await;
    let channels = channels(quick());
    let mut client = RawClient::connect(&channels.open(SESSION, own_port(port))).await;
    client.mux(SYN, 3, b"").await;
    // More than bucket, pipe and the socket buffers of both ends hold together.
    let mut last = 0;
    for _ in 0..1_400 {
        last = client.send(PayloadType::Output, mux_frame(PSH, 3, &[7; 16_376])).await;
    }
    let mut before = usize::MAX;
    while client.acknowledged.len() != before {
        before = client.acknowledged.len();
        client.pass_over_for(Duration::from_millis(150)).await;
    }
    assert!(!client.acknowledged.contains(&last), "nothing moves any more");
    release.send_replace(true);
    client.acknowledgement(last).await;
}
