//! `daypass-sandbox`: the account as a program, and a browser without a window to sign in with.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

mod browse;
mod serve;

/// An AWS account in a process, on loopback, for Daypass's demo and tests.
#[derive(Parser)]
#[command(name = "daypass-sandbox", version)]
struct Arguments {
    #[command(subcommand)]
    order: Order,
}

#[derive(Subcommand)]
enum Order {
    Browse(browse::Browse),
    Serve(serve::Serve),
}

#[tokio::main]
async fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let outcome = match Arguments::parse().order {
        Order::Browse(browse) => browse.run().await.map_err(|error| error.to_string()),
        Order::Serve(serve) => serve.run().await.map_err(|error| error.to_string()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "this program's own words to a person")]
fn complain(error: &str) {
    eprintln!("daypass-sandbox: {error}");
}
