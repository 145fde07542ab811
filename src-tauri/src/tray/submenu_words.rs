//! New words for a submenu on Linux.
//!
//! There muda wraps a submenu's words in a box and afterwards changes words only where there is no box. The panel follows
//! the GTK label, so the label is looked for among the menus of this program. Everything here runs on the main thread.

use gtk::prelude::*;

/// Changes the words of the submenu that says `old`. False when there is none.
pub(super) fn change(old: &str, new: &str) -> bool {
    let (old, new) = (mnemonic(old), mnemonic(new));
    let labels: Vec<gtk::Label> =
        menus().iter().flat_map(submenu_labels).filter(|label| label.label() == old).collect();
    for label in &labels {
        label.set_label(&new);
    }
    !labels.is_empty()
}

/// Each GtkMenu lives in a popup window of its own, shown or not.
fn menus() -> Vec<gtk::Menu> {
    let windows = gtk::Window::list_toplevels().into_iter().filter_map(|window| window.downcast::<gtk::Window>().ok());
    windows.filter_map(|window| window.child()?.downcast::<gtk::Menu>().ok()).collect()
}

fn submenu_labels(menu: &gtk::Menu) -> Vec<gtk::Label> {
    let items = menu.children().into_iter().filter_map(|item| item.downcast::<gtk::MenuItem>().ok());
    let submenus = items.filter(|item| item.submenu().is_some());
    let boxes = submenus.filter_map(|item| item.child()?.downcast::<gtk::Box>().ok());
    boxes.flat_map(|words| words.children()).filter_map(|child| child.downcast::<gtk::Label>().ok()).collect()
}

/// GTK underlines the letter after an underscore, and shows one for two.
fn mnemonic(text: &str) -> String {
    text.replace('_', "__")
}
