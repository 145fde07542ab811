//! What can be typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use model::{AccessDuration, ConnectionForm, IdentityProviderId, RoleName, TargetId};

/// Database access that expires by itself.
#[derive(Debug, Parser)]
#[command(name = "daypass", version, arg_required_else_help = true, after_help = EXIT_CODES)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Verb,
}

const EXIT_CODES: &str = "Exit codes: 0 done; 1 failed; 2 wrong usage; 3 sign in first; 4 refused or denied; 5 not reachable or timed out.\n\
    `connect TARGET -- COMMAND` ends with COMMAND's own exit code.";

#[derive(Args, Clone, Debug)]
pub(crate) struct Global {
    /// Print data as JSON on stdout and errors as JSON on stderr
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Keep state and the local socket in this folder instead of the usual ones
    #[arg(long, global = true, env = "DAYPASS_DATA_DIR", value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Read databases and identity providers from this file
    #[arg(long, global = true, env = "DAYPASS_CATALOG", value_name = "FILE")]
    pub(crate) catalog: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Own the state in the foreground, for machines without a screen
    Agent(AgentOptions),
    /// Take back a request that nobody answered
    Cancel {
        /// Whose request
        target: TargetId,
    },
    /// Open a gateway; with a COMMAND: sign in and request if needed, run it connected, give everything back
    Connect(ConnectOptions),
    /// Close a gateway; the grant stays
    Disconnect {
        /// Whose gateway
        target: TargetId,
    },
    /// Check this computer, and the way to a database when one is named
    Doctor {
        /// Whose path is checked
        target: Option<TargetId>,
    },
    /// List the databases
    List,
    /// Print the password that clients log in with at a database's local port
    Password(PasswordOptions),
    /// End the agent; gateways close and sessions end
    Quit,
    /// Give access back before its time
    Release {
        /// Which database's
        target: TargetId,
    },
    /// Ask for access
    Request(RequestOptions),
    /// List colleagues' requests, or answer one
    Review(ReviewOptions),
    /// List SSM sessions that no database here uses, or end them
    Sessions(SessionsOptions),
    /// Sign in with the company's identity provider
    SignIn(SignInOptions),
    /// Forget every secret
    SignOut,
    /// Show what is true
    Status {
        /// Keep showing it, once a second
        #[arg(long)]
        watch: bool,
    },
    /// Print how to connect
    Url(UrlOptions),
}

#[derive(Args, Debug)]
pub(crate) struct UrlOptions {
    /// To which database
    pub(crate) target: TargetId,
    /// In which form
    #[arg(long = "as", value_enum, default_value_t = Form::Url)]
    pub(crate) form: Form,
    /// With the local password in it, where the form has a place for it
    #[arg(long)]
    pub(crate) with_password: bool,
}

#[derive(Args, Debug)]
pub(crate) struct PasswordOptions {
    /// Which database's
    pub(crate) target: TargetId,
    /// Make a new one first; the one before is good no more
    #[arg(long)]
    pub(crate) renew: bool,
}

