//! What each side says that it understands.

use std::fmt;
use std::ops::{BitAnd, BitOr};

/// A set of capability flags: the 32 of MySQL below, MariaDB's extended ones above them.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Capabilities(u64);

impl Capabilities {
    /// None.
    pub const NONE: Self = Self(0);
    /// `CLIENT_LONG_PASSWORD`, which MariaDB calls `CLIENT_MYSQL`: a side that leaves it out has MariaDB's extended flags.
    pub const NOT_MARIADB: Self = Self(1);
    /// `CLIENT_CONNECT_WITH_DB`: the login names a database.
    pub const CONNECT_WITH_DB: Self = Self(1 << 3);
    /// `CLIENT_COMPRESS`: zlib after the login.
    pub const COMPRESS: Self = Self(1 << 5);
    /// `CLIENT_LOCAL_FILES`: the server may ask for a file of the client's machine.
    pub const LOCAL_FILES: Self = Self(1 << 7);
    /// `CLIENT_PROTOCOL_41`: everything since MySQL 4.1.
    pub const PROTOCOL_41: Self = Self(1 << 9);
    /// `CLIENT_SSL`: TLS before the login.
    pub const SSL: Self = Self(1 << 11);
    /// `CLIENT_SECURE_CONNECTION`: the proof is counted bytes, not a C string.
    pub const SECURE_CONNECTION: Self = Self(1 << 15);
    /// `CLIENT_PLUGIN_AUTH`: authentication plug-ins are named.
    pub const PLUGIN_AUTH: Self = Self(1 << 19);
    /// `CLIENT_CONNECT_ATTRS`: names and values that show in `performance_schema.session_connect_attrs`.
    pub const CONNECT_ATTRS: Self = Self(1 << 20);
    /// `CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA`: a proof may be longer than 255 bytes.
    pub const LONG_PROOF: Self = Self(1 << 21);
    /// `CLIENT_SESSION_TRACK`: OK packets carry changes of the session.
    pub const SESSION_TRACK: Self = Self(1 << 23);
    /// `CLIENT_DEPRECATE_EOF`: OK packets stand where EOF packets stood.
    pub const DEPRECATE_EOF: Self = Self(1 << 24);
    /// `CLIENT_OPTIONAL_RESULTSET_METADATA` of MySQL: column definitions may be left out.
    pub const OPTIONAL_METADATA: Self = Self(1 << 25);
    /// `CLIENT_ZSTD_COMPRESSION_ALGORITHM` of MySQL: zstd after the login.
    pub const ZSTD: Self = Self(1 << 26);
    /// `CLIENT_QUERY_ATTRIBUTES` of MySQL: statements carry attributes before their text.
    pub const QUERY_ATTRIBUTES: Self = Self(1 << 27);
    /// `MARIADB_CLIENT_PROGRESS`: ERR packets with code 65,535 tell how far a statement is.
    pub const PROGRESS: Self = Self(1 << 32);
    /// `MARIADB_CLIENT_CACHE_METADATA`: column definitions may be left out.
    pub const CACHE_METADATA: Self = Self(1 << 36);

    /// What may be offered to a client although another program answers it: everything whose packets are understood here.
    /// Left out are compression, TLS (each side has its own), LOCAL INFILE (asked for apart), logins with several factors
    /// (bit 28), flags of the client program itself (bits 29 to 31) and MariaDB's COM_MULTI (bit 33).
    pub const PASSED_ON: Self = Self(
        0x0FFF_FFFF & !(Self::COMPRESS.0 | Self::ZSTD.0 | Self::SSL.0 | Self::LOCAL_FILES.0)
            | Self::PROGRESS.0
            | 1 << 34
            | 1 << 35
            | Self::CACHE_METADATA.0
            | 1 << 37,
    );

    /// Flags that change what packets look like after the login: both ends have to agree on them.
    pub const FORMAT: Self = Self(
        Self::PROTOCOL_41.0
            | Self::SESSION_TRACK.0
            | Self::DEPRECATE_EOF.0
            | Self::OPTIONAL_METADATA.0
            | Self::QUERY_ATTRIBUTES.0
            | 0xFFFF_FFFF_0000_0000,
    );

    /// From the fields of a packet: the lower 32 flags and MariaDB's, which only count without
    /// [`Capabilities::NOT_MARIADB`].
    pub fn from_fields(lower: u32, mariadb: u32) -> Self {
        let all = Self(u64::from(lower) | u64::from(mariadb) << 32);
        if all.contains(Self::NOT_MARIADB) { Self(u64::from(lower)) } else { all }
    }

    /// The lower 32 flags.
    pub fn lower(self) -> u32 {
        u32::try_from(self.0 & 0xFFFF_FFFF).expect("masked to 32 bits")
    }

    /// MariaDB's extended flags.
    pub fn mariadb(self) -> u32 {
        u32::try_from(self.0 >> 32).expect("shifted to 32 bits")
    }

    /// Whether all of `others` are set.
    pub fn contains(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    /// Without `others`.
    #[must_use]
    pub fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }
}

impl BitAnd for Capabilities {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl BitOr for Capabilities {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Debug for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Capabilities({:#x})", self.0)
    }
}
