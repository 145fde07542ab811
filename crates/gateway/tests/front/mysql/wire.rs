//! A client made by hand, for what programs do not let one see.

use db_proto::mysql::{
    Capabilities, ClientEvent, ClientLogin, ClientLoginError, Credential, LoggedIn, LoginOptions, Transport, put_packet,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Duration, timeout},
};

use super::billing::USER;
use crate::bed::{Bed, PASSWORD};

/// A session without TLS at the port.
pub(crate) struct Wire {
    stream: TcpStream,
    unread: Vec<u8>,
    pub(crate) session: LoggedIn,
}

impl Wire {
    pub(crate) async fn log_in(bed: &Bed) -> Result<Self, ClientLoginError> {
        let mut stream = TcpStream::connect(("127.0.0.1", bed.port())).await.expect("it listens");
        let mut login = ClientLogin::new(options(), Transport::Plain);
        let session = drive(&mut login, &mut stream, PASSWORD).await?;
        Ok(Self { stream, unread: Vec::new(), session })
    }

    pub(crate) fn thread_id(&self) -> u32 {
        self.session.greeting.thread_id
    }

    pub(crate) async fn send(&mut self, command: &[u8]) {
        let mut packet = Vec::new();
        put_packet(&mut packet, 0, command);
        self.stream.write_all(&packet).await.expect("it is open");
    }

    /// The next packet with its number; `None` at the end of the stream.
    pub(crate) async fn packet(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut buffer = vec![0; 4096];
        loop {
            if let [low, high, 0, number, rest @ ..] = self.unread.as_slice() {
                let length = usize::from(*low) | usize::from(*high) << 8;
                if let (Some(payload), number) = (rest.get(..length), *number) {
                    let payload = payload.to_vec();
                    self.unread.drain(..4 + length);
                    return Some((number, payload));
                }
            }
            match soon(self.stream.read(&mut buffer)).await {
                Ok(length) if length > 0 => self.unread.extend_from_slice(&buffer[..length]),
                Ok(_) | Err(_) => return None,
            }
        }
    }

    /// The first packet of the next answer.
    pub(crate) async fn answer(&mut self) -> Vec<u8> {
        let (number, payload) = self.packet().await.expect("an answer");
        assert_eq!(number, 1, "an answer begins with number 1");
        payload
    }

    pub(crate) async fn ask(&mut self, command: &[u8]) -> Vec<u8> {
        self.send(command).await;
        self.answer().await
    }

    /// The one value of a query with one row and one column.
    pub(crate) async fn value(&mut self, query: &str) -> String {
        self.send(&[b"\x03", query.as_bytes()].concat()).await;
        let mut packets = Vec::new();
        for wanted in 1..=5 {
            let (number, packet) = self.packet().await.expect("a count, a column, an end, a row, an end");
            assert_eq!(number, wanted, "{packet:?}");
            packets.push(packet);
        }
        String::from_utf8_lossy(&packets[3][1..]).into_owned()
    }

    pub(crate) async fn change_user(&mut self, password: &str) -> Result<(), ClientLoginError> {
        let mut login = ClientLogin::change_user(&self.session, options());
        drive(&mut login, &mut self.stream, password).await.map(|_| ())
    }
}

/// Fails a test that hangs.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(30), future).await.expect("soon")
}

async fn drive(login: &mut ClientLogin, stream: &mut TcpStream, password: &str) -> Result<LoggedIn, ClientLoginError> {
    let mut buffer = vec![0; 4096];
    loop {
        while let Some(bytes) = login.poll_transmit() {
            stream.write_all(&bytes).await.expect("it is open");
        }
        match login.poll_event() {
            Some(ClientEvent::PasswordWanted) => login.password(password.as_bytes()),
            Some(ClientEvent::LoggedIn(session)) => return Ok(*session),
            Some(ClientEvent::Failed(error)) => return Err(error),
            Some(ClientEvent::StartTls) => panic!("not asked for"),
            None => match soon(stream.read(&mut buffer)).await {
                Ok(length) if length > 0 => login.receive(&buffer[..length]),
                Ok(_) | Err(_) => login.closed(),
            },
        }
    }
}

fn options() -> LoginOptions {
    LoginOptions {
        user: USER.to_owned(),
        database: Some("billing".to_owned()),
        // With EOF packets: a row is then the third packet of an answer.
        capabilities: Capabilities::PROTOCOL_41,
        longest_packet: 1 << 24,
        collation: 45,
        attributes: vec![("program_name".to_owned(), "wire".to_owned())],
        credential: Credential::Password,
        compression: false,
    }
}
