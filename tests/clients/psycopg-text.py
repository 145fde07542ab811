"""Connects by the connection string on the standard input, a URL or libpq's words; see README.md."""

import sys

import psycopg

with psycopg.connect(sys.stdin.read().strip(), connect_timeout=30) as connection:
    print(*connection.execute("SELECT current_user, current_database()").fetchone(), sep="|")
