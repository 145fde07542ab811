//! The agent's port plug-in: from the data channel to a multiplexer to connections.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ssm_proto::frame::{Flag, PayloadType};
use tokio::io::{AsyncReadExt, DuplexStream, ReadHalf};
use tokio::net::TcpStream;

use super::mux::{self, Dial};
use super::version::{agent_has_port, client_speaks_mux, client_wants_keepalive};
use super::vpc::Destination;
use super::{Channel, Vpc};
use crate::data_channel::{AgentConfig, PortProperties};

/// What an SSM agent without this plug-in says.
const WITHOUT_PORT: &str = "Plugin with name Port is not supported by this version of ssm agent, please update to latest version. Step name: Port";
/// Most bytes of one message.
const LONGEST_PAYLOAD: usize = 1_024;
/// What the Unix socket between data channel and multiplexer holds.
const PIPE: usize = 208 * 1_024;
const PACE: Duration = Duration::from_millis(1);
/// When Linux gives up a connection that nobody answers.
const TCP_TIMEOUT: Duration = Duration::from_secs(127);

/// Forwards until the client ends the session (`Ok`) or something breaks (`Err` with the words for the person).
pub(super) async fn serve(
    channel: &Arc<Channel>,
    properties: &PortProperties,
    config: &AgentConfig,
    vpc: &Vpc,
) -> Result<(), String> {
    if !agent_has_port(&config.agent_version) {
        return Err(WITHOUT_PORT.to_owned());
    }
    tokio::time::sleep(config.port_start_delay).await;
    let client_version = channel.client_version.get().map(String::as_str).unwrap_or_default();
    if !client_speaks_mux(client_version) {
        return Err(format!("The client version {client_version} cannot multiplex; update it to 1.1.70 or later."));
    }
    let destination =
        vpc.resolve(properties.host.as_deref(), properties.port).map_err(|unreachable| unreachable.to_string())?;
    let (plug_in, multiplexer) = tokio::io::duplex(PIPE);
    let (from_multiplexer, to_multiplexer) = tokio::io::split(plug_in);
    let dialer = Dialer { channel: Arc::clone(channel), destination };
    let multiplexing = mux::serve(multiplexer, client_wants_keepalive(client_version), dialer);
    *channel.port.lock().await = Some(to_multiplexer);
    tokio::select! {
        () = channel.terminated.notified() => Ok(()),
        () = pump(channel, from_multiplexer, config.pacing) => Ok(()),
        ended = multiplexing => ended.map_err(|error| error.to_string()),
    }
}

/// Carries what the multiplexer says to the client, at most one message a millisecond when paced.
async fn pump(channel: &Channel, mut from_multiplexer: ReadHalf<DuplexStream>, paced: bool) {
    let mut paused = channel.paused.subscribe();
    let mut packet = [0; LONGEST_PAYLOAD];
    loop {
        if paused.wait_for(|paused| !paused).await.is_err() {
            return;
        }
        match from_multiplexer.read(&mut packet).await {
            Ok(length @ 1..) => {
                let payload = Bytes::copy_from_slice(packet.get(..length).unwrap_or_default());
                channel.send(PayloadType::Output, payload).await;
            }
            Ok(_) | Err(_) => return,
        }
        if paced {
            tokio::time::sleep(PACE).await;
        }
    }
}

struct Dialer {
    channel: Arc<Channel>,
    destination: Destination,
}

impl Dial for Dialer {
    async fn dial(&self) -> io::Result<TcpStream> {
        let address = match &self.destination {
            Destination::Place(place) => place.address(),
            Destination::BlackHole => None,
            Destination::Closed => return Err(io::ErrorKind::ConnectionRefused.into()),
        };
        let Some(address) = address else {
            tokio::time::sleep(TCP_TIMEOUT).await;
            return Err(io::ErrorKind::TimedOut.into());
        };
        TcpStream::connect(address).await
    }

    async fn refused(&self) {
        self.channel.send(PayloadType::Flag, Flag::ConnectToPortError.encode()).await;
    }
}
