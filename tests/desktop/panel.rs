//! A panel without pixels: the StatusNotifier host that tray icons register with, and the menu as the panel reads it.

use futures_util::StreamExt as _;
use tokio::sync::watch;
use zbus::{
    Connection, Proxy, interface,
    message::Header,
    zvariant::{Structure, Value},
};

use crate::desk::in_time;

/// The host.
pub(crate) struct Panel {
    connection: Connection,
    registered: watch::Receiver<Option<(String, String)>>,
}

struct Watcher {
    registered: watch::Sender<Option<(String, String)>>,
}

#[interface(name = "org.kde.StatusNotifierWatcher")]
impl Watcher {
    fn register_status_notifier_item(&self, service: &str, #[zbus(header)] header: Header<'_>) {
        let owner = header.sender().map(ToString::to_string).unwrap_or_default();
        self.registered.send_replace(Some((owner, service.to_owned())));
    }

    #[zbus(property)]
    fn is_status_notifier_host_registered(&self) -> bool {
        true
    }

    #[zbus(property)]
    fn protocol_version(&self) -> i32 {
        0
    }
}

/// One line of a menu.
#[derive(Clone, Debug, Default)]
pub(crate) struct Line {
    id: i32,
    pub(crate) label: String,
    pub(crate) enabled: bool,
    pub(crate) lines: Vec<Line>,
}

impl Panel {
    pub(crate) async fn on(bus: &str) -> Self {
        let (send, registered) = watch::channel(None);
        let builder = zbus::connection::Builder::address(bus).expect("dbus-daemon printed an address");
        let builder = builder.serve_at("/StatusNotifierWatcher", Watcher { registered: send }).expect("a free path");
        let builder = builder.name("org.kde.StatusNotifierWatcher").expect("a valid name");
        let connection = builder.build().await.expect("the bus answers");
        Self { connection, registered }
    }

    /// The menu of the icon that registers.
    pub(crate) async fn menu(&self) -> Menu<'static> {
        let mut registered = self.registered.clone();
        let item =
            in_time("an icon in the tray", registered.wait_for(Option::is_some)).await.expect("the host lives").clone();
        let (owner, path) = item.expect("just awaited");
        Menu::at(&self.connection, &owner, &format!("{path}/Menu")).await
    }
}

/// A menu, read and clicked over the bus.
pub(crate) struct Menu<'a> {
    proxy: Proxy<'a>,
}

impl Menu<'static> {
    pub(crate) async fn at(connection: &Connection, owner: &str, path: &str) -> Self {
        let proxy = Proxy::new(connection, owner.to_owned(), path.to_owned(), "com.canonical.dbusmenu").await;
        Self { proxy: proxy.expect("names and paths are valid") }
    }
}

impl Menu<'_> {
    /// Waits until the menu says so, and returns what was looked for.
    pub(crate) async fn shows<T>(&self, what: &str, look: impl Fn(&Line) -> Option<T>) -> T {
        let mut latest = Line::default();
        let found = tokio::time::timeout(crate::desk::PATIENCE, async {
            let mut changes = self.proxy.receive_all_signals().await.expect("the bus answers");
            loop {
                latest = self.read().await;
                if let Some(found) = look(&latest) {
                    return found;
                }
                changes.next().await.expect("the icon stays");
            }
        });
        match found.await {
            Ok(found) => found,
            Err(_) => panic!("the menu never showed {what}; last: {latest:#?}"),
        }
    }

    /// Waits for a line that starts so, anywhere in the menu.
    pub(crate) async fn line(&self, start: &str) -> Line {
        self.shows(start, |menu| menu.find(start).cloned()).await
    }

    /// Clicks the line that starts so, as soon as it can be clicked.
    pub(crate) async fn click(&self, start: &str) {
        let line = self.shows(start, |menu| menu.find(start).filter(|line| line.enabled).cloned()).await;
        self.click_on(&line).await;
    }

    pub(crate) async fn click_on(&self, line: &Line) {
        let event = (line.id, "clicked", Value::from(""), 0_u32);
        self.proxy.call_method("Event", &event).await.expect("the menu takes clicks");
    }

    async fn read(&self) -> Line {
        let arguments = (0_i32, -1_i32, Vec::<&str>::new());
        let answer = self.proxy.call_method("GetLayout", &arguments).await.expect("the menu can be read");
        let body = answer.body();
        let layout: Structure<'_> = body.deserialize().expect("a revision and a layout");
        line(layout.fields().get(1).expect("the layout follows the revision"))
    }
}

impl Line {
    /// The line that starts so, at any depth.
    pub(crate) fn find(&self, start: &str) -> Option<&Self> {
        self.lines.iter().find_map(|line| if line.label.starts_with(start) { Some(line) } else { line.find(start) })
    }

    /// Whether two readings are of one and the same line.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

fn line(value: &Value<'_>) -> Line {
    let Value::Structure(structure) = plain(value) else { panic!("a line is a structure: {value:?}") };
    let [Value::I32(id), Value::Dict(properties), Value::Array(lines)] = structure.fields() else {
        panic!("a line has an id, properties and lines: {structure:?}")
    };
    let mut read = Line { id: *id, label: String::new(), enabled: true, lines: lines.iter().map(line).collect() };
    for (name, value) in properties.iter() {
        match (plain(name), plain(value)) {
            (Value::Str(name), Value::Str(label)) if name == "label" => read.label = label.replace("__", "_"),
            (Value::Str(name), Value::Bool(enabled)) if name == "enabled" => read.enabled = *enabled,
            _ => {}
        }
    }
    read
}

fn plain<'a>(value: &'a Value<'a>) -> &'a Value<'a> {
    if let Value::Value(inner) = value { plain(inner) } else { value }
}
