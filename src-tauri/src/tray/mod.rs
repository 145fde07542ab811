//! The tray icon and its menu, rendered from the plain value in [`menu`].

pub(crate) mod host;
pub(crate) mod menu;
#[cfg(test)]
mod menu_tests;
#[cfg(target_os = "linux")]
mod submenu_words;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use model::Snapshot;
use tauri::{
    AppHandle, Manager as _, Wry,
    image::Image,
    include_image,
    menu::{IsMenuItem, MenuItem, PredefinedMenuItem, Submenu},
    tray::{TrayIcon, TrayIconBuilder},
};

use crate::{
    action::{self, Action},
    countdown,
};
use menu::{Entry, Look, Menu};

/// The icon and what it shows.
struct Tray {
    icon: TrayIcon<Wry>,
    shown: Menu,
    /// The menu's lines that have words, in the order of [`labels`].
    lines: Vec<Line>,
}

enum Line {
    Item(MenuItem<Wry>),
    Submenu(Submenu<Wry>),
}

/// Puts the icon into the tray. False when this desktop has none; the person gets the window instead.
pub(crate) fn show(app: &AppHandle, snapshot: &Snapshot) -> bool {
    let menu = menu::menu(snapshot, countdown::now());
    // The library that draws the icon is loaded at run time and panics when it is missing.
    match catch_unwind(AssertUnwindSafe(|| build(app, menu))) {
        Ok(Ok(tray)) => {
            app.manage(Mutex::new(tray));
            true
        }
        Ok(Err(error)) => {
            tracing::warn!(%error, "there is no tray icon");
            false
        }
        Err(_panic) => {
            tracing::warn!("there is no tray icon: libayatana-appindicator3 is not installed");
            false
        }
    }
}

/// Brings icon and menu up to date; an open menu stays open as long as only words change. Returns when to call again.
pub(crate) fn render(app: &AppHandle, snapshot: &Snapshot) -> Option<Duration> {
    let menu = menu::menu(snapshot, countdown::now());
    let changes_in = menu.changes_in;
    let on_main = app.clone();
    let posted = app.run_on_main_thread(move || {
        let Some(tray) = on_main.try_state::<Mutex<Tray>>() else { return };
        let mut tray = tray.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = tray.update(&on_main, menu) {
            tracing::warn!(%error, "the tray was not updated");
        }
    });
    if let Err(error) = posted {
        tracing::warn!(%error, "the tray was not updated");
    }
    changes_in
}

impl Tray {
    fn update(&mut self, app: &AppHandle, menu: Menu) -> tauri::Result<()> {
        if !menu.has_shape_of(&self.shown) || !self.reword(&menu)? {
            let (native, lines) = native_menu(app, &menu)?;
            self.icon.set_menu(Some(native))?;
            self.lines = lines;
        }
        if menu.look != self.shown.look {
            self.icon.set_icon(Some(image(menu.look)))?;
        }
        if menu.headline != self.shown.headline {
            set_headline(&self.icon, &menu)?;
        }
        self.shown = menu;
        Ok(())
    }

    /// Changes words in place. False when some could not be changed.
    fn reword(&self, menu: &Menu) -> tauri::Result<bool> {
        let (old, new) = (labels(&self.shown.entries), labels(&menu.entries));
        let mut all = true;
        for (line, (old, new)) in self.lines.iter().zip(old.into_iter().zip(new)) {
            if old != new {
                all &= line.reword(old, new)?;
            }
        }
        Ok(all)
    }
}

impl Line {
    fn reword(&self, old: &str, new: &str) -> tauri::Result<bool> {
        match self {
            Self::Item(item) => item.set_text(literal(new)).map(|()| true),
            Self::Submenu(submenu) => submenu.set_text(literal(new)).map(|()| shows_reworded(old, new)),
        }
    }
}

#[cfg(target_os = "linux")]
fn shows_reworded(old: &str, new: &str) -> bool {
    submenu_words::change(old, new)
}

#[cfg(not(target_os = "linux"))]
fn shows_reworded(_old: &str, _new: &str) -> bool {
    true
}

