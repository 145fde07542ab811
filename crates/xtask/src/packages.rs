//! The system packages that building, testing and packaging need, by the name each system has for them.

/// What a package is for; the reason is printed with it.
pub(crate) struct Need {
    /// Why it is needed.
    pub(crate) reason: &'static str,
    /// Debian's and Ubuntu's names.
    pub(crate) apt: &'static [&'static str],
    /// Homebrew's names; empty when macOS has it.
    pub(crate) brew: &'static [&'static str],
    /// winget's ids; empty when Windows has it.
    pub(crate) winget: &'static [&'static str],
}

/// Everything, in the order a person would care.
pub(crate) const NEEDS: &[Need] = &[
    Need {
        reason: "compile C parts of libraries",
        apt: &["build-essential", "pkg-config"],
        brew: &[],
        winget: &["Microsoft.VisualStudio.2022.BuildTools"],
    },
    Need {
        reason: "build the tray and the window",
        apt: &[
            "libwebkit2gtk-4.1-dev",
            "libgtk-3-dev",
            "libsoup-3.0-dev",
            "libayatana-appindicator3-dev",
            "librsvg2-dev",
        ],
        brew: &[],
        winget: &["Microsoft.EdgeWebView2Runtime"],
    },
    Need {
        reason: "the sandbox's real database and psql",
        apt: &["postgresql", "postgresql-client"],
        brew: &["postgresql@17"],
        winget: &["PostgreSQL.PostgreSQL.17"],
    },
    Need {
        reason: "the sandbox's other real database and its client",
        apt: &["mariadb-server-core", "mariadb-client-core"],
        brew: &["mariadb"],
        winget: &["MariaDB.Server"],
    },
    Need {
        reason: "drive the tray and the window in tests, without a screen",
        apt: &["xvfb", "x11-utils", "dbus", "webkit2gtk-driver", "xclip", "at-spi2-core", "procps"],
        brew: &[],
        winget: &[],
    },
    Need { reason: "change a computer's addresses in tests", apt: &["iproute2"], brew: &[], winget: &[] },
    Need { reason: "a real panel that shows the tray icon in tests", apt: &["xfce4-panel"], brew: &[], winget: &[] },
    Need { reason: "the settings of that panel", apt: &["xfconf"], brew: &[], winget: &[] },
    Need {
        reason: "what xfconf takes for a session bus; without it apt installs systemd for that",
        apt: &["dbus-x11"],
        brew: &[],
        winget: &[],
    },
    Need {
        reason: "the SSM agent's own multiplexer as a counterpart in tests",
        apt: &["golang-go", "golang-github-xtaci-smux-dev"],
        brew: &[],
        winget: &[],
    },
    Need { reason: "a real HTTP proxy in tests", apt: &["tinyproxy-bin"], brew: &[], winget: &[] },
    Need { reason: "a real keychain in tests", apt: &["gnome-keyring", "libsecret-tools"], brew: &[], winget: &[] },
    Need {
        reason: "letters and icons on a machine without a desktop",
        apt: &["fonts-dejavu-core", "adwaita-icon-theme", "hicolor-icon-theme"],
        brew: &[],
        winget: &[],
    },
    Need {
        reason: "build .deb and .rpm packages",
        apt: &["file", "rpm", "desktop-file-utils", "xdg-utils"],
        brew: &[],
        winget: &[],
    },
];

/// What the programs of tests/clients and the load tests of the gateway need besides.
pub(crate) const CLIENTS: &[Need] = &[
    Need { reason: "mariadb-slap", apt: &["mariadb-client"], brew: &[], winget: &[] },
    Need { reason: "load on MySQL and PostgreSQL", apt: &["sysbench"], brew: &["sysbench"], winget: &[] },
    Need {
        reason: "clients in Java",
        apt: &["default-jdk-headless", "libpostgresql-jdbc-java", "libmariadb-java"],
        brew: &["openjdk@17"],
        winget: &["Microsoft.OpenJDK.17"],
    },
    Need {
        reason: "clients in Python",
        apt: &["python3-venv"],
        brew: &["python@3.11"],
        winget: &["Python.Python.3.11"],
    },
];

/// All Debian names, once each.
pub(crate) fn apt_names(needs: &[Need]) -> Vec<&'static str> {
    needs.iter().flat_map(|need| need.apt.iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_package_is_listed_twice() {
        let mut names = [apt_names(NEEDS), apt_names(CLIENTS)].concat();
        names.sort_unstable();
        let listed = names.len();
        names.dedup();
        assert_eq!(names.len(), listed, "a package belongs to the first need that has it");
    }
}
