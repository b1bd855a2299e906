/** The browser entry: against a server, and what needs an answer of the test's choice against Connect's own server. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { Code, ConnectError } from "@connectrpc/connect";

import {
    CacheStatus,
    InvalidArgumentError,
    NotFoundError,
    Section,
    UnavailableError,
    UserData,
} from "@userdata/client/web";

import { PATIENCE_MS, Server } from "./support/server.js";
import { reply, withAnswers } from "./support/wire.js";

test("the browser entry makes all calls over a server's HTTP listener", async () => {
    const server = await Server.start();
    try {
        (await server.client()).close();
        const client = UserData.connect({ address: server.httpAddress, timeoutMs: PATIENCE_MS });
        const document = await client.get("1");
        assert.equal(document.data.industry, "Technology");
        assert.equal(document.section(Section.STRATEGY)?.section, Section.STRATEGY);
        assert.match(document.requestId ?? "", /^\S+$/);

        const session = client.session();
        await session.invalidate("1");
        assert.equal((await session.get("1")).cache.isCached, false);
        assert.equal((await session.get("1")).cache.isCached, true);

        await assert.rejects(client.get("999999"), (error: unknown) => {
            assert.ok(error instanceof NotFoundError);
            assert.equal(error.reason, "USER_NOT_FOUND");
            return true;
        });
        await assert.rejects(client.get(""), (error: unknown) => {
            assert.ok(error instanceof InvalidArgumentError);
            assert.equal(error.fieldViolations[0]?.field, "user_id");
            return true;
        });

        const users = [];
        for await (const { userId, error } of client.warm(["2", "999999"])) {
            users.push([userId, error?.reason]);
        }
        assert.deepEqual(users.sort(), [
            ["2", undefined],
            ["999999", "USER_NOT_FOUND"],
        ]);
        assert.ok((await client.stats({ instanceOnly: true })).requests > 0n);
        assert.equal(await client.cleanup(), 0);
    } finally {
        await server.stop();
    }
});

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
