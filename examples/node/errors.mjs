// What fails, and how to tell it apart.
//
//   node errors.mjs

import { DeadlineExceededError, InvalidArgumentError, NotFoundError, UserData, UserDataError } from "@userdata/client";

const client = UserData.fromEnv();

/** @param {Promise<unknown>} call */
async function tell(call) {
    try {
        await call;
        console.log("answered");
    } catch (error) {
        if (error instanceof NotFoundError) {
            console.log(`not found: ${error.reason}`);
        } else if (error instanceof InvalidArgumentError) {
            console.log(`invalid: ${error.fieldViolations.map(({ field, description }) => `${field} ${description}`)}`);
        } else if (error instanceof DeadlineExceededError) {
            console.log("too slow: the load goes on, so a later call may find the document");
        } else if (error instanceof UserDataError && error.retryable) {
            console.log(`later, in ${error.retryAfterMs ?? "some"} ms: ${error.message}`);
        } else {
            throw error;
        }
    }
}

await tell(client.get("1"));
await tell(client.get("999999"));
await tell(client.get("1", { strategyId: 999_999 }));
await tell(client.get("", { minToken: "none" }));
await tell(UserData.connect({ address: "http://127.0.0.1:1", attempts: 1 }).get("1"));
