//! PostgreSQL's half: the first messages are read here, everything after them is between the client and the server.
//!
//! Source: chapter "Frontend/Backend Protocol" of the PostgreSQL manual.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpStream, UnixStream};

use super::{Encrypted, Shared, within_login_timeout};
use crate::postgres::{connect, read_message};

const CANCEL_REQUEST: u32 = 80_877_102;
const SSL_REQUEST: u32 = 80_877_103;
const GSSENC_REQUEST: u32 = 80_877_104;
/// As the server's `MAX_STARTUP_PACKET_LENGTH`.
const LONGEST_STARTUP: usize = 10_000;

pub(super) async fn serve(shared: &Shared, folder: &Path, mut client: TcpStream, peer: SocketAddr) -> io::Result<()> {
    loop {
        let first = within_login_timeout(Opening::read(&mut client)).await?;
        match first.code {
            SSL_REQUEST => {
                client.write_all(b"S").await?;
                let accepting = async { shared.config.certificate.acceptor().accept(client).await };
                let mut client = within_login_timeout(accepting).await?;
                let first = within_login_timeout(Opening::read(&mut client)).await?;
                return if first.code == CANCEL_REQUEST {
                    cancel(folder, &first).await
                } else {
                    log_in(shared, folder, client, &first).await
                };
            }
            GSSENC_REQUEST => client.write_all(b"N").await?,
            CANCEL_REQUEST => return cancel(folder, &first).await,
            _ => return client.write_all(&no_encryption(&first, peer)).await,
        }
    }
}

/// Lets the server ask for a password itself; where it trusts (rds_iam), a token is asked for first.
async fn log_in(shared: &Shared, folder: &Path, mut client: impl Encrypted, startup: &Opening) -> io::Result<()> {
    let Ok(mut server) = connect(folder).await else {
        return client.write_all(&fatal("57P03", "the database system is starting up")).await;
    };
    server.write_all(&startup.bytes).await?;
    let logging_in = async {
        loop {
            let (kind, body) = read_message(&mut server).await?;
            if kind == b'R' && body == TRUSTED && !token_is_taken(shared, &mut client, startup).await? {
                return Ok(false);
            }
            client.write_all(&message(kind, &body)?).await?;
            client.flush().await?;
            if matches!(kind, b'R' | b'E') {
                return Ok(true);
            }
        }
    };
    if within_login_timeout(logging_in).await? { splice(client, server).await } else { Ok(()) }
}

/// AuthenticationOk.
const TRUSTED: [u8; 4] = [0, 0, 0, 0];
/// AuthenticationCleartextPassword.
const CLEARTEXT: [u8; 4] = [0, 0, 0, 3];

async fn token_is_taken(shared: &Shared, client: &mut impl Encrypted, startup: &Opening) -> io::Result<bool> {
    client.write_all(&message(b'R', &CLEARTEXT)?).await?;
    client.flush().await?;
    let (kind, body) = read_message(client).await?;
    let token = body.strip_suffix(&[0]).filter(|_| kind == b'p').unwrap_or_default();
    let user = startup.parameter("user");
    let taken = shared.takes(&user, token);
    if !taken {
        client.write_all(&fatal("28000", &format!("PAM authentication failed for user \"{user}\""))).await?;
        client.shutdown().await?;
    }
    Ok(taken)
}

async fn splice(mut client: impl Encrypted, mut server: UnixStream) -> io::Result<()> {
    copy_bidirectional(&mut client, &mut server).await.map(|_| ())
}

/// Passed on; nothing is answered, whatever comes of it.
async fn cancel(folder: &Path, request: &Opening) -> io::Result<()> {
    let mut server = connect(folder).await?;
    server.write_all(&request.bytes).await?;
    server.read(&mut [0]).await.map(|_| ())
}

/// What a connection begins with: a length, a code, and what belongs to the code.
struct Opening {
    code: u32,
    bytes: Vec<u8>,
}

impl Opening {
    async fn read<S: AsyncReadExt + Unpin>(client: &mut S) -> io::Result<Self> {
        let length = client.read_u32().await?;
        let left = usize::try_from(length).ok().and_then(|length| length.checked_sub(8));
        let left = left.filter(|left| *left <= LONGEST_STARTUP);
        let code = client.read_u32().await?;
        let mut rest = vec![0; left.ok_or_else(|| io::Error::other("a start-up of an impossible length"))?];
        client.read_exact(&mut rest).await?;
        Ok(Self { code, bytes: [&length.to_be_bytes()[..], &code.to_be_bytes(), &rest].concat() })
    }

    /// A start-up setting; empty when it is not there.
    fn parameter(&self, wanted: &str) -> String {
        let mut words = self.bytes.get(8..).unwrap_or_default().split(|byte| *byte == 0);
        while let (Some(name), Some(value)) = (words.next(), words.next()) {
            if name == wanted.as_bytes() {
                return String::from_utf8_lossy(value).into_owned();
            }
        }
        String::new()
    }
}

fn message(kind: u8, body: &[u8]) -> io::Result<Vec<u8>> {
    let length = u32::try_from(body.len() + 4).map_err(io::Error::other)?;
    Ok([&[kind][..], &length.to_be_bytes(), body].concat())
}

fn fatal(sqlstate: &str, text: &str) -> Vec<u8> {
    let body = format!("SFATAL\0VFATAL\0C{sqlstate}\0M{text}\0\0");
    message(b'E', body.as_bytes()).unwrap_or_default()
}

fn no_encryption(startup: &Opening, peer: SocketAddr) -> Vec<u8> {
    let user = startup.parameter("user");
    let database = Some(startup.parameter("database")).filter(|name| !name.is_empty()).unwrap_or_else(|| user.clone());
    let host = peer.ip();
    fatal(
        "28000",
        &format!("no pg_hba.conf entry for host \"{host}\", user \"{user}\", database \"{database}\", no encryption"),
    )
}
