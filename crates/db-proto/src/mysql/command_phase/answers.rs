//! Where an answer ends, and what its status is.

use crate::mysql::capabilities::Capabilities;
use crate::mysql::err_packet::{ERR, PROGRESS};
use crate::mysql::ok_packet::{END, LONGEST_EOF, OK, STATUS_WITHIN, eof_status, ok_status};
use crate::mysql::packet::{FULL, Fields, HEADER, header};
use crate::mysql::status;

const LOCAL_FILE: u8 = 0xFB;

/// What an honest server does not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServerFault {
    /// It asks for a file of the client's machine, although that was not allowed.
    #[error("the server asked for a file of this machine (LOCAL INFILE), which is not allowed here")]
    LocalFile,
}

/// What the next packet of an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The first of a result.
    Result,
    /// One of so many column definitions.
    Columns(u64),
    /// The EOF packet behind them.
    ColumnsEnd,
    /// A row, or what ends them.
    Rows,
    /// The first after a prepared statement.
    Prepared,
    /// One of so many packets of whatever kind.
    Definitions(u64),
    /// An OK, EOF or ERR packet.
    Status,
    /// Any one packet.
    Text,
    /// One of a stream that does not end (replication).
    Endless,
}

/// What a packet tells.
pub(super) struct Step {
    /// Due after it; `None` at the end of the answer.
    pub(super) next: Option<Answer>,
    pub(super) status: Option<u16>,
    /// The client is asked for a file.
    pub(super) file_wanted: bool,
}

impl Step {
    fn to(next: Option<Answer>) -> Self {
        Self { next, status: None, file_wanted: false }
    }

    /// After an OK or EOF packet that ends a result.
    fn result_end(status: Option<u16>) -> Self {
        let more = status.is_some_and(|status| status & status::MORE_RESULTS != 0);
        Self { next: more.then_some(Answer::Result), status, file_wanted: false }
    }
}

impl Answer {
    /// To a command; `None` where there is none.
    pub(super) fn to(command: u8) -> Option<Self> {
        match command {
            // COM_QUIT, COM_STMT_SEND_LONG_DATA, COM_STMT_CLOSE.
            super::COM_QUIT | 0x18 | 0x19 => None,
            // COM_QUERY, COM_STMT_EXECUTE, MariaDB's COM_STMT_BULK_EXECUTE, COM_PROCESS_INFO.
            0x03 | 0x17 | 0xFA | 0x0A => Some(Self::Result),
            // COM_FIELD_LIST, COM_STMT_FETCH.
            0x04 | 0x1C => Some(Self::Rows),
            // COM_STATISTICS.
            0x09 => Some(Self::Text),
            // COM_BINLOG_DUMP, COM_TABLE_DUMP, COM_BINLOG_DUMP_GTID, COM_CLONE.
            0x12 | 0x13 | 0x1E | 0x20 => Some(Self::Endless),
            // COM_STMT_PREPARE.
            0x16 => Some(Self::Prepared),
            _ => Some(Self::Status),
        }
    }

    /// One packet on, of which `head` is the begin and `length` all of it (or of its first part).
    pub(super) fn step(self, head: &[u8], length: usize, capabilities: Capabilities) -> Result<Step, ServerFault> {
        let packet = Packet { head, length, capabilities };
        let first = head.first().copied();
        Ok(match self {
            Self::Endless | Self::Text if first != Some(ERR) => Step::to((self == Self::Endless).then_some(self)),
            Self::Columns(left) => Step::to(Some(packet.columns(left - 1))),
            Self::Definitions(left) => Step::to((left > 1).then(|| Self::Definitions(left - 1))),
            _ if packet.is_progress() => Step::to(Some(self)),
            _ if first == Some(ERR) => Step::to(None),
            Self::ColumnsEnd => packet.columns_end(),
            Self::Rows if packet.is_end() => Step::result_end(packet.end_status()),
            Self::Rows => Step::to(Some(self)),
            Self::Prepared => Step::to(packet.prepared()),
            Self::Result => packet.result()?,
            Self::Status if first == Some(OK) => Step { status: ok_status(head), ..Step::to(None) },
            Self::Status => Step { status: packet.end_status(), ..Step::to(None) },
            Self::Text | Self::Endless => Step::to(None),
        })
    }
}

struct Packet<'a> {
    head: &'a [u8],
    length: usize,
    capabilities: Capabilities,
}

