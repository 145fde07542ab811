"""asyncpg as people use it; see README.md."""

import asyncio
import ssl
import sys

import asyncpg


async def main(host, port, user, database, ca=None):
    password = sys.stdin.read().removesuffix("\n")
    context = ssl.create_default_context(cafile=ca) if ca else False
    settings = {"host": host, "port": int(port), "user": user, "database": database, "timeout": 30}
    settings |= {"password": password, "ssl": context}
    connection = await asyncpg.connect(**settings)
    assert await connection.fetchval("SELECT current_user") == user
    prepared = await connection.prepare("SELECT $1::int * 2")
    for number in range(3):
        assert await prepared.fetchval(number) == number * 2
    rows = await connection.fetch("SELECT n, repeat('x', 100) FROM generate_series(1, 50000) n")
    assert (len(rows), rows[-1]["n"]) == (50_000, 50_000)
    await transactions(connection)
    await cancel(connection)
    assert await connection.fetchval("SELECT 1") == 1, "it goes on after a cancelled query"
    await connection.close()
    async with asyncpg.create_pool(**settings, min_size=2, max_size=5) as pool:
        answers = await asyncio.gather(*(pool.fetchval("SELECT $1::int", number) for number in range(20)))
        assert answers == list(range(20))
    print("ok")


async def transactions(connection):
    async with connection.transaction():
        await connection.execute("SELECT set_config('clients.kept', 'yes', false)")
    try:
        async with connection.transaction():
            await connection.execute("SELECT set_config('clients.kept', 'no', false)")
            await connection.execute("SELECT 1 / 0")
    except asyncpg.DivisionByZeroError:
        pass
    assert await connection.fetchval("SELECT current_setting('clients.kept')") == "yes"


async def cancel(connection):
    # asyncpg sends a CancelRequest when a query runs out of time.
    try:
        await connection.execute("SELECT pg_sleep(60)", timeout=0.5)
    except asyncio.TimeoutError:
        return
    raise AssertionError("the query was not cancelled")


asyncio.run(main(*sys.argv[1:]))
