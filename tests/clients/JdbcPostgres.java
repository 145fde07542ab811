// PostgreSQL's JDBC driver as people use it; see README.md.

import java.nio.charset.StandardCharsets;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.Properties;

public class JdbcPostgres {
    static String url;
    static Properties settings = new Properties();

    public static void main(String[] arguments) throws Exception {
        url = "jdbc:postgresql://" + arguments[0] + ":" + arguments[1] + "/" + arguments[3];
        settings.setProperty("user", arguments[2]);
        settings.setProperty("password", new String(System.in.readAllBytes(), StandardCharsets.UTF_8).replaceFirst("\n$", ""));
        if (arguments.length > 4) {
            settings.setProperty("sslmode", "verify-full");
            settings.setProperty("sslrootcert", arguments[4]);
        } else {
            settings.setProperty("sslmode", "disable");
        }
        try (Connection connection = DriverManager.getConnection(url, settings)) {
            must(arguments[2].equals(one(connection, "SELECT current_user")), "the user");
            prepared(connection);
            must(count(connection, "SELECT n, repeat('x', 100) FROM generate_series(1, 50000) n") == 50_000, "all rows");
            transactions(connection);
            cancel(connection);
            must("1".equals(one(connection, "SELECT 1")), "it goes on after a cancelled query");
        }
        try (Connection connection = DriverManager.getConnection(url, settings)) {
            must(connection.isValid(10), "a second connection");
        }
        System.out.println("ok");
    }

    static void prepared(Connection connection) throws SQLException {
        try (var twice = connection.prepareStatement("SELECT ?::int * 2")) {
            // The fifth time it becomes a statement of the server's.
            for (int number = 0; number < 8; number++) {
                twice.setInt(1, number);
                try (ResultSet rows = twice.executeQuery()) {
                    must(rows.next() && rows.getInt(1) == number * 2, "a prepared statement");
                }
            }
        }
    }

    static int count(Connection connection, String query) throws SQLException {
        connection.setAutoCommit(false);
        int rows = 0;
        try (Statement statement = connection.createStatement()) {
            statement.setFetchSize(1_000);
            try (ResultSet result = statement.executeQuery(query)) {
                while (result.next()) {
                    rows++;
                }
            }
        }
        connection.commit();
        connection.setAutoCommit(true);
        return rows;
    }

    static void transactions(Connection connection) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            connection.setAutoCommit(false);
            statement.execute("SELECT set_config('clients.kept', 'yes', false)");
            connection.commit();
            statement.execute("SELECT set_config('clients.kept', 'no', false)");
            connection.rollback();
            connection.setAutoCommit(true);
        }
        must("yes".equals(one(connection, "SELECT current_setting('clients.kept')")), "what was committed, and no more");
    }

    static void cancel(Connection connection) throws Exception {
        try (Statement statement = connection.createStatement()) {
            Thread canceller = new Thread(() -> {
                try {
                    Thread.sleep(500);
                    statement.cancel();
                } catch (Exception error) {
                    error.printStackTrace();
                }
            });
            canceller.start();
            statement.execute("SELECT pg_sleep(60)");
            must(false, "the query was not cancelled");
        } catch (SQLException error) {
            must("57014".equals(error.getSQLState()), error.toString());
        }
    }

    static String one(Connection connection, String query) throws SQLException {
        try (Statement statement = connection.createStatement(); ResultSet rows = statement.executeQuery(query)) {
            rows.next();
            return rows.getString(1);
        }
    }

    static void must(boolean holds, String what) {
        if (!holds) {
            throw new IllegalStateException(what);
        }
    }
}
