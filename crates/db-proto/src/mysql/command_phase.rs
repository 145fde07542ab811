//! What follows the login, walked by its packet headers.
//!
//! Commands are passed on byte by byte, except for the few that concern the login (`COM_CHANGE_USER`, `COM_RESET_CONNECTION`)
//! or name a session (`KILL`). Answers are passed on unread, except for the first bytes of each packet: they tell where an
//! answer ends and what its status is, so that it is known at each moment whether a command is being answered and whether a
//! transaction is open.

mod answers;

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use self::answers::Answer;
pub use self::answers::ServerFault;
use super::capabilities::Capabilities;
use super::kill::{self, COM_PROCESS_KILL, COM_QUERY};
use super::ok_packet::ok_status;
use super::packet::{FULL, HEADER, Malformed, header, put_packet};
use super::status;

const COM_QUIT: u8 = 0x01;
const COM_CHANGE_USER: u8 = 0x11;
const COM_RESET_CONNECTION: u8 = 0x1F;
/// Longest `COM_QUERY` that is looked at whole: no `KILL` is longer.
const LONGEST_KILL: usize = 512;
/// Longest `COM_CHANGE_USER`: attributes have 65,535 bytes at most.
const LONGEST_CHANGE_USER: usize = 128 * 1024;

/// The state of one session.
#[derive(Debug)]
pub struct CommandPhase {
    capabilities: Capabilities,
    inbox: BytesMut,
    /// Bytes of the current packet that are still to be passed on.
    passing: usize,
    /// The next packet belongs to the command of the one before.
    continued: bool,
    sending_file: bool,
    walk: answers::Walk,
    expected: VecDeque<Expected>,
    in_transaction: bool,
}

/// An answer that is due.
#[derive(Debug)]
struct Expected {
    answer: Answer,
    /// Number of its next packet.
    number: u8,
}

/// What a session is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// A command is being sent or answered.
    Busy,
    /// Nothing, and no transaction is open.
    Idle,
    /// Nothing, with a transaction open.
    InTransaction,
}

/// What the client sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromClient {
    /// To pass on.
    Forward {
        /// As they are.
        bytes: Bytes,
        /// Whether they begin a command.
        begins_command: bool,
    },
    /// A whole `COM_CHANGE_USER`. Pass on nothing until [`CommandPhase::is_quiet`], and answer it then.
    ChangeUser(Bytes),
    /// `COM_RESET_CONNECTION`; likewise.
    ResetConnection,
}

impl CommandPhase {
    /// Begins behind the OK packet of a login, of which `status` is the status and `capabilities` are what the client uses.
    /// Inside compressed packets a server's numbers are out of order, so that with `renumber` they are put right.
    pub fn new(capabilities: Capabilities, login_status: u16, renumber: bool) -> Self {
        Self {
            capabilities,
            inbox: BytesMut::new(),
            passing: 0,
            continued: false,
            sending_file: false,
            walk: answers::Walk::new(renumber),
            expected: VecDeque::new(),
            in_transaction: login_status & status::IN_TRANSACTION != 0,
        }
    }

    /// Whether all that was passed on has been answered.
    pub fn is_quiet(&self) -> bool {
        self.expected.is_empty() && self.passing == 0 && !self.continued && self.walk.is_between_packets()
    }

    /// Whether what the client sends next is a file that the server asked for.
    pub fn is_sending_file(&self) -> bool {
        self.sending_file
    }

    /// What the session is doing.
    pub fn activity(&self) -> Activity {
        match self.in_transaction {
            _ if !self.is_quiet() || !self.inbox.is_empty() => Activity::Busy,
            true => Activity::InTransaction,
            false => Activity::Idle,
        }
    }

    /// The number of a packet that may be put in here for the client; `None` in the middle of another packet.
    pub fn next_number(&self) -> Option<u8> {
        let number = self.expected.front().map_or(0, |expected| expected.number);
        self.walk.is_between_packets().then_some(number)
    }

    /// Takes bytes from the client, in any pieces.
    pub fn receive_from_client(&mut self, bytes: &[u8]) {
        self.inbox.extend_from_slice(bytes);
    }

