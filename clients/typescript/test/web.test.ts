/** The browser entry, against Connect's own server: that it composes its parts. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { Code, ConnectError } from "@connectrpc/connect";

import { CacheStatus, NotFoundError, UnavailableError, UserData } from "@userdata/client/web";

import { reply, withAnswers } from "./support/wire.js";

test("the browser entry calls over fetch, with its token, and gives the same errors", async () => {
    const tokens: (string | null)[] = [];
    const answers = {
        getComprehensiveUserData: ({ userId }: { userId: string }, context: { requestHeader: Headers }) => {
            tokens.push(context.requestHeader.get("authorization"));
            if (userId !== "1") {
                throw new ConnectError("user not found", Code.NotFound);
            }
            return { ...reply("a:1"), cacheInfo: { status: CacheStatus.HIT_MEMORY } };
        },
        warmCache: async function* () {
            yield { done: 1, total: 1, item: { userId: "1" }, status: CacheStatus.ASSEMBLED };
        },
    };
    const work = async (address: string) => {
        const client = UserData.connect({ address, token: "secret" });
        assert.equal((await client.get("1")).cache.status, CacheStatus.HIT_MEMORY);
        await assert.rejects(client.get("2"), NotFoundError);
        for await (const { userId } of client.warm(["1"])) {
            assert.equal(userId, "1");
        }
        assert.deepEqual(tokens, ["Bearer secret", "Bearer secret"]);
    };
    await withAnswers(answers, work, "http1");
});

test("a fetch that fails is an UnavailableError", async () => {
    const fetch = () => Promise.reject(new TypeError("Failed to fetch"));
    const client = UserData.connect({ address: "http://127.0.0.1:1", fetch, attempts: 1 });
    await assert.rejects(client.get("1"), (error: unknown) => error instanceof UnavailableError && error.retryable);
});
