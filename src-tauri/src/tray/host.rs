//! Whether this desktop shows tray icons at all.

use std::time::Duration;

/// Who shows the icon.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Host {
    /// Nobody: the icon exists and is not seen.
    Absent,
    /// There is not even a session bus, so that a second start cannot reach the first either.
    NoBus,
    /// A panel, or the operating system.
    Present,
}

/// How long the bus may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Looks for the host. It answers within two seconds.
pub(crate) async fn find() -> Host {
    if cfg!(not(target_os = "linux")) {
        return Host::Present;
    }
    match tokio::time::timeout(PATIENCE, watcher_has_owner()).await {
        Ok(Ok(true)) => Host::Present,
        Ok(Ok(false)) => Host::Absent,
        Ok(Err(_)) | Err(_) => Host::NoBus,
    }
}

async fn watcher_has_owner() -> zbus::Result<bool> {
    let bus = zbus::Connection::session().await?;
    let names = zbus::fdo::DBusProxy::new(&bus).await?;
    let watcher = zbus::names::BusName::try_from("org.kde.StatusNotifierWatcher")?;
    Ok(names.name_has_owner(watcher).await?)
}
