//! The client's leg: a websocket, one text frame with a token, then binary frames.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use ssm_proto::frame::OpenDataChannel;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::StatusCode;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::session::{Attached, Outgoing, Session};
use super::{Shared, Side};

/// In front of the session's id.
pub(super) const PATH: &str = "/v1/data-channel/";
const OPENING_TIMEOUT: Duration = Duration::from_secs(10);
const CLOSING_TIMEOUT: Duration = Duration::from_secs(1);

type Websocket = WebSocketStream<TcpStream>;

/// Serves one connection from its upgrade to its end.
pub(super) async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    // Frames are small and each is waited for.
    let _ = stream.set_nodelay(true);
    let Ok(Some((mut websocket, session))) = tokio::time::timeout(OPENING_TIMEOUT, open(stream, &shared)).await else {
        return;
    };
    match session.attach(Side::Client) {
        Some(attached) => carry(websocket, &session, attached).await,
        None => refuse(&mut websocket).await,
    }
}

/// The upgrade and the first text frame; `None` for whoever has no business here.
#[expect(clippy::result_large_err, reason = "the callback's shape is tungstenite's")]
async fn open(stream: TcpStream, shared: &Shared) -> Option<(Websocket, Arc<Session>)> {
    let mut session = None;
    let upgrade = |request: &Request, response: Response| {
        session = request.uri().path().strip_prefix(PATH).and_then(|id| shared.open_session(id));
        if session.is_some() { Ok(response) } else { Err(not_found()) }
    };
    let mut websocket = tokio_tungstenite::accept_hdr_async(stream, upgrade).await.ok()?;
    let session = session?;
    let token = opening_token(&mut websocket).await?;
    if session.redeem_token(&token) {
        return Some((websocket, session));
    }
    refuse(&mut websocket).await;
    None
}

/// Pings may overtake the text frame.
async fn opening_token(websocket: &mut Websocket) -> Option<String> {
    loop {
        match websocket.next().await?.ok()? {
            Message::Text(text) => {
                return OpenDataChannel::from_json(text.as_bytes()).ok().map(|opening| opening.token_value);
            }
            Message::Ping(_) | Message::Pong(_) => {}
            Message::Binary(_) | Message::Close(_) | Message::Frame(_) => return None,
        }
    }
}

async fn refuse(websocket: &mut Websocket) {
    let reason = CloseFrame { code: CloseCode::Policy, reason: "the token is not valid for this channel".into() };
    // The other side is told if it still listens.
    let _ = websocket.close(Some(reason)).await;
}

async fn carry(websocket: Websocket, session: &Session, attached: Attached) {
    let Attached { outgoing, cut } = attached;
    let (sink, mut stream) = websocket.split();
    let said_all = tokio::select! {
        () = read(&mut stream, session) => false,
        () = write(sink, outgoing) => true,
        () = cut.cancelled() => false,
    };
    if said_all {
        // Closing on unread bytes resets the connection, and a reset may overtake the last words.
        let last_read = cut.run_until_cancelled(read(&mut stream, session));
        let _ = tokio::time::timeout(CLOSING_TIMEOUT, last_read).await;
    }
    session.detach(Side::Client, &cut);
}

async fn read(stream: &mut SplitStream<Websocket>, session: &Session) {
    while let Some(Ok(message)) = stream.next().await {
        match message {
            Message::Binary(frame) => session.arrived(Side::Client, frame).await,
            Message::Close(_) => return,
            Message::Text(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
        }
    }
}

/// Writes what there is before it flushes.
async fn write(mut sink: SplitSink<Websocket, Message>, mut outgoing: mpsc::Receiver<Outgoing>) {
    while let Some(mut message) = outgoing.recv().await {
        loop {
            let sent = match message {
                Outgoing::Frame(frame) => sink.feed(Message::Binary(frame)).await,
                Outgoing::Close(reason) => {
                    let frame = CloseFrame { code: CloseCode::Normal, reason: reason.into() };
                    // The end either way.
                    let _ = sink.send(Message::Close(Some(frame))).await;
                    return;
                }
            };
            if sent.is_err() {
                return;
            }
            match outgoing.try_recv() {
                Ok(next) => message = next,
                Err(_) => break,
            }
        }
        if sink.flush().await.is_err() {
            return;
        }
    }
}

fn not_found() -> ErrorResponse {
    let mut response = ErrorResponse::new(None);
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}
