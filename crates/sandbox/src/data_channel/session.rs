//! One channel: its tokens, its two legs, and what is under way between them.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use jiff::{SignedDuration, Timestamp};
use rand::Rng;
use serde_json::json;
use sha2::{Digest, Sha256};
use ssm_proto::frame::{ChannelClosed, Frame, MessageType};
use subtle::ConstantTimeEq;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{AgentConfig, Side};
use crate::clock::Clock;
use crate::ssm_agent::Link;

const TOKEN_LIFE: SignedDuration = SignedDuration::from_secs(60);
/// Frames that may be under way in one direction before the sender is held up.
const MOST_UNDER_WAY: usize = 8_192;
const LEG_QUEUE: usize = 256;
/// How long a session that is over waits for a client to take its last frame.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// A channel between a client and an SSM agent.
pub(super) struct Session {
    id: String,
    clock: Clock,
    delay: Duration,
    pauses: bool,
    open: AtomicBool,
    tokens: Mutex<Vec<Token>>,
    /// Raised by every cut: what was sent before it is not delivered after it.
    generation: AtomicU64,
    to_agent: mpsc::Sender<UnderWay>,
    to_client: mpsc::Sender<UnderWay>,
    agent: watch::Sender<Option<Leg>>,
    client: watch::Sender<Option<Leg>>,
    /// When a stream last said something, in either direction.
    last_traffic: Mutex<Timestamp>,
    /// Since when the client's websocket is open.
    client_since: Mutex<Option<Timestamp>>,
    /// Whether a leg was told to pause because the other one went.
    told_to_pause: AtomicBool,
    agent_over: CancellationToken,
    over: CancellationToken,
}

struct Token {
    value: String,
    expires_at: Timestamp,
}

struct UnderWay {
    due: Instant,
    generation: u64,
    message: Outgoing,
}

