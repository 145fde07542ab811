//! What clients are greeted with.

use std::sync::{Mutex, PoisonError};

use db_proto::mysql::{AuthPlugin, Capabilities, Greeting, status};
use model::Engine;

use crate::front::FrontConfig;

/// The Target's own greeting, as it was last seen.
#[derive(Debug)]
pub(crate) struct Greetings {
    learned: Mutex<Greeting>,
    local_files: bool,
}

impl Greetings {
    /// Until the Target has been seen, clients are greeted with what every server of the engine can do.
    pub(crate) fn new(config: &FrontConfig) -> Self {
        let (version, plugin, flavour) = match config.engine {
            Engine::Mariadb => ("5.5.5-10.6.0-MariaDB", AuthPlugin::NativePassword, Capabilities::NONE),
            Engine::Mysql | Engine::Postgres => ("8.0.0", AuthPlugin::CachingSha2, Capabilities::NOT_MARIADB),
        };
        let new_format = Capabilities::FORMAT.without(Capabilities::PROTOCOL_41);
        let greeting = Greeting {
            version: version.to_owned(),
            thread_id: 0,
            challenge: Vec::new(),
            capabilities: Capabilities::PASSED_ON.without(new_format | Capabilities::NOT_MARIADB) | flavour,
            collation: 45,
            status: status::AUTOCOMMIT,
            plugin: plugin.name().to_owned(),
        };
        Self { learned: Mutex::new(greeting), local_files: config.mysql.local_files }
    }

    /// The Target greeted.
    pub(crate) fn learn(&self, greeting: Greeting) {
        *self.learned.lock().unwrap_or_else(PoisonError::into_inner) = greeting;
    }

    /// For a client whose connection has this id.
    pub(crate) fn for_client(&self, thread_id: u32) -> Greeting {
        let greeting = self.learned.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let files = if self.local_files { Capabilities::LOCAL_FILES } else { Capabilities::NONE };
        let capabilities = greeting.capabilities & (Capabilities::PASSED_ON | files);
        Greeting { thread_id, capabilities, status: status::AUTOCOMMIT, ..greeting }
    }
}
