// Reads what was written just before, whichever instance answers.
//
//   node read-your-writes.mjs [USER]

import { UserData } from "@userdata/client";

const user = process.argv[2] ?? "2";
const client = UserData.fromEnv();
await client.get(user);

// .. your own write to the planning application's tables ..
const session = client.session();
await session.invalidate(user, { reason: "strategy edited" });
console.log(`the first read is cached: ${(await session.get(user)).cache.isCached}`);

// Another process reads the same with the session's token.
const minToken = session.token(user);
const other = UserData.fromEnv();
const document = await other.get(user, { minToken });
console.log(`another process reads up to ${document.cache.token}`);
