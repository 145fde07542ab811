// A pool of mysql2 that is open for long and then needs one connection more; see README.md.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const mysql = createRequire(`${process.env.NODE_CLIENTS}/package.json`)("mysql2/promise");
const [host, port, user, database] = process.argv.slice(2);
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const password = (await lines.next()).value;
const pool = mysql.createPool({ host, port: Number(port), user, database, password, connectionLimit: 2 });
const id = async (connection) => (await connection.query("SELECT CONNECTION_ID() AS id"))[0][0].id;

const first = await pool.getConnection();
const known = await id(first);
console.log("ready");
await lines.next();
assert.equal(await id(first), known, "what is open stays open");
const second = await pool.getConnection();
assert.notEqual(await id(second), known, "one connection more is one login more");
first.destroy();
const third = await pool.getConnection();
assert.notEqual(await id(third), known, "a connection that was given up is replaced by a login");
second.release();
third.release();
await pool.end();
console.log("ok");
process.exit();
