//! What a Front costs, beside a plain forward of bytes and a direct connection in the same run.
//!
//! Servers and clients are real ones, in processes of their own; the Front, the forward and what is between them and the
//! servers share this process. Rounds of what is compared alternate, and a figure is the median of them. MB are millions of
//! bytes. Printed as `cargo xtask bench` reads it; whether a goal is met is told, never asserted.
//!
//! With `DAYPASS_SOAK_SECONDS` it runs many clients for so long instead, and measures nothing.

#[cfg(unix)]
#[path = "../tunnel/client.rs"]
#[expect(dead_code, reason = "the data channel's own clients are not needed here")]
mod client;
#[cfg(unix)]
mod clients;
#[cfg(unix)]
mod far_away;
#[cfg(unix)]
mod fronts;
#[cfg(unix)]
mod measure;
#[cfg(unix)]
#[path = "../tunnel/measured.rs"]
mod measured;
#[cfg(unix)]
#[path = "../tunnel/path.rs"]
#[expect(dead_code, reason = "only its sessions are needed here")]
mod path;
#[cfg(unix)]
mod postgres_server;
#[cfg(unix)]
mod soak;

#[cfg(unix)]
fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("threads can be started");
    runtime.block_on(async {
        match std::env::var("DAYPASS_SOAK_SECONDS") {
            Ok(seconds) => {
                let seconds = seconds.parse().expect("DAYPASS_SOAK_SECONDS is a number");
                soak::run(std::time::Duration::from_secs(seconds)).await;
            }
            Err(_) => measure::all().await,
        }
    });
}

#[cfg(not(unix))]
fn main() {}
