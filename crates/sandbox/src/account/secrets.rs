//! The secrets that hold the passwords of database users, in each form that RDS and its rotation functions write.

use crate::mariadb::MysqlPlugin;
use crate::postgres::StoredAs;

/// A secret to be made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SecretPlan {
    pub(crate) name: &'static str,
    /// DBInstanceIdentifier or DBClusterIdentifier.
    pub(crate) database: &'static str,
    pub(crate) user: &'static str,
    pub(crate) form: Form,
    pub(crate) login: PasswordLogin,
}

/// Which fields the JSON has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Form {
    /// Everything, and the secret of the master user who makes the other user of the pair.
    AlternatingUsers { master: &'static str },
    /// As older rotation functions wrote it: the port is text, the cluster is named.
    Cluster,
    /// Everything; the user changes the password of its own.
    Instance,
    /// By RDS itself: user and password, nothing else.
    Managed,
}

/// How the server asks for the password.
#[derive(Clone, Copy, Debug)]
pub(crate) enum PasswordLogin {
    Mysql(MysqlPlugin),
    Postgres(StoredAs),
}

const ORDERS_MASTER: &str = "rds!db-3b1c5e7a-9d2f-4a6b-8c0d-1e2f3a4b5c6d";
const MYSQL_MASTER: &str = "rds!db-7d5f9b1c-3e8a-4c2d-9f60-a1b2c3d4e5f6";

/// Developers may read those below `daypass/` and those of RDS.
pub(super) fn secrets() -> Vec<SecretPlan> {
    use Form::{AlternatingUsers, Cluster, Instance, Managed};
    let postgres = |name, database, user, form, stored| SecretPlan {
        name,
        database,
        user,
        form,
        login: PasswordLogin::Postgres(stored),
    };
    let mysql = |name, database, user, form, plugin| SecretPlan {
        name,
        database,
        user,
        form,
        login: PasswordLogin::Mysql(plugin),
    };
    vec![
        postgres("daypass/orders-prod/report", "orders-prod", "report", Instance, StoredAs::Scram),
        postgres("daypass/ledger-prod/report", "ledger-prod", "ledger_report", Cluster, StoredAs::Md5),
        postgres("restricted/orders-prod/payroll", "orders-prod", "payroll", Instance, StoredAs::Scram),
        postgres(ORDERS_MASTER, "orders-prod", "shop_admin", Managed, StoredAs::Scram),
        mysql(
            "daypass/billing-mysql/app",
            "billing-mysql",
            "billing_app",
            AlternatingUsers { master: MYSQL_MASTER },
            MysqlPlugin::CachingSha2,
        ),
        mysql(MYSQL_MASTER, "billing-mysql", "billing_admin", Managed, MysqlPlugin::CachingSha2),
        mysql("daypass/stock-mariadb/report", "stock-mariadb", "stock_report", Instance, MysqlPlugin::Native),
        mysql("daypass/stock-mariadb/audit", "stock-mariadb", "stock_audit", Instance, MysqlPlugin::Ed25519),
    ]
}
