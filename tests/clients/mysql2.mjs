// mysql2 as people use it; see README.md.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const mysql = createRequire(`${process.env.NODE_CLIENTS}/package.json`)("mysql2/promise");
const [host, port, user, database, ca] = process.argv.slice(2);
const password = readFileSync(0, "utf8").replace(/\n$/, "");
const ssl = ca ? { ca: readFileSync(ca, "utf8"), verifyIdentity: true } : undefined;
const settings = { host, port: Number(port), user, database, password, ssl, enableCleartextPlugin: Boolean(ca) };

async function kill(connection) {
  const query = connection.query("SELECT COUNT(*) FROM seq_1_to_10000000000 WHERE seq % 7 = 3");
  const refused = assert.rejects(query, { errno: 1317 });
  await new Promise((done) => setTimeout(done, 500));
  const other = await mysql.createConnection(settings);
  await other.query(`KILL QUERY ${connection.threadId}`);
  await other.end();
  await refused;
}

const connection = await mysql.createConnection(settings);
const [[who]] = await connection.query("SELECT CURRENT_USER() AS user, DATABASE() AS db");
assert.deepEqual({ ...who }, { user: `${user}@%`, db: database });
for (const number of [1, 2, 3]) {
  const [[{ n }]] = await connection.execute("SELECT ? * 2 AS n", [number]);
  assert.equal(Number(n), number * 2);
}
const [big] = await connection.query("SELECT seq, REPEAT('x', 100) FROM seq_1_to_50000");
assert.equal(big.length, 50_000);
await connection.query("START TRANSACTION READ ONLY");
await connection.query("SELECT 1");
await connection.commit();
await kill(connection);
const [[one]] = await connection.query("SELECT 1 AS n");
assert.equal(one.n, 1, "it goes on after a killed query");
await connection.changeUser({ database }).catch((error) => assert.equal(error.errno, 1045));
await connection.end().catch(() => {});

const pool = mysql.createPool({ ...settings, connectionLimit: 5 });
const answers = await Promise.all([...Array(20).keys()].map((n) => pool.query("SELECT ? AS n", [n])));
assert.deepEqual(answers.map(([[row]]) => Number(row.n)), [...Array(20).keys()]);
await pool.end();
console.log("ok");
