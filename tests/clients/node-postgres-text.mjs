// Connects by the URL on the standard input; see README.md.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const { Client } = createRequire(`${process.env.NODE_CLIENTS}/package.json`)("pg");
const client = new Client({ connectionString: readFileSync(0, "utf8").trim() });
await client.connect();
const { rows } = await client.query({ text: "SELECT current_user, current_database()", rowMode: "array" });
console.log(rows[0].join("|"));
await client.end();
