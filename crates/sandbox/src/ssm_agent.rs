//! An SSM agent: its end of a data channel, from the handshake to the connections it dials.
//!
//! It keeps the habits of the real one that a client has to live with, the bad ones included: messages before
//! HandshakeComplete are acknowledged and thrown away, messages before the port is ready are not acknowledged, only the
//! oldest message is resent, a millisecond passes after each one, and a destination that does not read holds up
//! everything, acknowledgements too.

mod mux;
mod port;
mod reliability;
mod version;
mod vpc;

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use ssm_proto::frame::{
    ACKNOWLEDGE_FLAGS, Acknowledgement, FLAG_SYN, Flag, Frame, HandshakeComplete, HandshakeRequest, HandshakeResponse,
    MessageType, PayloadType, RequestedClientAction, format_uuid,
};
use tokio::io::{AsyncWriteExt, DuplexStream, WriteHalf};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::clock::Clock;
use crate::data_channel::{AgentConfig, PortProperties};
use reliability::{Arrival, Reliability};

pub(crate) use version::agent_has_remote_host;
pub use vpc::Vpc;

/// How long the agent waits for the answer to its HandshakeRequest.
const HANDSHAKE_TIMEOUT: SignedDuration = SignedDuration::from_secs(15);
const RESEND_EVERY: Duration = Duration::from_millis(100);
/// How long a session that ends waits for its last messages to be acknowledged.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);
const RECONNECT_ATTEMPTS: u32 = 5;

/// The agent's end of its connection to the service.
pub(crate) struct Link {
    pub(crate) to_service: mpsc::Sender<Bytes>,
    pub(crate) from_service: mpsc::Receiver<Bytes>,
}

/// What the agent is told about a session.
pub(crate) struct Task<D> {
    pub(crate) session_id: String,
    pub(crate) properties: PortProperties,
    pub(crate) config: AgentConfig,
    pub(crate) clock: Clock,
    pub(crate) vpc: Vpc,
    /// Opens a connection to the service; `None` once the session is terminated.
    pub(crate) connect: D,
}

/// Serves one session to its end. Returns what the service shows as the reason: empty after a normal end.
pub(crate) async fn run<D>(task: Task<D>) -> String
where
    D: Fn() -> Option<Link> + Send + 'static,
{
    let Task { session_id, properties, config, clock, vpc, connect } = task;
    let Some(link) = connect() else { return String::new() };
    let channel = Arc::new(Channel::new(clock, link.to_service.clone()));
    let reconnect_delay = config.reconnect_delay;
    let mut background = JoinSet::new();
    background.spawn(Arc::clone(&channel).resend());
    channel.say_connected(&session_id).await;
    background.spawn({
        let channel = Arc::clone(&channel);
        async move { channel.stay_connected(link.from_service, connect, reconnect_delay).await }
    });
    let session = async {
        if let Err(reason) = channel.handshake(&properties, &config).await {
            return format!("Encountered error while initiating handshake. {reason}");
        }
        let outcome = port::serve(&channel, &properties, &config, &vpc).await;
        channel.drain().await;
        outcome.err().unwrap_or_default()
    };
    tokio::select! {
        output = session => output,
        // The service no longer knows the session.
        Some(_) = background.join_next() => String::new(),
    }
}

/// What the tasks of one session share.
struct Channel {
    clock: Clock,
    reliability: Mutex<Reliability>,
    /// Held from sending to keeping, so that numbers go out in order.
    sending: tokio::sync::Mutex<()>,
    service: Mutex<mpsc::Sender<Bytes>>,
    paused: watch::Sender<bool>,
    handshake: watch::Sender<Handshake>,
    port: tokio::sync::Mutex<Option<WriteHalf<DuplexStream>>>,
    terminated: Notify,
    client_version: OnceLock<String>,
}

#[derive(Clone, Debug)]
enum Handshake {
    NotAsked,
    Asked,
    Answered(HandshakeResponse),
    Complete,
}

/// The port is not ready, or its pipe is broken: the message is not acknowledged and comes again.
struct NotProcessed;

impl Channel {
    fn new(clock: Clock, service: mpsc::Sender<Bytes>) -> Self {
        Self {
            clock,
            reliability: Mutex::new(Reliability::new()),
            sending: tokio::sync::Mutex::new(()),
            service: Mutex::new(service),
            paused: watch::Sender::new(false),
            handshake: watch::Sender::new(Handshake::NotAsked),
            port: tokio::sync::Mutex::new(None),
            terminated: Notify::new(),
            client_version: OnceLock::new(),
        }
    }

