"""psycopg 3 as people use it; see README.md."""

import sys
import threading
import time

import psycopg


def connect(host, port, user, database, ca, password):
    trust = {"sslmode": "verify-full", "sslrootcert": ca} if ca else {"sslmode": "disable"}
    return psycopg.connect(
        host=host, port=port, user=user, dbname=database, password=password, connect_timeout=30, **trust
    )


def main(host, port, user, database, ca=None):
    password = sys.stdin.read().removesuffix("\n")
    with connect(host, port, user, database, ca, password) as connection:
        connection.autocommit = True
        assert connection.execute("SELECT current_user").fetchone() == (user,)
        for number in range(3):
            assert connection.execute("SELECT %s::int * 2", (number,), prepare=True).fetchone() == (number * 2,)
        rows = connection.execute("SELECT n, repeat('x', 100) FROM generate_series(1, 50000) n").fetchall()
        assert (len(rows), rows[-1][0]) == (50_000, 50_000)
        with connection.cursor() as cursor, cursor.copy("COPY (SELECT generate_series(1, 1000)) TO STDOUT") as copy:
            assert sum(1 for _ in copy.rows()) == 1_000
        transactions(connection)
        with connection.pipeline():
            cursors = [connection.execute("SELECT %s::int", (number,)) for number in range(20)]
        assert [cursor.fetchone()[0] for cursor in cursors] == list(range(20))
        cancel(connection)
        assert connection.execute("SELECT 1").fetchone() == (1,), "it goes on after a cancelled query"
        notify(connection)
    with connect(host, port, user, database, ca, password) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    print("ok")


def transactions(connection):
    with connection.transaction():
        connection.execute("SELECT set_config('clients.kept', 'yes', false)")
    try:
        with connection.transaction():
            connection.execute("SELECT set_config('clients.kept', 'no', false)")
            connection.execute("SELECT 1 / 0")
    except psycopg.errors.DivisionByZero:
        pass
    assert connection.execute("SELECT current_setting('clients.kept')").fetchone() == ("yes",)


def cancel(connection):
    threading.Timer(0.5, connection.cancel_safe).start()
    started = time.monotonic()
    try:
        connection.execute("SELECT pg_sleep(60)")
    except psycopg.errors.QueryCanceled:
        assert time.monotonic() - started < 30
    else:
        raise AssertionError("the query was not cancelled")


def notify(connection):
    connection.execute("LISTEN bell")
    connection.execute("NOTIFY bell, 'ding'")
    assert next(connection.notifies(timeout=10, stop_after=1)).payload == "ding"


main(*sys.argv[1:])
