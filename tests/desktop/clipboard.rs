//! The X11 clipboard, read as any other program reads it.

use tokio::sync::oneshot;
use x11rb::{
    connection::Connection as _,
    protocol::{
        Event,
        xfixes::{ConnectionExt as _, SelectionEventMask},
        xproto::{AtomEnum, ConnectionExt as _, CreateWindowAux, Window, WindowClass},
    },
    rust_connection::RustConnection,
};

use crate::desk::in_time;

/// What is copied next.
pub(crate) struct Copied(oneshot::Receiver<String>);

impl Copied {
    /// Begins to look, before something is copied.
    pub(crate) fn next_on(display: &str) -> Self {
        let (connection, screen) = RustConnection::connect(Some(display)).expect("the screen is on");
        let window = window(&connection, screen);
        let clipboard = atom(&connection, b"CLIPBOARD");
        connection.xfixes_query_version(5, 0).expect("sent").reply().expect("Xvfb has XFIXES");
        let change = SelectionEventMask::SET_SELECTION_OWNER;
        connection.xfixes_select_selection_input(window, clipboard, change).expect("sent").check().expect("allowed");
        let (send, copied) = oneshot::channel();
        std::thread::spawn(move || send.send(read(&connection, window, clipboard)));
        Self(copied)
    }

    pub(crate) async fn text(self) -> String {
        in_time("something on the clipboard", self.0).await.expect("the reader lives")
    }
}

fn read(connection: &RustConnection, window: Window, clipboard: u32) -> String {
    let (utf8, property) = (atom(connection, b"UTF8_STRING"), atom(connection, b"DAYPASS_TEST"));
    loop {
        let event = connection.wait_for_event().expect("the screen is on");
        if let Event::XfixesSelectionNotify(owned) = event {
            connection.convert_selection(window, clipboard, utf8, property, owned.timestamp).expect("sent");
            connection.flush().expect("sent");
        } else if let Event::SelectionNotify(answer) = event {
            assert_eq!(answer.property, property, "the owner must hand out text");
            let value = connection.get_property(true, window, property, AtomEnum::ANY, 0, u32::MAX).expect("sent");
            return String::from_utf8(value.reply().expect("the window is ours").value).expect("UTF-8 was asked for");
        }
    }
}

fn window(connection: &RustConnection, screen: usize) -> Window {
    let root = connection.setup().roots.get(screen).expect("the screen was named by the display");
    let window = connection.generate_id().expect("ids are left");
    let class = WindowClass::INPUT_ONLY;
    let made = connection.create_window(0, window, root.root, 0, 0, 1, 1, 0, class, 0, &CreateWindowAux::new());
    made.expect("sent").check().expect("allowed");
    window
}

fn atom(connection: &RustConnection, name: &[u8]) -> u32 {
    connection.intern_atom(false, name).expect("sent").reply().expect("answered").atom
}