    async fn say_connected(&self, session_id: &str) {
        let state = json!({"SchemaVersion": 1, "SessionState": "Connected", "SessionId": session_id});
        let frame = self.frame(MessageType::AgentSessionState, 0, ACKNOWLEDGE_FLAGS, None, state.to_string().into());
        self.transmit(frame.encode()).await;
    }

    /// Reads from the service, reconnecting as often as the connection breaks, until the session is gone.
    async fn stay_connected(
        &self,
        mut from_service: mpsc::Receiver<Bytes>,
        connect: impl Fn() -> Option<Link>,
        delay: Duration,
    ) {
        loop {
            while let Some(frame) = from_service.recv().await {
                self.receive(frame).await;
            }
            let mut link = None;
            for _ in 0..RECONNECT_ATTEMPTS {
                tokio::time::sleep(delay).await;
                link = connect();
                if link.is_some() {
                    break;
                }
            }
            let Some(Link { to_service, from_service: next }) = link else { return };
            *self.service.lock().unwrap_or_else(PoisonError::into_inner) = to_service;
            self.paused.send_replace(false);
            from_service = next;
        }
    }

    async fn receive(&self, encoded: Bytes) {
        let Ok(frame) = Frame::decode(encoded) else { return };
        match frame.message_type {
            MessageType::InputStreamData => {
                self.paused.send_if_modified(|paused| std::mem::replace(paused, false));
                self.receive_data(frame).await;
            }
            MessageType::Acknowledge => {
                self.paused.send_if_modified(|paused| std::mem::replace(paused, false));
                if let Ok(acknowledgement) = Acknowledgement::from_json(&frame.payload) {
                    self.reliability().acknowledged(acknowledgement.sequence_number, Instant::now());
                }
            }
            MessageType::PausePublication => {
                self.paused.send_replace(true);
            }
            MessageType::StartPublication => {
                self.paused.send_replace(false);
            }
            MessageType::ChannelClosed => self.terminated.notify_one(),
            MessageType::AgentSessionState | MessageType::OutputStreamData | MessageType::Other(_) => {}
        }
    }

    async fn receive_data(&self, frame: Frame) {
        let arrival = self.reliability().arrival(&frame);
        match arrival {
            Arrival::Ignore => {}
            Arrival::Acknowledge => self.acknowledge(&frame).await,
            Arrival::Expected => {
                if self.process(&frame).await.is_ok() {
                    self.acknowledge(&frame).await;
                    self.reliability().processed();
                    self.process_kept().await;
                }
            }
        }
    }

    async fn process_kept(&self) {
        loop {
            let Some(frame) = self.reliability().kept() else { return };
            if self.process(&frame).await.is_err() {
                return;
            }
            self.reliability().processed_kept();
        }
    }

