//! The built `daypass-desktop` on a screen, a session bus and a panel of its own, against the sandbox.

mod clipboard;
mod desk;
mod notifier;
mod panel;
mod start;
mod tray;
mod window;
mod xfce;
