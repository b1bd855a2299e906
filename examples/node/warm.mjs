// Loads documents before they are needed.
//
//   node warm.mjs [USER..]

import { CacheStatus, UserData } from "@userdata/client";

const users = process.argv.length > 2 ? process.argv.slice(2) : ["1", "2", "3", "999999"];
const client = UserData.fromEnv();

for await (const { done, total, userId, status, error } of client.warm(users, { concurrency: 2 })) {
    console.log(`${done}/${total} ${userId}: ${error === undefined ? CacheStatus[status] : error.message}`);
}