impl Packet<'_> {
    fn is_progress(&self) -> bool {
        let mut fields = Fields::of(self.head);
        self.capabilities.contains(Capabilities::PROGRESS) && fields.u8() == Some(ERR) && fields.u16() == Some(PROGRESS)
    }

    fn has_eof(&self) -> bool {
        !self.capabilities.contains(Capabilities::DEPRECATE_EOF)
    }

    /// What ends rows. A row of 16 MiB can begin with the same byte.
    fn is_end(&self) -> bool {
        let bound = if self.has_eof() { LONGEST_EOF } else { FULL - 1 };
        self.head.first() == Some(&END) && self.length <= bound
    }

    fn end_status(&self) -> Option<u16> {
        if self.has_eof() { eof_status(self.head) } else { ok_status(self.head) }
    }

    fn columns(&self, left: u64) -> Answer {
        match left {
            0 if self.has_eof() => Answer::ColumnsEnd,
            0 => Answer::Rows,
            _ => Answer::Columns(left),
        }
    }

    fn columns_end(&self) -> Step {
        let status = eof_status(self.head);
        if status.is_some_and(|status| status & status::CURSOR != 0) {
            return Step::result_end(status);
        }
        Step { status, ..Step::to(Some(Answer::Rows)) }
    }

    fn result(&self) -> Result<Step, ServerFault> {
        match self.head.first() {
            Some(&OK) => Ok(Step::result_end(ok_status(self.head))),
            Some(&END) if self.is_end() => Ok(Step::result_end(self.end_status())),
            Some(&LOCAL_FILE) if self.capabilities.contains(Capabilities::LOCAL_FILES) => {
                Ok(Step { file_wanted: true, ..Step::to(Some(Answer::Result)) })
            }
            Some(&LOCAL_FILE) => Err(ServerFault::LocalFile),
            _ => Ok(Step::to(Some(self.result_set()))),
        }
    }

    /// The column count. Behind it, where that was agreed on, stands whether definitions follow; the manuals of MySQL put it
    /// before the count, its programs do not.
    fn result_set(&self) -> Answer {
        let mut fields = Fields::of(self.head);
        let count = fields.integer().unwrap_or_default();
        let optional = self.capabilities.contains(Capabilities::OPTIONAL_METADATA)
            || self.capabilities.contains(Capabilities::CACHE_METADATA);
        let follow = !optional || fields.u8() != Some(0);
        self.columns(if follow { count } else { 0 })
    }

    /// Definitions of parameters and of columns, each with an EOF packet behind unless those are given up.
    fn prepared(&self) -> Option<Answer> {
        let mut fields = Fields::of(self.head);
        fields.bytes(5)?;
        let columns = fields.u16()?;
        let parameters = fields.u16()?;
        fields.bytes(3)?;
        let optional = self.capabilities.contains(Capabilities::OPTIONAL_METADATA);
        if optional && fields.u8() == Some(0) {
            return None;
        }
        let with_eof = |count: u16| u64::from(count) + u64::from(count > 0 && self.has_eof());
        let packets = with_eof(parameters) + with_eof(columns);
        (packets > 0).then_some(Answer::Definitions(packets))
    }
}

/// The place in a server's byte stream.
#[derive(Debug)]
pub(super) struct Walk {
    renumber: bool,
    header: [u8; HEADER],
    header_length: usize,
    /// Of the current packet's payload, still to come.
    left: usize,
    head: Head,
    /// The head of the current packet has been handed out, or it has none since it continues another.
    told: bool,
    continued: bool,
}

/// What [`Walk::advance`] came by.
pub(super) enum Walked {
    Nothing,
    /// The header of a packet with this number.
    Header(u8),
    /// Enough of a packet to know it by.
    Packet(Head),
}

/// The begin of a packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    bytes: [u8; STATUS_WITHIN],
    taken: usize,
    /// Of the whole packet, or of its first part.
    pub(super) length: usize,
}

impl Head {
    fn wanted(&self) -> usize {
        self.length.min(STATUS_WITHIN) - self.taken
    }

    fn push(&mut self, bytes: &[u8]) {
        let end = self.taken + bytes.len();
        if let Some(room) = self.bytes.get_mut(self.taken..end) {
            room.copy_from_slice(bytes);
            self.taken = end;
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.taken).unwrap_or_default()
    }
}

impl Walk {
    pub(super) fn new(renumber: bool) -> Self {
        Self {
            renumber,
            header: [0; HEADER],
            header_length: 0,
            left: 0,
            head: Head { bytes: [0; STATUS_WITHIN], taken: 0, length: 0 },
            told: true,
            continued: false,
        }
    }

    pub(super) fn is_between_packets(&self) -> bool {
        self.header_length == 0 && !self.continued
    }

    /// Goes on to the end of a header, of a head or of a payload; gives what it came by and the bytes behind. The packet gets
    /// `number`, if there is one.
    pub(super) fn advance<'a>(&mut self, bytes: &'a mut [u8], number: Option<u8>) -> (Walked, &'a mut [u8]) {
        if self.header_length < HEADER {
            return self.advance_header(bytes, number);
        }
        let wanted = if self.told { self.left } else { self.head.wanted() };
        let (now, later) = bytes.split_at_mut(wanted.min(bytes.len()));
        self.left -= now.len();
        if !self.told {
            self.head.push(now);
        }
        let walked = self.tell();
        self.finish();
        (walked, later)
    }

    fn advance_header<'a>(&mut self, bytes: &'a mut [u8], number: Option<u8>) -> (Walked, &'a mut [u8]) {
        let wanted = HEADER - self.header_length;
        let (now, later) = bytes.split_at_mut(wanted.min(bytes.len()));
        if now.len() == wanted
            && let (true, Some(number), Some(last)) = (self.renumber, number, now.last_mut())
        {
            *last = number;
        }
        if let Some(field) = self.header.get_mut(self.header_length..self.header_length + now.len()) {
            field.copy_from_slice(now);
        }
        self.header_length += now.len();
        if self.header_length < HEADER {
            return (Walked::Nothing, later);
        }
        let (length, number) = header(&self.header).unwrap_or_default();
        self.left = length;
        self.told = self.continued;
        if !self.continued {
            self.head = Head { bytes: [0; STATUS_WITHIN], taken: 0, length };
        }
        self.continued = length == FULL;
        // An empty packet that continues another ends here.
        if self.told {
            self.finish();
        }
        (Walked::Header(number), later)
    }

    fn tell(&mut self) -> Walked {
        if self.told || self.head.wanted() > 0 {
            return Walked::Nothing;
        }
        self.told = true;
        Walked::Packet(self.head)
    }

    fn finish(&mut self) {
        if self.told && self.left == 0 {
            self.header_length = 0;
        }
    }
}
