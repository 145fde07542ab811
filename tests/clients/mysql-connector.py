"""MySQL Connector/Python as people use it; see README.md."""

# First: it brings a newer OpenSSL than Debian 12's, and whichever is loaded first serves both.
import _mysql_connector  # noqa: F401

import sys
import threading

import mysql.connector


def connect(host, port, user, database, ca, password, **more):
    trust = {"ssl_ca": ca, "ssl_verify_cert": True, "ssl_verify_identity": True} if ca else {"ssl_disabled": True}
    return mysql.connector.connect(
        host=host, port=int(port), user=user, password=password, database=database, connection_timeout=60, **trust, **more
    )


def main(host, port, user, database, ca=None):
    password = sys.stdin.read().removesuffix("\n")
    settings = (host, port, user, database, ca, password)
    for pure in (True, False):
        walk(settings, pure)
    with connect(*settings, compress=True) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT REPEAT('x', 1000) FROM seq_1_to_1000")
        assert len(cursor.fetchall()) == 1_000, "compressed"
    print("ok")


def walk(settings, pure):
    user, database = settings[2], settings[3]
    connection = connect(*settings, use_pure=pure)
    with connection.cursor() as cursor:
        cursor.execute("SELECT CURRENT_USER(), DATABASE()")
        assert cursor.fetchone() == (f"{user}@%", database)
    with connection.cursor(prepared=True) as cursor:
        for number in range(3):
            cursor.execute("SELECT ? * 2", (number,))
            assert int(cursor.fetchone()[0]) == number * 2
    with connection.cursor() as cursor:
        cursor.execute("SELECT seq, REPEAT('x', 100) FROM seq_1_to_50000")
        rows = cursor.fetchall()
        assert (len(rows), rows[-1][0]) == (50_000, 50_000)
    connection.start_transaction()
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        cursor.fetchall()
    connection.rollback()
    kill(connection, settings)
    connection.reset_session()
    connection.reconnect()
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        assert cursor.fetchone() == (1,)
    connection.close()


def kill(connection, settings):
    def by_another():
        with connect(*settings) as other, other.cursor() as cursor:
            cursor.execute(f"KILL QUERY {connection.connection_id}")

    threading.Timer(0.5, by_another).start()
    with connection.cursor() as cursor:
        try:
            cursor.execute("SELECT COUNT(*) FROM seq_1_to_10000000000 WHERE seq % 7 = 3")
            cursor.fetchall()
        except mysql.connector.Error as error:
            assert error.errno == 1317, error
        else:
            raise AssertionError("the query was not killed")


main(*sys.argv[1:])
