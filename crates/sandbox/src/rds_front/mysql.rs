//! MySQL's half: the login is read here; users who have a password of the real server's kind log in to it themselves.
//!
//! Everything after the login is between the client and the server, compression included.

use std::io;
use std::net::SocketAddr;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpStream, UnixStream};

use super::{Encrypted, Shared, within_login_timeout};
use crate::mariadb::{MariadbDoor, MysqlLogin};
use crate::mysql_wire::{
    AUTH_SWITCH, ERR, Greeting, MORE_DATA, NATIVE_PASSWORD, OK, Packets, Response, asks_for_tls, auth_switch, error,
    native_proof,
};

const CACHING_SHA2: &str = "caching_sha2_password";
const CLEARTEXT: &str = "mysql_clear_password";
const ED25519_PLUGIN: &str = "client_ed25519";

pub(super) async fn serve(shared: &Shared, door: &MariadbDoor, client: TcpStream, peer: SocketAddr) -> io::Result<()> {
    let logging_in = async {
        let mut client = Packets::new(client);
        let Ok(stream) = door.connect().await else {
            let text = "Can't connect to MySQL server";
            return client.write(&error(2003, "HY000", text)).await.map(|()| None);
        };
        let mut server = Packets::new(stream);
        let first = server.read().await?;
        let Some(greeting) = Greeting::read(first.clone()) else { return client.write(&first).await.map(|()| None) };
        client.write(&greeting.with_tls(door.default_plugin())).await?;
        if !asks_for_tls(&client.read().await?) {
            let text = "Connections using insecure transport are prohibited while --require_secure_transport=ON.";
            return client.write(&error(3159, "HY000", text)).await.map(|()| None);
        }
        let acceptor = shared.config.certificate.acceptor();
        let client = client.over(async |stream| acceptor.accept(stream).await).await?;
        Login { shared, door, peer, greeting, client, server }.run().await
    };
    let Some((mut client, mut server)) = within_login_timeout(logging_in).await? else { return Ok(()) };
    copy_bidirectional(&mut client, &mut server).await.map(|_| ())
}

/// One login over TLS.
struct Login<'a, S> {
    shared: &'a Shared,
    door: &'a MariadbDoor,
    peer: SocketAddr,
    greeting: Greeting,
    client: Packets<S>,
    server: Packets<UnixStream>,
}

impl<S: Encrypted> Login<'_, S> {
    /// Both streams once the client is in; none when it was refused.
    async fn run(mut self) -> io::Result<Option<(S, UnixStream)>> {
        let payload = self.client.read().await?;
        let Some(response) = Response::read(&payload) else {
            let text = "Bad handshake";
            return self.client.write(&error(1043, "08S01", text)).await.map(|()| None);
        };
        let user = String::from_utf8_lossy(&response.user).into_owned();
        let believed = match self.door.login_of(&user) {
            None => {
                self.server.write(&without_tls(payload)).await?;
                return self.relay().await;
            }
            Some(MysqlLogin::CachingSha2 { password }) => self.caching_sha2(&user, &password, &response).await?,
            Some(MysqlLogin::Ed25519 { public_key }) => self.ed25519(&public_key).await?,
            Some(MysqlLogin::IamToken) => self.token(&user, &response).await?,
        };
        if !believed {
            let (host, using) = (self.peer.ip(), if response.answer.is_empty() { "NO" } else { "YES" });
            let text = format!("Access denied for user '{user}'@'{host}' (using password: {using})");
            return self.client.write(&error(1045, "28000", &text)).await.map(|()| None);
        }
        let proof = native_proof(self.door.password(), &self.greeting.nonce());
        self.server.write(&response.answering(&proof, NATIVE_PASSWORD)).await?;
        self.relay().await
    }

    /// Carries packets between client and server until the server has decided.
    async fn relay(mut self) -> io::Result<Option<(S, UnixStream)>> {
        loop {
            let said = self.server.read().await?;
            self.client.write(&said).await?;
            match said.first().copied() {
                Some(OK) => return Ok(Some((self.client.stream, self.server.stream))),
                Some(AUTH_SWITCH | MORE_DATA) => {
                    let answer = self.client.read().await?;
                    self.server.write(&answer).await?;
                }
                Some(ERR | _) | None => return Ok(None),
            }
        }
    }

    /// As RDS does for users of AWSAuthenticationPlugin.
    async fn token(&mut self, user: &str, response: &Response) -> io::Result<bool> {
        let answer = if response.plugin == CLEARTEXT.as_bytes() && !response.answer.is_empty() {
            response.answer.clone()
        } else {
            self.client.write(&auth_switch(CLEARTEXT, &[])).await?;
            self.client.read().await?
        };
        Ok(self.shared.takes(user, answer.strip_suffix(&[0]).unwrap_or(&answer)))
    }

    /// The short proof suffices once the password itself has been shown.
    async fn caching_sha2(&mut self, user: &str, password: &str, response: &Response) -> io::Result<bool> {
        const FAST_SUCCESS: [u8; 2] = [MORE_DATA, 3];
        const SHOW_PASSWORD: [u8; 2] = [MORE_DATA, 4];
        let nonce = self.greeting.nonce();
        let asked_already = self.door.default_plugin() == Some(CACHING_SHA2);
        let proof = if asked_already && response.plugin == CACHING_SHA2.as_bytes() {
            response.answer.clone()
        } else {
            self.client.write(&auth_switch(CACHING_SHA2, &[&nonce[..], &[0]].concat())).await?;
            self.client.read().await?
        };
        if proof.is_empty() {
            return Ok(false);
        }
        if self.door.has_seen(user) && bool::from(proof.ct_eq(&sha2_proof(password, &nonce))) {
            self.client.write(&FAST_SUCCESS).await?;
            return Ok(true);
        }
        self.client.write(&SHOW_PASSWORD).await?;
        let shown = self.client.read().await?;
        let right = bool::from(shown.strip_suffix(&[0]).unwrap_or(&shown).ct_eq(password.as_bytes()));
        if right {
            self.door.note_seen(user);
        }
        Ok(right)
    }

    async fn ed25519(&mut self, public_key: &[u8; 32]) -> io::Result<bool> {
        let nonce: [u8; 32] = rand::random();
        self.client.write(&auth_switch(ED25519_PLUGIN, &nonce)).await?;
        let signature = self.client.read().await?;
        Ok(UnparsedPublicKey::new(&ED25519, public_key).verify(&nonce, &signature).is_ok())
    }
}

/// The same login, for a server that is spoken to in clear.
fn without_tls(mut response: Vec<u8>) -> Vec<u8> {
    if let Some(byte) = response.get_mut(1) {
        *byte &= !crate::mysql_wire::SSL.to_le_bytes()[1];
    }
    response
}

/// `SHA256(password) XOR SHA256(SHA256(SHA256(password)) nonce)`.
fn sha2_proof(password: &str, nonce: &[u8]) -> Vec<u8> {
    let once = Sha256::digest(password);
    let mask = Sha256::new().chain_update(Sha256::digest(once)).chain_update(nonce).finalize();
    once.iter().zip(mask).map(|(byte, mask)| byte ^ mask).collect()
}
