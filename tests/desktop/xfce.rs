//! Xfce's panel: a StatusNotifier host that people use, with the pixels that they see.

use std::{process::Stdio, time::Duration};

use futures_util::StreamExt as _;
use tokio::process::Child;
use x11rb::{
    connection::Connection as _,
    protocol::xproto::{ConnectionExt as _, ImageFormat, Window},
    rust_connection::RustConnection,
};
use zbus::{
    Connection, Proxy,
    fdo::DBusProxy,
    names::BusName,
    proxy::CacheProperties,
    zvariant::{OwnedObjectPath, OwnedValue},
};

use crate::{
    desk::{Desk, PATIENCE, in_time},
    panel::Menu,
};

const WATCHER: &str = "org.kde.StatusNotifierWatcher";
/// The panel is a strip at the upper edge with nothing but a tray, which is at its right end.
const SETTINGS: &str = include_str!("xfce4-panel.xml");
/// Width of the screen and height of the strip without its border, in pixels.
const STRIP: (u16, u16) = (1280, 32);
/// The side of an icon, in pixels; the settings say so.
const ICON: usize = 22;
/// How often the screen is looked at: it does not say what is drawn on it.
const EVERY: Duration = Duration::from_millis(50);

/// The panel, on the desk's screen and bus.
pub(crate) struct XfcePanel {
    connection: Connection,
    watcher: Proxy<'static>,
    screen: RustConnection,
    root: Window,
    _program: Child,
}

/// What the strip looks like: a colour for each pixel, row by row.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Picture(Vec<[u8; 3]>);

impl XfcePanel {
    /// Starts it and waits until icons can register.
    pub(crate) async fn on(desk: &Desk) -> Self {
        desk.write_setting("xfce4/xfconf/xfce-perchannel-xml/xfce4-panel.xml", SETTINGS);
        let builder = zbus::connection::Builder::address(desk.bus.as_str()).expect("dbus-daemon printed an address");
        let connection = builder.build().await.expect("the bus answers");
        let mut program = desk.command("xfce4-panel");
        program.arg("--disable-wm-check").stdout(Stdio::null()).stderr(Stdio::null());
        let program = program.spawn().expect("xfce4-panel is installed: run `cargo xtask setup`");
        in_time("the panel's tray", appears(&connection, WATCHER)).await;

        let watcher = proxy(&connection, WATCHER, "/StatusNotifierWatcher", WATCHER).await;
        let (screen, number) = RustConnection::connect(Some(&desk.display)).expect("the screen is on");
        let root = screen.setup().roots.get(number).expect("the screen was named by the display").root;
        let panel = Self { connection, watcher, screen, root, _program: program };
        panel.when("IsStatusNotifierHostRegistered", |registered: bool| registered.then_some(())).await;
        panel
    }

    /// The menu of the icon that registers, as the icon itself names it.
    pub(crate) async fn menu(&self) -> Menu<'static> {
        let item = self.when("RegisteredStatusNotifierItems", |items: Vec<String>| items.into_iter().next()).await;
        let (owner, path) = item.split_at(item.find('/').expect("an item is its owner and a path"));
        let icon = proxy(&self.connection, owner, path, "org.kde.StatusNotifierItem").await;
        let menu: OwnedObjectPath = icon.get_property("Menu").await.expect("an icon has a menu");
        Menu::at(&self.connection, owner, menu.as_str()).await
    }

    /// Waits until the panel is drawn and no icon is in it.
    pub(crate) async fn shows_nothing(&self) {
        self.looks("empty", Picture::is_empty).await;
    }

    /// Waits until exactly one icon is drawn, and it is another than this.
    pub(crate) async fn shows_an_icon_unlike(&self, other: Option<&Picture>) -> Picture {
        self.looks("one icon", |picture| picture.has_one_icon() && Some(picture) != other).await
    }

    /// Waits until the watcher's property is as wanted; it is read again whenever the watcher tells of a change.
    async fn when<T, V>(&self, property: &str, wanted: impl Fn(V) -> Option<T>) -> T
    where
        V: TryFrom<OwnedValue>,
        V::Error: Into<zbus::Error>,
    {
        let mut changes = self.watcher.receive_all_signals().await.expect("the bus answers");
        let wait = async {
            loop {
                let value = self.watcher.get_property(property).await.expect("the watcher answers");
                if let Some(found) = wanted(value) {
                    return found;
                }
                changes.next().await.expect("the panel lives");
            }
        };
        in_time(property, wait).await
    }

    async fn looks(&self, how: &str, wanted: impl Fn(&Picture) -> bool) -> Picture {
        let mut picture = self.picture();
        let wait = tokio::time::timeout(PATIENCE, async {
            let mut look = tokio::time::interval(EVERY);
            while !wanted(&picture) {
                look.tick().await;
                picture = self.picture();
            }
        });
        if wait.await.is_err() {
            panic!("the panel must look {how}; its inked columns are {:?}", picture.inked_columns());
        }
        picture
    }

    fn picture(&self) -> Picture {
        let (width, height) = STRIP;
        let image = self.screen.get_image(ImageFormat::Z_PIXMAP, self.root, 0, 0, width, height, u32::MAX);
        let image = image.expect("sent").reply().expect("the screen is on");
        Picture(image.data.as_chunks().0.iter().map(|[blue, green, red, _]: &[u8; 4]| [*red, *green, *blue]).collect())
    }
}

impl Picture {
    /// One colour, and not the black of a screen without a panel.
    fn is_empty(&self) -> bool {
        self.background() != [0; 3] && self.inked_columns().is_empty()
    }

    fn has_one_icon(&self) -> bool {
        let columns = self.inked_columns();
        let (Some(first), Some(last)) = (columns.first(), columns.last()) else { return false };
        let width = last - first + 1;
        self.background() != [0; 3] && (ICON / 2..=ICON).contains(&width) && *first > usize::from(STRIP.0) - 2 * ICON
    }

    /// The columns in which something is drawn, from left to right.
    fn inked_columns(&self) -> Vec<usize> {
        let background = self.background();
        let inked = |column: &usize| {
            self.0.iter().skip(*column).step_by(usize::from(STRIP.0)).any(|colour| *colour != background)
        };
        (0..usize::from(STRIP.0)).filter(inked).collect()
    }

    /// The colour at the left end, where the panel has nothing.
    fn background(&self) -> [u8; 3] {
        self.0.first().copied().unwrap_or_default()
    }
}

/// Waits until the name has an owner.
async fn appears(connection: &Connection, name: &'static str) {
    let names = DBusProxy::new(connection).await.expect("the bus answers");
    let mut changes = names.receive_name_owner_changed_with_args(&[(0, name)]).await.expect("the bus answers");
    let bus_name = BusName::try_from(name).expect("a valid name");
    while !names.name_has_owner(bus_name.clone()).await.expect("the bus answers") {
        changes.next().await.expect("the bus lives");
    }
}

/// Properties are asked for each time: what is kept may be older than the signal that told of a change.
async fn proxy(connection: &Connection, owner: &str, path: &str, interface: &'static str) -> Proxy<'static> {
    let builder = zbus::proxy::Builder::<Proxy<'static>>::new(connection);
    let builder = builder.destination(owner.to_owned()).expect("a valid name");
    let builder = builder.path(path.to_owned()).expect("a valid path").interface(interface).expect("a valid name");
    builder.cache_properties(CacheProperties::No).build().await.expect("the bus answers")
}
