//! Sleep as logind announces it: `PrepareForSleep(true)` before, `PrepareForSleep(false)` after.

use futures_util::StreamExt as _;
use tokio::sync::mpsc;
use zbus::{Connection, Proxy};

use super::Change;

/// Tells of sleep and awakening until nobody listens or the bus is gone.
pub(super) async fn listen(tell: mpsc::Sender<Change>) {
    let told = match Connection::system().await {
        Ok(bus) => hear(&bus, &tell).await,
        Err(error) => Err(error),
    };
    if let Err(error) = told {
        tracing::info!(%error, "logind cannot be heard; sleep is noticed by the clock");
    }
}

async fn hear(bus: &Connection, tell: &mpsc::Sender<Change>) -> zbus::Result<()> {
    let manager =
        Proxy::new(bus, "org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager").await?;
    let mut signals = manager.receive_signal("PrepareForSleep").await?;
    tracing::debug!("listening to logind");
    while let Some(signal) = signals.next().await {
        let falls_asleep: bool = signal.body().deserialize()?;
        let change = if falls_asleep { Change::GoingToSleep } else { Change::Woke };
        if tell.send(change).await.is_err() {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use tokio::{
        io::{AsyncBufReadExt as _, BufReader},
        process::{Child, Command},
    };
    use zbus::connection;

    use super::*;

    /// A bus of its own; it ends with the child.
    async fn bus() -> (Child, String) {
        let mut daemon = Command::new("dbus-daemon");
        daemon.args(["--session", "--nofork", "--print-address"]).stdin(Stdio::null()).stderr(Stdio::null());
        let daemon = daemon.stdout(Stdio::piped()).kill_on_drop(true).spawn();
        let mut daemon = daemon.expect("dbus-daemon is installed by `cargo xtask setup`");
        let mut said = BufReader::new(daemon.stdout.take().expect("stdout is piped")).lines();
        let address = said.next_line().await.expect("it is text").expect("it prints its address");
        (daemon, address)
    }

    fn to(address: &str) -> connection::Builder<'_> {
        connection::Builder::address(address).expect("the daemon's own address")
    }

    #[tokio::test]
    async fn sleep_and_awakening_are_told_and_strangers_are_not_believed() {
        let (_daemon, address) = bus().await;
        let listener = to(&address).build().await.expect("the bus answers");
        let stranger = to(&address).build().await.expect("the bus answers");
        let logind = to(&address).name("org.freedesktop.login1").expect("a bus name");
        let logind = logind.build().await.expect("nobody else has the name");
        let (tell, mut changes) = mpsc::channel(4);
        let hearing = tokio::spawn(async move { hear(&listener, &tell).await });
        let says = async |who: &Connection, sleeps: bool| {
            let (path, interface) = ("/org/freedesktop/login1", "org.freedesktop.login1.Manager");
            who.emit_signal(None::<&str>, path, interface, "PrepareForSleep", &sleeps).await.expect("the bus takes it");
        };
        // Whether it listens yet is not to be seen from here: until it does, it hears nothing.
        let first = loop {
            says(&stranger, false).await;
            says(&logind, true).await;
            if let Ok(first) = tokio::time::timeout(std::time::Duration::from_millis(100), changes.recv()).await {
                break first;
            }
        };
        assert_eq!(first, Some(Change::GoingToSleep), "the stranger is not heard");
        says(&logind, false).await;
        assert_eq!(changes.recv().await, Some(Change::Woke));
        hearing.abort();
    }
}
