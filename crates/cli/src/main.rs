//! The `daypass` command: arguments become Commands for the agent, Snapshots become text or JSON.
//!
//! It decides nothing and holds no state; everything it shows, the tray and the window show too.

mod args;
mod commands;
mod failure;
mod guest;
mod terminal;
mod words;

use std::process::ExitCode;

use clap::Parser as _;

use crate::{
    args::{Arguments, Verb},
    failure::Failure,
    guest::Guest,
    terminal::Terminal,
};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let terminal = Terminal { json: arguments.global.json };
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            terminal.say(&format!("error: the system gives no threads: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(run(arguments, terminal));
    // A blocked read of the terminal must not keep the process.
    runtime.shutdown_background();
    outcome.unwrap_or_else(|failure| {
        terminal.fail(&failure.view);
        ExitCode::from(failure.exit_code())
    })
}

async fn run(arguments: Arguments, terminal: Terminal) -> Result<ExitCode, Failure> {
    let guest = Guest::new(&arguments.global);
    match arguments.command {
        Verb::Agent(options) => commands::agent::run(&arguments.global, &options, terminal).await?,
        Verb::Cancel { target } => commands::request::cancel(&guest, &target).await?,
        Verb::Connect(options) => return commands::connect::run(&guest, options, terminal).await,
        Verb::Disconnect { target } => commands::connect::disconnect(&guest, &target).await?,
        Verb::Doctor { target } => return commands::doctor::run(&guest, target, terminal).await,
        Verb::List => commands::status::list(&guest, terminal).await?,
        Verb::Quit => commands::agent::quit(&guest, terminal).await?,
        Verb::Password(options) => commands::connect::password(&guest, options, terminal).await?,
        Verb::Release { target } => commands::request::release(&guest, &target).await?,
        Verb::Request(options) => commands::request::run(&guest, options, terminal).await?,
        Verb::Review(options) => commands::review::run(&guest, options, terminal).await?,
        Verb::Sessions(options) => commands::sessions::run(&guest, options, terminal).await?,
        Verb::SignIn(options) => commands::sign_in::run(&guest, options, terminal).await?,
        Verb::SignOut => guest.command(model::Command::SignOut).await?,
        Verb::Status { watch } => commands::status::run(&guest, watch, terminal).await?,
        Verb::Url(options) => commands::connect::url(&guest, options, terminal).await?,
    }
    Ok(ExitCode::SUCCESS)
}
