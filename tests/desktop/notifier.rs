//! A notification daemon that remembers what it was asked to show, and clicks when it is told to.

use std::{collections::HashMap, convert::Infallible, time::Duration};

use tokio::sync::mpsc;
use zbus::{Connection, interface, object_server::SignalEmitter, zvariant::OwnedValue};

use crate::desk::in_time;

const PATH: &str = "/org/freedesktop/Notifications";

/// The daemon.
pub(crate) struct Notifier {
    connection: Connection,
    shown: mpsc::UnboundedReceiver<Shown>,
}

/// One notification.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    id: u32,
    pub(crate) title: String,
    pub(crate) body: String,
    /// Names and labels of the buttons, in turn.
    actions: Vec<String>,
}

struct Daemon {
    last_id: u32,
    shown: mpsc::UnboundedSender<Shown>,
}

#[interface(name = "org.freedesktop.Notifications")]
impl Daemon {
    fn get_capabilities(&self) -> Vec<String> {
        vec!["body".to_owned(), "actions".to_owned()]
    }

    fn get_server_information(&self) -> (String, String, String, String) {
        ("test".to_owned(), "test".to_owned(), "1".to_owned(), "1.2".to_owned())
    }

    #[expect(clippy::too_many_arguments, reason = "the freedesktop specification has these")]
    fn notify(
        &mut self,
        _app: &str,
        _replaces: u32,
        _icon: &str,
        title: &str,
        body: &str,
        actions: Vec<String>,
        _hints: HashMap<String, OwnedValue>,
        _timeout: i32,
    ) -> u32 {
        self.last_id += 1;
        let shown = Shown { id: self.last_id, title: title.to_owned(), body: body.to_owned(), actions };
        self.shown.send(shown).expect("the test holds the other end");
        self.last_id
    }

    fn close_notification(&self, _id: u32) {}

    #[zbus(signal)]
    async fn action_invoked(emitter: &SignalEmitter<'_>, id: u32, name: &str) -> zbus::Result<()>;
}

impl Notifier {
    pub(crate) async fn on(bus: &str) -> Self {
        let (send, shown) = mpsc::unbounded_channel();
        let builder = zbus::connection::Builder::address(bus).expect("dbus-daemon printed an address");
        let builder = builder.serve_at(PATH, Daemon { last_id: 0, shown: send }).expect("a free path");
        let builder = builder.name("org.freedesktop.Notifications").expect("a valid name");
        Self { connection: builder.build().await.expect("the bus answers"), shown }
    }

    /// Waits for a notification whose title starts so.
    pub(crate) async fn tells(&mut self, start: &str) -> Shown {
        let next = async {
            loop {
                let shown = self.shown.recv().await.expect("the daemon lives");
                if shown.title.starts_with(start) {
                    return shown;
                }
            }
        };
        in_time(start, next).await
    }

    /// Clicks a button again and again: a daemon does not know when the program begins to listen.
    pub(crate) async fn keeps_clicking(&self, shown: &Shown, label: &str) -> Infallible {
        let button = shown.actions.chunks(2).find(|pair| pair.get(1).is_some_and(|has| has == label));
        let name = button.and_then(|pair| pair.first()).unwrap_or_else(|| panic!("no button `{label}` in {shown:?}"));
        let emitter = SignalEmitter::new(&self.connection, PATH).expect("a valid path");
        let mut again = tokio::time::interval(Duration::from_millis(200));
        loop {
            again.tick().await;
            Daemon::action_invoked(&emitter, shown.id, name).await.expect("the bus answers");
        }
    }
}
