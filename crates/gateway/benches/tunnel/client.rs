//! A database client and its Target, on blocking sockets.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

/// A socket that moves nothing for so long fails the run.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
const ECHOED: usize = 100;

/// What a client asks of the Target.
#[derive(Clone, Copy)]
pub(crate) enum Verb {
    /// Take so many bytes, then say one.
    Take = 1,
    /// Say so many bytes.
    Give = 2,
    /// Say so many messages back.
    Echo = 3,
}

/// A database client.
pub(crate) struct Client(TcpStream);

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("it listens");
        stream.set_nodelay(true).expect("the socket is open");
        stream.set_read_timeout(Some(PATIENCE)).expect("the socket is open");
        stream.set_write_timeout(Some(PATIENCE)).expect("the socket is open");
        Self(stream)
    }

    /// Until the last byte is known to be there.
    pub(crate) fn carry(&mut self, verb: Verb, length: u64) -> Duration {
        let begun = Instant::now();
        match verb {
            Verb::Take => {
                let carried = self.0.write_all(&ask(verb, length)).and_then(|()| pour(&mut self.0, length));
                carried.and_then(|()| self.0.read_exact(&mut [0])).expect("bytes flow");
            }
            Verb::Give | Verb::Echo => self.download(length, |_| true),
        }
        begun.elapsed()
    }

    /// Tells `moved` of each part until that says no.
    pub(crate) fn download(&mut self, length: u64, moved: impl FnMut(u64) -> bool) {
        let asked = self.0.write_all(&ask(Verb::Give, length));
        asked.and_then(|()| drain(&mut self.0, length, moved)).expect("bytes flow");
    }

    /// How long each of so many round trips of 100 bytes takes.
    pub(crate) fn echo(&mut self, count: u64) -> Vec<Duration> {
        self.0.write_all(&ask(Verb::Echo, count)).expect("bytes flow");
        let one = |_| {
            let begun = Instant::now();
            let sent = self.0.write_all(&[7; ECHOED]);
            sent.and_then(|()| self.0.read_exact(&mut [0; ECHOED])).expect("the Target answers");
            begun.elapsed()
        };
        (0..count).map(one).collect()
    }
}

pub(crate) fn ask(verb: Verb, count: u64) -> [u8; 9] {
    let mut question = [verb as u8; 9];
    question[1..].copy_from_slice(&count.to_be_bytes());
    question
}

/// Starts the Target.
pub(crate) fn target() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            // A client that goes ends its thread with an error.
            thread::spawn(move || answer(client));
        }
    });
    Ok(address)
}

fn answer(mut client: TcpStream) -> io::Result<()> {
    client.set_nodelay(true)?;
    loop {
        let mut question = [0; 9];
        client.read_exact(&mut question)?;
        let [verb, count @ ..] = question;
        let count = u64::from_be_bytes(count);
        if verb == Verb::Take as u8 {
            drain(&mut client, count, |_| true)?;
            client.write_all(&[1])?;
        } else if verb == Verb::Give as u8 {
            pour(&mut client, count)?;
        } else {
            let mut message = [0; ECHOED];
            for _ in 0..count {
                client.read_exact(&mut message)?;
                client.write_all(&message)?;
            }
        }
    }
}

fn pour(to: &mut TcpStream, mut length: u64) -> io::Result<()> {
    let chunk = [7; 64 * 1024];
    while length > 0 {
        let part = chunk.len().min(usize::try_from(length).unwrap_or(usize::MAX));
        to.write_all(&chunk[..part])?;
        length -= part as u64;
    }
    Ok(())
}

fn drain(from: &mut TcpStream, mut length: u64, mut moved: impl FnMut(u64) -> bool) -> io::Result<()> {
    let mut chunk = [0; 64 * 1024];
    while length > 0 {
        let part = chunk.len().min(usize::try_from(length).unwrap_or(usize::MAX));
        let taken = from.read(&mut chunk[..part])?;
        if taken == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        length -= taken as u64;
        if !moved(taken as u64) {
            return Ok(());
        }
    }
    Ok(())
}
