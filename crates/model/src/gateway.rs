//! The local listener of a Target, as a view sees it.

use serde::{Deserialize, Serialize};

use crate::{ConnectionStrings, ErrorView, RoleName, WallTime};

/// Our listener on 127.0.0.1 for one Target.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "bindings", derive(specta::Type))]
#[serde(tag = "state", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Gateway {
    /// The tunnel is down and is being healed; the port stays bound.
    Broken {
        /// Which Role it serves.
        role: RoleName,
        /// Why it broke.
        cause: ErrorView,
        /// What people use to connect, unchanged.
        connection: ConnectionStrings,
    },
    /// Nothing listens.
    Closed {
        /// Why the last attempt to open it failed, until the next one.
        cause: Option<ErrorView>,
    },
    /// It accepts nobody any more; its connections and its SSM session are being ended.
    Closing,
    /// It is being opened, step by step.
    Opening {
        /// Which Role it will serve.
        role: RoleName,
        /// What is under way.
        step: OpeningStep,
        /// What is done, and how long each step took.
        done: Vec<StepTime>,
    },
    /// Clients can connect.
    Open {
        /// Which Role it serves.
        role: RoleName,
        /// Since when.
        opened_at: WallTime,
        /// Open client connections.
        connections: u32,
        /// The steps that led here.
        done: Vec<StepTime>,
        /// What people use to connect.
        connection: ConnectionStrings,
    },
}

/// One step of opening a Gateway, in the order they happen.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[cfg_attr(feature = "bindings", derive(specta::Type))]
#[serde(rename_all = "kebab-case")]
pub enum OpeningStep {
    /// The local port is taken.
    BindPort,
    /// The caller's account is the Target's.
    CheckAccount,
    /// A Session Manager session carries bytes.
    OpenTunnel,
    /// A login through all of it succeeded.
    ProveLogin,
}

/// A finished step.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "bindings", derive(specta::Type))]
pub struct StepTime {
    /// Which.
    pub step: OpeningStep,
    /// How long it took, in milliseconds.
    pub milliseconds: u32,
}
