//! `cargo xtask demo`: the whole story on this computer, with nothing but real protocols over loopback.

use std::process::{Command, Stdio};

use crate::failure::{self, Failure};
use crate::setup;
use crate::stage::{Scene, Stage};
use crate::story::{self, Teller};
use crate::workspace::{Workspace, executable};

/// The colleague takes her time, so that the wait is seen.
const SCENE: Scene = Scene { sandbox: &["--colleague-approves-after", "2s"] };

/// Handles `demo [--headless] [--keep]`.
pub(crate) fn run(workspace: &Workspace, arguments: &[&str]) -> Result<(), Failure> {
    if let Some(unknown) = arguments.iter().find(|argument| !["--headless", "--keep"].contains(argument)) {
        return Err(Failure::Usage(format!("demo takes --headless and --keep, not `{unknown}`")));
    }
    if !cfg!(unix) {
        return Err(Failure::untrue(
            "Linux or macOS for the demo",
            "Windows, where the sandbox cannot start its database",
        ));
    }
    let keep = arguments.contains(&"--keep");
    let headless = arguments.contains(&"--headless") || !has_display();
    setup::ensure(workspace)?;
    println!("building (the first time takes some minutes)");
    workspace.build()?;
    if headless { in_the_terminal(workspace, keep) } else { on_the_desktop(workspace) }
}

fn has_display() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    cfg!(not(target_os = "linux")) || set("DISPLAY") || set("WAYLAND_DISPLAY")
}

fn in_the_terminal(workspace: &Workspace, keep: bool) -> Result<(), Failure> {
    println!("\nDaypass, from nobody to rows and back to nothing. Each line was done and then looked at.\n");
    let mut teller = Teller::new();
    let mut stage = raise(workspace, &mut teller)?;
    let played = story::get_in(&mut stage, &mut teller)
        .and_then(|()| if keep { Ok(()) } else { story::get_out(&mut stage, &mut teller) });
    if let Err(failure) = played {
        return Err(stage.fail(failure));
    }
    if keep {
        return stay(stage);
    }
    story::leave_nothing(stage, &mut teller)?;
    println!("\nAll of it happened, in {:.0} s.", teller.seconds());
    Ok(())
}

fn raise(workspace: &Workspace, teller: &mut Teller) -> Result<Stage, Failure> {
    let mut stage = None;
    teller.step("an AWS account in a process is up: daypass-sandbox", || {
        let raised = Stage::set(&workspace.programs(), &SCENE)?;
        let seen =
            format!("AWS at {}, an identity provider at {}", raised.address("endpoint"), raised.address("issuer"));
        stage = Some(raised);
        Ok(seen)
    })?;
    stage.ok_or_else(|| Failure::untrue("a stage", "none"))
}

/// Leaves everything running until somebody presses Ctrl-C; the broom does the rest.
fn stay(mut stage: Stage) -> Result<(), Failure> {
    println!("\nIt goes on running. In another terminal:\n\n{}", stage.by_hand());
    println!("  daypass status --watch");
    println!("  daypass connect orders-prod --for 15m --reason 'to look around' -- psql\n");
    println!("Ctrl-C ends it and leaves nothing behind.");
    stage.wait()?;
    stage.clear()
}

/// The tray application against the sandbox, until the person quits it.
fn on_the_desktop(workspace: &Workspace) -> Result<(), Failure> {
    let stage = Stage::set(&workspace.programs(), &SCENE)?;
    println!(
        "\nDaypass is in the tray of this desktop (in a window, where there is no tray). To see the whole story:\n"
    );
    println!("  1  choose Sign in at Acme (sandbox); in the browser choose Ana");
    println!("  2  choose orders-prod, ask for read-only for 2 minutes; a colleague approves after 2 seconds");
    println!("  3  choose orders-prod again: it connects, and the time left is shown");
    println!("  4  choose Copy psql command and paste it into a terminal");
    println!("  5  after two minutes the access ends by itself\n");
    println!("Quit in the menu, or Ctrl-C here, ends everything and leaves nothing behind.");
    let mut desktop = Command::new(workspace.programs().join(executable("daypass-desktop")));
    desktop
        .arg("--catalog")
        .arg(stage.folder().join("sandbox/catalog.toml"))
        .arg("--data-dir")
        .arg(stage.folder().join("data"));
    desktop.env("DAYPASS_SECRETS", "memory").stdin(Stdio::null());
    match failure::run(&mut desktop) {
        Ok(()) => stage.clear(),
        Err(failure) => Err(stage.fail(failure)),
    }
}
