// MariaDB's JDBC driver as people use it; see README.md.

import java.nio.charset.StandardCharsets;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.Properties;

public class JdbcMariadb {
    static String url;
    static Properties settings = new Properties();

    public static void main(String[] arguments) throws Exception {
        url = "jdbc:mariadb://" + arguments[0] + ":" + arguments[1] + "/" + arguments[3];
        settings.setProperty("user", arguments[2]);
        settings.setProperty("password", new String(System.in.readAllBytes(), StandardCharsets.UTF_8).replaceFirst("\n$", ""));
        if (arguments.length > 4) {
            settings.setProperty("useSsl", "true");
            settings.setProperty("serverSslCert", arguments[4]);
        }
        walk(arguments[2] + "@%");
        settings.setProperty("useServerPrepStmts", "true");
        settings.setProperty("useCompression", "true");
        walk(arguments[2] + "@%");
        System.out.println("ok");
    }

    static void walk(String user) throws Exception {
        try (Connection connection = DriverManager.getConnection(url, settings)) {
            must(user.equals(one(connection, "SELECT CURRENT_USER()")), "the user");
            try (var twice = connection.prepareStatement("SELECT ? * 2")) {
                for (int number = 0; number < 3; number++) {
                    twice.setInt(1, number);
                    try (ResultSet rows = twice.executeQuery()) {
                        must(rows.next() && rows.getInt(1) == number * 2, "a prepared statement");
                    }
                }
            }
            must("50000".equals(one(connection, "SELECT COUNT(*) FROM seq_1_to_50000")), "a count");
            must(count(connection, "SELECT seq, REPEAT('x', 100) FROM seq_1_to_50000") == 50_000, "all rows");
            connection.setAutoCommit(false);
            one(connection, "SELECT 1");
            connection.rollback();
            connection.setAutoCommit(true);
            cancel(connection);
            must("1".equals(one(connection, "SELECT 1")), "it goes on after a killed query");
            must(connection.isValid(10), "a ping");
        }
    }

    static int count(Connection connection, String query) throws SQLException {
        int count = 0;
        try (Statement statement = connection.createStatement(); ResultSet rows = statement.executeQuery(query)) {
            while (rows.next()) {
                count++;
            }
        }
        return count;
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
            statement.execute("SELECT COUNT(*) FROM seq_1_to_10000000000 WHERE seq % 7 = 3");
            must(false, "the query was not killed");
        } catch (SQLException error) {
            must(error.getErrorCode() == 1317, error.toString());
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