#[derive(Args, Debug)]
pub(crate) struct AgentOptions {
    /// End when no guest is connected and nothing would be lost
    #[arg(long)]
    pub(crate) while_needed: bool,
    /// Where the sign-in is kept
    #[arg(long, env = "DAYPASS_SECRETS", value_enum, default_value_t = Keep::Keychain)]
    pub(crate) secrets: Keep,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Keep {
    /// In the operating system's keychain, in memory when there is none
    Keychain,
    /// In this process only
    Memory,
}

#[derive(Args, Debug)]
pub(crate) struct ConnectOptions {
    /// To which database
    pub(crate) target: TargetId,
    /// As which role; without it: the one in force, else the standing one
    #[arg(long, value_parser = role)]
    pub(crate) role: Option<RoleName>,
    /// For how long, if access must be requested first: 30m, 1h
    #[arg(long = "for", value_name = "DURATION")]
    pub(crate) duration: Option<AccessDuration>,
    /// Why, if access must be requested first
    #[arg(long)]
    pub(crate) reason: Option<String>,
    /// Do not open a browser; print the page to open
    #[arg(long)]
    pub(crate) no_browser: bool,
    /// At which local port; kept for this database from then on
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: Option<u16>,
    /// What to run while connected: its environment points psql or mysql to the database
    #[arg(last = true)]
    pub(crate) command: Vec<std::ffi::OsString>,
}

#[derive(Args, Debug)]
pub(crate) struct RequestOptions {
    /// To which database
    pub(crate) target: TargetId,
    /// As which role: read-only or read-write
    #[arg(long, value_parser = role, default_value = "read-only")]
    pub(crate) role: RoleName,
    /// For how long: 30m, 1h
    #[arg(long = "for", value_name = "DURATION")]
    pub(crate) duration: AccessDuration,
    /// Why
    #[arg(long)]
    pub(crate) reason: String,
    /// Where the work is tracked
    #[arg(long)]
    pub(crate) ticket: Option<String>,
    /// Connect as soon as access is granted
    #[arg(long)]
    pub(crate) connect: bool,
    /// Wait until somebody has answered
    #[arg(long)]
    pub(crate) wait: bool,
}

#[derive(Args, Debug)]
pub(crate) struct ReviewOptions {
    /// Which request; without it: list those that wait
    pub(crate) request: Option<String>,
    /// Say yes
    #[arg(long, conflicts_with = "deny", requires = "request")]
    pub(crate) approve: bool,
    /// Say no
    #[arg(long, requires = "request")]
    pub(crate) deny: bool,
    /// Words for the asker
    #[arg(long)]
    pub(crate) comment: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct SessionsOptions {
    #[command(subcommand)]
    pub(crate) verb: Option<SessionsVerb>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SessionsVerb {
    /// End one session, or all that this computer left open
    End {
        /// Which; the beginning of its id is enough
        #[arg(required_unless_present = "all", value_parser = clap::builder::NonEmptyStringValueParser::new())]
        id: Option<String>,
        /// All that this computer left open; those from elsewhere are named one by one
        #[arg(long, conflicts_with = "id")]
        all: bool,
    },
}

#[derive(Args, Debug)]
pub(crate) struct SignInOptions {
    /// Where; without it: the only identity provider of the catalog
    pub(crate) identity_provider: Option<IdentityProviderId>,
    /// Do not open a browser; print the page to open
    #[arg(long)]
    pub(crate) no_browser: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Form {
    /// A data source for DataGrip's import from the clipboard
    Datagrip,
    /// The argument of DBeaver's -con
    Dbeaver,
    /// The lines of an .env file
    Env,
    /// A URL for JDBC
    Jdbc,
    /// A shell command with mysql
    Mysql,
    /// An entry for pg_service.conf
    PgService,
    /// A file for pgAdmin's import of servers
    Pgadmin,
    /// A shell command with psql
    Psql,
    /// A URL that TablePlus opens
    Tableplus,
    /// A URL as most programs take it
    Url,
}

impl From<Form> for ConnectionForm {
    fn from(form: Form) -> Self {
        match form {
            Form::Datagrip => Self::Datagrip,
            Form::Dbeaver => Self::Dbeaver,
            Form::Env => Self::Env,
            Form::Jdbc => Self::Jdbc,
            Form::Mysql => Self::Mysql,
            Form::PgService => Self::PgService,
            Form::Pgadmin => Self::Pgadmin,
            Form::Psql => Self::Psql,
            Form::Tableplus => Self::Tableplus,
            Form::Url => Self::Url,
        }
    }
}

fn role(text: &str) -> Result<RoleName, String> {
    [RoleName::ReadOnly, RoleName::ReadWrite]
        .into_iter()
        .find(|role| role.as_str() == text)
        .ok_or_else(|| "write read-only or read-write".to_owned())
}
