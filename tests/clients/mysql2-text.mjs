// Connects by the URL on the standard input; see README.md.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const mysql = createRequire(`${process.env.NODE_CLIENTS}/package.json`)("mysql2/promise");
const connection = await mysql.createConnection(readFileSync(0, "utf8").trim());
const [rows] = await connection.query({ sql: "SELECT SUBSTRING_INDEX(CURRENT_USER(), '@', 1), DATABASE()", rowsAsArray: true });
console.log(rows[0].join("|"));
await connection.end();