    /// What to do about them. `thread` gives, for a thread id of the gateway's own, the one of the session upstream.
    ///
    /// # Errors
    /// [`Malformed::Length`] for a `COM_CHANGE_USER` that is too long.
    pub fn poll_client(&mut self, thread: &dyn Fn(u32) -> Option<u32>) -> Result<Option<FromClient>, Malformed> {
        if self.passing > 0 {
            return Ok(self.pass(false));
        }
        let Some((length, number)) = header(&self.inbox) else { return Ok(None) };
        if self.continued || self.sending_file {
            self.follow(length, number);
            return Ok(self.pass(false));
        }
        let command = self.inbox.get(HEADER).copied();
        match command {
            None if length > 0 => Ok(None),
            Some(COM_CHANGE_USER) if length > LONGEST_CHANGE_USER => {
                Err(Malformed::Length { length, longest: LONGEST_CHANGE_USER })
            }
            Some(COM_CHANGE_USER) => Ok(self.take_payload(length).map(FromClient::ChangeUser)),
            Some(COM_RESET_CONNECTION) if length == 1 => {
                Ok(self.take_payload(length).map(|_| FromClient::ResetConnection))
            }
            Some(COM_PROCESS_KILL | COM_QUERY) if length <= LONGEST_KILL => Ok(self.pass_whole(length, thread)),
            Some(_) | None => {
                self.expect(command);
                self.follow(length, number);
                Ok(self.pass(true))
            }
        }
    }

    /// Walks bytes of the server that are about to be passed on; their packet numbers are put right in place.
    ///
    /// # Errors
    /// [`ServerFault`]; then none of the bytes may be passed on, and the session has to end.
    pub fn walk_answer(&mut self, bytes: &mut [u8]) -> Result<(), ServerFault> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let number = self.expected.front().map(|expected| expected.number);
            let (walked, later) = self.walk.advance(rest, number);
            rest = later;
            match walked {
                answers::Walked::Nothing => {}
                answers::Walked::Header(number) => self.count(number),
                answers::Walked::Packet(head) => self.answer(head.bytes(), head.length)?,
            }
        }
        Ok(())
    }

    /// The session was reset by a command that did not pass through here, and answered with this OK packet.
    pub fn note_reset(&mut self, ok: &[u8]) {
        self.in_transaction = ok_status(ok).is_some_and(|status| status & status::IN_TRANSACTION != 0);
    }

    fn count(&mut self, number: u8) {
        if let Some(expected) = self.expected.front_mut() {
            expected.number = number.wrapping_add(1);
        }
    }

    fn answer(&mut self, head: &[u8], length: usize) -> Result<(), ServerFault> {
        // Without a question: a server's last words.
        let Some(expected) = self.expected.front_mut() else { return Ok(()) };
        let step = expected.answer.step(head, length, self.capabilities)?;
        if let Some(status) = step.status {
            self.in_transaction = status & status::IN_TRANSACTION != 0;
        }
        self.sending_file |= step.file_wanted;
        match step.next {
            Some(answer) => expected.answer = answer,
            None => drop(self.expected.pop_front()),
        }
        Ok(())
    }

    /// Passes a short command on once it is there, with the id that it kills replaced.
    fn pass_whole(&mut self, length: usize, thread: &dyn Fn(u32) -> Option<u32>) -> Option<FromClient> {
        let payload = self.inbox.get(HEADER..HEADER + length)?;
        let has_attributes = self.capabilities.contains(Capabilities::QUERY_ATTRIBUTES);
        let rewritten = kill::rewrite(payload, has_attributes, thread);
        self.expect(payload.first().copied());
        let Some(rewritten) = rewritten else {
            self.follow(length, 0);
            return self.pass(true);
        };
        self.take_payload(length)?;
        let mut bytes = Vec::new();
        put_packet(&mut bytes, 0, &rewritten);
        Some(FromClient::Forward { bytes: bytes.into(), begins_command: true })
    }

    fn take_payload(&mut self, length: usize) -> Option<Bytes> {
        if self.inbox.len() < HEADER + length {
            return None;
        }
        Some(self.inbox.split_to(HEADER + length).freeze().slice(HEADER..))
    }

    fn expect(&mut self, command: Option<u8>) {
        if let Some(answer) = command.map_or(Some(Answer::Status), Answer::to) {
            self.expected.push_back(Expected { answer, number: 1 });
        }
    }

    /// One more packet of the command (or of a file) goes out.
    fn follow(&mut self, length: usize, number: u8) {
        self.passing = HEADER + length;
        if self.sending_file {
            self.sending_file = length > 0;
            self.count(number);
            return;
        }
        if self.continued
            && let Some(expected) = self.expected.back_mut()
        {
            expected.number = number.wrapping_add(1);
        }
        self.continued = length == FULL;
    }

    fn pass(&mut self, begins_command: bool) -> Option<FromClient> {
        let bytes = self.inbox.split_to(self.inbox.len().min(self.passing)).freeze();
        self.passing -= bytes.len();
        (!bytes.is_empty()).then_some(FromClient::Forward { bytes, begins_command })
    }
}