    async fn process(&self, frame: &Frame) -> Result<(), NotProcessed> {
        let complete = matches!(*self.handshake.borrow(), Handshake::Complete);
        match frame.payload_type {
            Some(PayloadType::HandshakeResponse) => {
                self.answered(&frame.payload);
                Ok(())
            }
            // Acknowledged and thrown away.
            Some(PayloadType::Output | PayloadType::Flag) if !complete => Ok(()),
            Some(PayloadType::Output) => {
                let mut port = self.port.lock().await;
                let pipe = port.as_mut().ok_or(NotProcessed)?;
                pipe.write_all(&frame.payload).await.map_err(|_| NotProcessed)
            }
            Some(PayloadType::Flag) => {
                if self.port.lock().await.is_none() {
                    return Err(NotProcessed);
                }
                if matches!(Flag::decode(&frame.payload), Ok(Flag::TerminateSession)) {
                    self.terminated.notify_one();
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn answered(&self, payload: &[u8]) {
        let Ok(response) = HandshakeResponse::from_json(payload) else { return };
        self.handshake.send_if_modified(|handshake| {
            let asked = matches!(handshake, Handshake::Asked);
            if asked {
                *handshake = Handshake::Answered(response);
            }
            asked
        });
    }

    async fn handshake(&self, properties: &PortProperties, config: &AgentConfig) -> Result<(), String> {
        let started = Instant::now();
        let deadline = self.clock.now().saturating_add(HANDSHAKE_TIMEOUT).unwrap_or(Timestamp::MAX);
        let mut progress = self.handshake.subscribe();
        self.handshake.send_replace(Handshake::Asked);
        let request = handshake_request(properties, config).to_json();
        self.send(PayloadType::HandshakeRequest, request.into()).await;
        let answered = progress.wait_for(|handshake| matches!(handshake, Handshake::Answered(_)));
        let response = tokio::select! {
            Ok(answer) = answered => answer.clone(),
            () = self.clock.wait_until(deadline) => return Err(TIMED_OUT.to_owned()),
        };
        let Handshake::Answered(response) = response else { return Err(TIMED_OUT.to_owned()) };
        judge(&response)?;
        // Set once: the handshake happens once.
        let _ = self.client_version.set(response.client_version);
        let complete = HandshakeComplete {
            time_to_complete_ns: i64::try_from(started.elapsed().as_nanos()).unwrap_or(i64::MAX),
            customer_message: String::new(),
        };
        self.send(PayloadType::HandshakeComplete, complete.to_json().into()).await;
        self.handshake.send_replace(Handshake::Complete);
        Ok(())
    }

    /// Sends a message and keeps it, in this order, as the original does: an acknowledgement that is quicker than the
    /// keeping finds nothing. A client that acknowledges repetitions is not harmed.
    async fn send(&self, payload_type: PayloadType, payload: Bytes) {
        let _in_order = self.sending.lock().await;
        let number = self.reliability().next_sequence_number();
        let flags = if number == 0 { FLAG_SYN } else { 0 };
        let frame = self.frame(MessageType::OutputStreamData, number, flags, Some(payload_type), payload);
        let encoded = frame.encode();
        if !*self.paused.borrow() {
            self.transmit(encoded.clone()).await;
        }
        self.reliability().sent(encoded, Instant::now());
    }

    async fn acknowledge(&self, frame: &Frame) {
        let acknowledgement = Acknowledgement {
            message_type: frame.message_type.as_str().to_owned(),
            message_id: format_uuid(frame.message_id),
            sequence_number: frame.sequence_number,
            is_sequential: true,
        };
        let payload = acknowledgement.to_json().into();
        let frame = self.frame(MessageType::Acknowledge, 0, ACKNOWLEDGE_FLAGS, None, payload);
        self.transmit(frame.encode()).await;
    }

    async fn resend(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(RESEND_EVERY);
        loop {
            ticks.tick().await;
            if *self.paused.borrow() {
                continue;
            }
            let overdue = self.reliability().resend(Instant::now());
            if let Some(encoded) = overdue {
                self.transmit(encoded).await;
            }
        }
    }

    /// Waits for the last acknowledgements, but not for long.
    async fn drain(&self) {
        let drained = async {
            while !self.reliability().all_acknowledged() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        // Whoever has not acknowledged by then is gone.
        let _ = tokio::time::timeout(DRAIN_TIMEOUT, drained).await;
    }

    /// On a broken connection the bytes are lost; what was kept is resent over the next one.
    async fn transmit(&self, encoded: Bytes) {
        let service = self.service.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let _ = service.send(encoded).await;
    }

    fn frame(
        &self,
        message_type: MessageType,
        sequence_number: i64,
        flags: u64,
        payload_type: Option<PayloadType>,
        payload: Bytes,
    ) -> Frame {
        let created_at_ms = u64::try_from(self.clock.now().as_millisecond()).unwrap_or(1).max(1);
        let message_id = *uuid::Uuid::new_v4().as_bytes();
        Frame { message_type, sequence_number, flags, message_id, created_at_ms, payload_type, payload }
    }

    fn reliability(&self) -> MutexGuard<'_, Reliability> {
        self.reliability.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const TIMED_OUT: &str =
    "Handshake timed out. Please ensure that you have the latest version of the session manager plugin.";

fn handshake_request(properties: &PortProperties, config: &AgentConfig) -> HandshakeRequest {
    let mut echoed = json!({
        "localPortNumber": "0",
        "portNumber": properties.port.to_string(),
        "type": "LocalPortForwarding",
    });
    if let Some(host) = &properties.host {
        echoed["host"] = host.clone().into();
    }
    HandshakeRequest {
        agent_version: config.agent_version.clone(),
        requested_client_actions: vec![RequestedClientAction {
            action_type: "SessionType".to_owned(),
            action_parameters: json!({"SessionType": "Port", "Properties": echoed}),
        }],
    }
}

/// Any action that did not succeed ends the session.
fn judge(response: &HandshakeResponse) -> Result<(), String> {
    match response.processed_client_actions.iter().find(|action| action.action_status != 1) {
        Some(action) => Err(format!(
            "{} failed on client with status {} error: {}",
            action.action_type, action.action_status, action.error
        )),
        None => Ok(()),
    }
}
