"""PyMySQL as people use it; see README.md."""

import ssl
import sys
import threading

import pymysql


def connect(host, port, user, database, ca, password):
    context = ssl.create_default_context(cafile=ca) if ca else None
    return pymysql.connect(
        host=host, port=int(port), user=user, password=password, database=database, ssl=context, connect_timeout=30
    )


def main(host, port, user, database, ca=None):
    password = sys.stdin.read().removesuffix("\n")
    settings = (host, port, user, database, ca, password)
    connection = connect(*settings)
    with connection.cursor() as cursor:
        cursor.execute("SELECT CURRENT_USER(), DATABASE()")
        assert cursor.fetchone() == (f"{user}@%", database)
        cursor.execute("PREPARE twice FROM 'SELECT ? * 2'")
        cursor.execute("SET @n = 21")
        cursor.execute("EXECUTE twice USING @n")
        assert cursor.fetchone() == (42,)
        cursor.execute("SELECT seq, REPEAT('x', 100) FROM seq_1_to_50000")
        rows = cursor.fetchall()
        assert (len(rows), rows[-1][0]) == (50_000, 50_000)
    transactions(connection)
    kill(connection, settings)
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        assert cursor.fetchone() == (1,), "it goes on after a killed query"
    connection.ping(reconnect=False)
    connection.close()
    with connect(*settings) as again, again.cursor() as cursor:
        cursor.execute("SELECT 1")
        assert cursor.fetchone() == (1,)
    print("ok")


def transactions(connection):
    with connection.cursor() as cursor:
        cursor.execute("START TRANSACTION READ ONLY")
        cursor.execute("SELECT 1")
        connection.commit()
        cursor.execute("SET @kept = 1")
        connection.rollback()
        cursor.execute("SELECT @kept, @@in_transaction")
        assert cursor.fetchone() == (1, 0)


def kill(connection, settings):
    def by_another():
        with connect(*settings) as other, other.cursor() as cursor:
            cursor.execute(f"KILL QUERY {connection.thread_id()}")

    threading.Timer(0.5, by_another).start()
    with connection.cursor() as cursor:
        try:
            cursor.execute("SELECT COUNT(*) FROM seq_1_to_10000000000 WHERE seq % 7 = 3")
        except pymysql.err.OperationalError as error:
            assert error.args[0] == 1317, error
        else:
            raise AssertionError("the query was not killed")


main(*sys.argv[1:])