fn build(app: &AppHandle, menu: Menu) -> tauri::Result<Tray> {
    let (native, lines) = native_menu(app, &menu)?;
    let icon = TrayIconBuilder::with_id("daypass")
        .icon(image(menu.look))
        .menu(&native)
        .show_menu_on_left_click(true)
        .on_menu_event(|app, event| clicked(app, event.id().as_ref()))
        .build(app)?;
    set_headline(&icon, &menu)?;
    Ok(Tray { icon, shown: menu, lines })
}

fn set_headline(icon: &TrayIcon<Wry>, menu: &Menu) -> tauri::Result<()> {
    let headline = menu.headline.as_deref();
    icon.set_tooltip(Some(headline.unwrap_or("Daypass")))?;
    if cfg!(target_os = "macos") { icon.set_title(headline) } else { Ok(()) }
}

/// The click is looked up in the menu that is shown now: one on a line that is gone does nothing.
fn clicked(app: &AppHandle, name: &str) {
    let Some(tray) = app.try_state::<Mutex<Tray>>() else { return };
    let entries = tray.lock().unwrap_or_else(PoisonError::into_inner).shown.entries.clone();
    let mut actions = Vec::new();
    collect_actions(&entries, &mut actions);
    if let Some(action) = actions.into_iter().find(|action| id(action) == name).cloned() {
        tauri::async_runtime::spawn(action::carry_out(app.clone(), action));
    }
}

fn collect_actions<'a>(entries: &'a [Entry], into: &mut Vec<&'a Action>) {
    for entry in entries {
        match entry {
            Entry::Item { action, .. } => into.extend(action),
            Entry::Separator => {}
            Entry::Submenu { entries, .. } => collect_actions(entries, into),
        }
    }
}

/// Names a line by what it does, so that a click cannot reach what has moved to its place.
fn id(action: &Action) -> String {
    format!("{action:?}")
}

fn labels(entries: &[Entry]) -> Vec<&str> {
    entries.iter().flat_map(labels_of).collect()
}

fn labels_of(entry: &Entry) -> Vec<&str> {
    match entry {
        Entry::Item { label, .. } => vec![label.as_str()],
        Entry::Separator => vec![],
        Entry::Submenu { label, entries } => std::iter::once(label.as_str()).chain(labels(entries)).collect(),
    }
}

fn native_menu(app: &AppHandle, menu: &Menu) -> tauri::Result<(tauri::menu::Menu<Wry>, Vec<Line>)> {
    let mut lines = Vec::new();
    let native = tauri::menu::Menu::new(app)?;
    for entry in &menu.entries {
        native.append(&*native_entry(app, entry, &mut lines)?)?;
    }
    Ok((native, lines))
}

fn native_entry(app: &AppHandle, entry: &Entry, lines: &mut Vec<Line>) -> tauri::Result<Box<dyn IsMenuItem<Wry>>> {
    Ok(match entry {
        Entry::Item { label, action } => {
            let id = action.as_ref().map(id).unwrap_or_else(|| format!("words {}", lines.len()));
            let item = MenuItem::with_id(app, id, literal(label), action.is_some(), None::<&str>)?;
            lines.push(Line::Item(item.clone()));
            Box::new(item)
        }
        Entry::Separator => Box::new(PredefinedMenuItem::separator(app)?),
        Entry::Submenu { label, entries } => {
            let submenu = Submenu::new(app, literal(label), true)?;
            lines.push(Line::Submenu(submenu.clone()));
            for entry in entries {
                submenu.append(&*native_entry(app, entry, lines)?)?;
            }
            Box::new(submenu)
        }
    })
}

/// An ampersand would underline the next letter.
fn literal(text: &str) -> String {
    text.replace('&', "&&")
}

fn image(look: Look) -> Image<'static> {
    match look {
        Look::Attention => include_image!("icons/tray/attention.png"),
        Look::Connected => include_image!("icons/tray/connected.png"),
        Look::Idle => include_image!("icons/tray/idle.png"),
        Look::SignedOut => include_image!("icons/tray/signed-out.png"),
    }
}
