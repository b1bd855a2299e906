// Gets a user's document: all of it, then two sections.
//
//   node get.mjs [USER]

import { CacheStatus, durationMs, Section, State, UserData } from "@userdata/client";

const user = process.argv[2] ?? "1";
const client = UserData.fromEnv();

const document = await client.get(user);
const { cache, data } = document;
console.log(`${CacheStatus[cache.status]}, verified: ${cache.verified}, complete: ${cache.complete}`);
console.log(`age: ${cache.age === undefined ? "unknown" : durationMs(cache.age)} ms`);
console.log(`industry: ${data.industry}, goals: ${data.businessGoals.join("; ")}`);
for (const report of document.sections) {
    console.log(`${Section[report.section]}: ${State[report.state]} ${report.reason}`);
}

const part = await client.get(user, { sections: [Section.STRATEGY, Section.GAP_ANALYSIS] });
console.log(`only two sections: ${Object.keys(part.toJson()).join(", ")}`);
