// A pool of node-postgres that is open for long and then needs one connection more; see README.md.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const { Pool } = createRequire(`${process.env.NODE_CLIENTS}/package.json`)("pg");
const [host, port, user, database] = process.argv.slice(2);
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const password = (await lines.next()).value;
const pool = new Pool({ host, port: Number(port), user, database, password, max: 2 });
const id = async (client) => (await client.query("SELECT pg_backend_pid() AS id")).rows[0].id;

const first = await pool.connect();
const known = await id(first);
console.log("ready");
await lines.next();
assert.equal(await id(first), known, "what is open stays open");
const second = await pool.connect();
assert.notEqual(await id(second), known, "one connection more is one login more");
first.release(true);
const third = await pool.connect();
assert.notEqual(await id(third), known, "a connection that was given up is replaced by a login");
second.release();
third.release();
await pool.end();
console.log("ok");
process.exit();