/// What a leg is given to send.
#[derive(Clone, Debug)]
pub(super) enum Outgoing {
    /// One binary frame.
    Frame(Bytes),
    /// A close frame with code 1000 and this text, then the end.
    Close(&'static str),
}

/// The way to a connected leg.
#[derive(Clone, Debug)]
pub(super) struct Leg {
    out: mpsc::Sender<Outgoing>,
    cut: CancellationToken,
}

/// A connected client leg's other end.
pub(super) struct Attached {
    pub(super) outgoing: mpsc::Receiver<Outgoing>,
    pub(super) cut: CancellationToken,
}

impl Session {
    pub(super) fn start(id: &str, config: &AgentConfig, clock: Clock, over: CancellationToken) -> Arc<Self> {
        let (to_agent, for_agent) = mpsc::channel(MOST_UNDER_WAY);
        let (to_client, for_client) = mpsc::channel(MOST_UNDER_WAY);
        let session = Arc::new(Self {
            id: id.to_owned(),
            last_traffic: Mutex::new(clock.now()),
            client_since: Mutex::default(),
            clock,
            delay: config.one_way_delay,
            pauses: config.pauses_for_absent_leg,
            open: AtomicBool::new(true),
            tokens: Mutex::default(),
            generation: AtomicU64::new(0),
            to_agent,
            to_client,
            agent: watch::Sender::new(None),
            client: watch::Sender::new(None),
            told_to_pause: AtomicBool::new(false),
            agent_over: over.child_token(),
            over: over.clone(),
        });
        for (side, frames) in [(Side::Agent, for_agent), (Side::Client, for_client)] {
            let deliver = Arc::clone(&session).deliver(side, frames);
            tokio::spawn(over.clone().run_until_cancelled_owned(deliver));
        }
        session
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    /// Returns when both legs have gone for good.
    pub(super) async fn is_over(&self) {
        self.over.cancelled().await;
    }

    pub(super) fn last_traffic(&self) -> Timestamp {
        *self.last_traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn client_since(&self) -> Option<Timestamp> {
        *self.client_since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_client_since(&self, since: Option<Timestamp>) {
        *self.client_since.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    /// To see the client's leg come and go.
    pub(super) fn client_leg(&self) -> watch::Receiver<Option<Leg>> {
        self.client.subscribe()
    }

    pub(super) fn issue_token(&self) -> String {
        let now = self.clock.now();
        let value = hex::encode(rand::rng().random::<[u8; 32]>());
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        tokens
            .push(Token { value: value.clone(), expires_at: now.saturating_add(TOKEN_LIFE).unwrap_or(Timestamp::MAX) });
        value
    }

    /// Uses up a token; whether it was good.
    pub(super) fn redeem_token(&self, value: &str) -> bool {
        let now = self.clock.now();
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.retain(|token| token.expires_at > now);
        let found = tokens.iter().position(|token| token.value.as_bytes().ct_eq(value.as_bytes()).into());
        found.map(|at| tokens.swap_remove(at)).is_some()
    }

    /// Runs the agent's side; `None` when the service ended the session first.
    pub(super) async fn until_ended(&self, agent: impl Future<Output = String>) -> Option<String> {
        self.agent_over.run_until_cancelled(agent).await
    }

    /// Ends the session once: tells the client why and lets both legs go. Whether it was open.
    pub(super) fn end(self: &Arc<Self>, output: &str) -> bool {
        if !self.open.swap(false, Ordering::AcqRel) {
            return false;
        }
        self.agent_over.cancel();
        if self.client.borrow().is_none() {
            self.over.cancel();
            return true;
        }
        // A queue that is full belongs to a client that does not read; it learns of the end by the broken connection.
        let closed = channel_closed(&self.id, output, self.clock.now());
        let _ = self.to_client.try_send(self.under_way(Outgoing::Frame(closed)));
        let _ = self.to_client.try_send(self.under_way(Outgoing::Close("")));
        let (over, patience) = (self.over.clone(), self.delay + LAST_WORDS);
        tokio::spawn(async move {
            // Either way it is over then.
            let _ = tokio::time::timeout(patience, over.cancelled()).await;
            over.cancel();
        });
        true
    }

    /// Connects the agent's leg; `None` when the session is over.
    pub(super) fn connect_agent(self: &Arc<Self>) -> Option<Link> {
        let (to_service, mut from_agent) = mpsc::channel(LEG_QUEUE);
        let (to_agent, from_service) = mpsc::channel(LEG_QUEUE);
        let Attached { mut outgoing, cut } = self.attach(Side::Agent)?;
        let session = Arc::clone(self);
        tokio::spawn(async move {
            let up = async {
                while let Some(frame) = from_agent.recv().await {
                    session.arrived(Side::Agent, frame).await;
                }
            };
            let down = async {
                while let Some(Outgoing::Frame(frame)) = outgoing.recv().await {
                    if to_agent.send(frame).await.is_err() {
                        return;
                    }
                }
            };
            tokio::select! { () = up => {} () = down => {} () = cut.cancelled() => {} }
            session.detach(Side::Agent, &cut);
        });
        Some(Link { to_service, from_service })
    }

    /// Makes a new connection the leg of `side`; an earlier one is cut. `None` when the session is over.
    pub(super) fn attach(&self, side: Side) -> Option<Attached> {
        if !self.is_open() {
            return None;
        }
        let (out, outgoing) = mpsc::channel(LEG_QUEUE);
        let cut = self.over.child_token();
        if side == Side::Client {
            self.set_client_since(Some(self.clock.now()));
        }
        let replaced = self.leg(side).send_replace(Some(Leg { out, cut: cut.clone() }));
        if let Some(replaced) = replaced {
            replaced.cut.cancel();
            self.generation.fetch_add(1, Ordering::AcqRel);
        }
        if self.told_to_pause.swap(false, Ordering::AcqRel) {
            self.publication(other(side), true);
        }
        Some(Attached { outgoing, cut })
    }

    /// The connection of `side` known by `cut` is gone.
    pub(super) fn detach(&self, side: Side, cut: &CancellationToken) {
        cut.cancel();
        let was_current = self.leg(side).send_if_modified(|leg| {
            let ended = leg.as_ref().is_some_and(|leg| leg.cut.is_cancelled());
            if ended {
                *leg = None;
            }
            ended
        });
        if !was_current {
            return;
        }
        if self.is_open() {
            self.generation.fetch_add(1, Ordering::AcqRel);
            if self.pauses {
                self.told_to_pause.store(true, Ordering::Release);
                self.publication(other(side), false);
            }
        } else if side == Side::Client {
            self.over.cancel();
        }
    }

    pub(super) fn cut(&self, side: Side) {
        let leg = self.leg(side).borrow().clone();
        if let Some(leg) = leg {
            self.detach(side, &leg.cut);
        }
    }

    pub(super) fn say_bye(&self) {
        self.set_client_since(None);
        self.tell(Side::Client, Outgoing::Close("Bye"));
    }

    /// Sends `start_publication` or `pause_publication`, past everything that is under way.
    pub(super) fn publication(&self, side: Side, starts: bool) {
        let message_type = if starts { MessageType::StartPublication } else { MessageType::PausePublication };
        let payload = json!({"SchemaVersion": 1, "SessionId": self.id, "MessageType": message_type.as_str()});
        let frame = Frame {
            message_type,
            sequence_number: 0,
            flags: 0,
            message_id: *uuid::Uuid::new_v4().as_bytes(),
            created_at_ms: milliseconds(self.clock.now()),
            payload_type: None,
            payload: payload.to_string().into(),
        };
        self.tell(side, Outgoing::Frame(frame.encode()));
    }

    /// A frame came over the leg of `side`; it goes to the other one, unless it is the agent's word to the service alone.
    pub(super) async fn arrived(&self, side: Side, frame: Bytes) {
        if is_of_type(&frame, &MessageType::AgentSessionState) {
            return;
        }
        if [MessageType::InputStreamData, MessageType::OutputStreamData].iter().any(|data| is_of_type(&frame, data)) {
            *self.last_traffic.lock().unwrap_or_else(PoisonError::into_inner) = self.clock.now();
        }
        let queue = match side {
            Side::Agent => &self.to_client,
            Side::Client => &self.to_agent,
        };
        // The delivering task ends only with the session.
        let _ = queue.send(self.under_way(Outgoing::Frame(frame))).await;
    }

    async fn deliver(self: Arc<Self>, side: Side, mut frames: mpsc::Receiver<UnderWay>) {
        let mut leg = self.leg(side).subscribe();
        // What is said before a leg first comes waits for it.
        if leg.wait_for(Option::is_some).await.is_err() {
            return;
        }
        while let Some(UnderWay { due, generation, message }) = frames.recv().await {
            if due > Instant::now() {
                tokio::time::sleep_until(due).await;
            }
            let current = leg.borrow_and_update().clone();
            let lost = generation != self.generation.load(Ordering::Acquire);
            if let Some(leg) = current.filter(|_| !lost) {
                tokio::select! {
                    // A leg that goes takes its frame with it.
                    _ = leg.out.send(message) => {}
                    () = leg.cut.cancelled() => {}
                }
            }
        }
    }

    fn under_way(&self, message: Outgoing) -> UnderWay {
        UnderWay { due: Instant::now() + self.delay, generation: self.generation.load(Ordering::Acquire), message }
    }

    /// Says something to a leg past everything that is under way; a leg that is absent or not reading misses it.
    fn tell(&self, side: Side, message: Outgoing) {
        if let Some(leg) = self.leg(side).borrow().as_ref() {
            let _ = leg.out.try_send(message);
        }
    }

    fn leg(&self, side: Side) -> &watch::Sender<Option<Leg>> {
        match side {
            Side::Agent => &self.agent,
            Side::Client => &self.client,
        }
    }
}

fn other(side: Side) -> Side {
    match side {
        Side::Agent => Side::Client,
        Side::Client => Side::Agent,
    }
}

fn is_of_type(frame: &[u8], message_type: &MessageType) -> bool {
    frame.get(4..36).is_some_and(|name| name.starts_with(message_type.as_str().as_bytes()))
}

/// The service's own frame: padded with NULs, HeaderLength 112, so no PayloadType and the JSON at 116.
fn channel_closed(session_id: &str, output: &str, now: Timestamp) -> Bytes {
    const HEADER_LENGTH: u32 = 112;
    let message_id = uuid::Uuid::new_v4();
    let payload = ChannelClosed {
        message_id: message_id.to_string(),
        created_date: now.to_string(),
        destination_id: String::new(),
        session_id: session_id.to_owned(),
        message_type: MessageType::ChannelClosed.as_str().to_owned(),
        schema_version: 1.into(),
        output: output.to_owned(),
    }
    .to_json();
    let name = MessageType::ChannelClosed;
    let mut frame = BytesMut::new();
    frame.put_u32(HEADER_LENGTH);
    frame.put_slice(name.as_str().as_bytes());
    frame.put_bytes(0, 32 - name.as_str().len());
    frame.put_u32(1);
    frame.put_u64(milliseconds(now));
    frame.put_bytes(0, 16);
    let (first, second) = message_id.as_bytes().split_at(8);
    frame.put_slice(second);
    frame.put_slice(first);
    frame.put_slice(&Sha256::digest(&payload));
    frame.put_u32(u32::try_from(payload.len()).expect("a reason is far below 4 GiB"));
    frame.put_slice(payload.as_bytes());
    frame.freeze()
}

fn milliseconds(now: Timestamp) -> u64 {
    u64::try_from(now.as_millisecond()).unwrap_or(1).max(1)
}
