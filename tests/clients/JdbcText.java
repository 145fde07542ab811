import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.Statement;
import java.util.List;

// Connects by the URL in the first line of the standard input, with the user and password of those after it if there are any;
// see README.md.
public final class JdbcText {
    public static void main(String[] arguments) throws Exception {
        List<String> lines = new String(System.in.readAllBytes(), "UTF-8").lines().toList();
        boolean postgres = lines.get(0).startsWith("jdbc:postgresql:");
        String who = postgres ? "current_user" : "SUBSTRING_INDEX(CURRENT_USER(), '@', 1)";
        String where = postgres ? "current_database()" : "DATABASE()";
        try (Connection connection = connect(lines);
                Statement statement = connection.createStatement();
                ResultSet rows = statement.executeQuery("SELECT " + who + ", " + where)) {
            rows.next();
            System.out.println(rows.getString(1) + "|" + rows.getString(2));
        }
    }

    private static Connection connect(List<String> lines) throws Exception {
        if (lines.size() == 1) {
            return DriverManager.getConnection(lines.get(0));
        }
        return DriverManager.getConnection(lines.get(0), lines.get(1), lines.get(2));
    }
}
