// node-postgres as people use it; see README.md.

import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const { Client, Pool, Query } = createRequire(`${process.env.NODE_CLIENTS}/package.json`)("pg");
const [host, port, user, database, ca] = process.argv.slice(2);
const password = readFileSync(0, "utf8").replace(/\n$/, "");
const ssl = ca ? { ca: readFileSync(ca, "utf8") } : false;
const settings = { host, port: Number(port), user, database, password, ssl };

async function transactions(client) {
  await client.query("BEGIN");
  await client.query("SELECT set_config('clients.kept', 'yes', false)");
  await client.query("COMMIT");
  await client.query("BEGIN");
  await client.query("SELECT set_config('clients.kept', 'no', false)");
  await assert.rejects(client.query("SELECT 1 / 0"), { code: "22012" });
  await client.query("ROLLBACK");
  const { rows } = await client.query("SELECT current_setting('clients.kept') AS kept");
  assert.deepEqual(rows, [{ kept: "yes" }]);
}

async function cancel(client) {
  const query = client.query(new Query("SELECT pg_sleep(60)"));
  setTimeout(() => new Client(settings).cancel(client, query), 500);
  const [error] = await once(query, "error").catch((thrown) => [thrown]);
  assert.equal(error.code, "57014");
}

const client = new Client(settings);
await client.connect();
assert.equal((await client.query("SELECT current_user AS who")).rows[0].who, user);
for (const number of [1, 2, 3]) {
  const { rows } = await client.query({ name: "twice", text: "SELECT $1::int * 2 AS n", values: [number] });
  assert.equal(rows[0].n, number * 2);
}
const big = await client.query("SELECT n, repeat('x', 100) FROM generate_series(1, 50000) n");
assert.equal(big.rows.length, 50_000);
await transactions(client);
await cancel(client);
assert.equal((await client.query("SELECT 1 AS n")).rows[0].n, 1, "it goes on after a cancelled query");
await client.end();

const pool = new Pool({ ...settings, max: 5 });
const answers = await Promise.all([...Array(20).keys()].map((n) => pool.query("SELECT $1::int AS n", [n])));
assert.deepEqual(answers.map(({ rows }) => rows[0].n), [...Array(20).keys()]);
await pool.end();
console.log("ok");
