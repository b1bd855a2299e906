import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout } from "node:timers/promises";

import { CacheStatus, GetCacheStatsResponseSchema, NotFoundError, plainJson, UserData } from "@userdata/client";

import { Server } from "./support/server.js";
import { withAnswers } from "./support/wire.js";

describe("an operator's calls", () => {
    let server: Server;
    let client: UserData;

    before(async () => {
        server = await Server.start();
        client = await server.client();
    });
    after(async () => {
        client?.close();
        await server?.stop();
    });

    test("warm loads each document, and one that fails has a typed error", async () => {
        const done: number[] = [];
        const errors = new Map<string, unknown>();
        for await (const item of client.warm(["1", 2, { userId: "999999" }, { userId: "3" }])) {
            assert.equal(item.total, 4);
            done.push(item.done);
            errors.set(item.userId, item.error);
            assert.equal(item.status === CacheStatus.UNSPECIFIED, item.error !== undefined);
        }
        assert.deepEqual(done, [1, 2, 3, 4]);
        assert.deepEqual([...errors.keys()].sort(), ["1", "2", "3", "999999"]);
        const error = errors.get("999999");
        assert.ok(error instanceof NotFoundError);
        assert.equal(error.reason, "USER_NOT_FOUND");
        assert.deepEqual([errors.get("1"), errors.get("2"), errors.get("3")], [undefined, undefined, undefined]);
        assert.equal((await client.get("2")).cache.isCached, true);
    });

    test("warm loads the most accessed documents", async () => {
        await client.get("5");
        // A document is stored behind its answer.
        while ((await client.stats({ mostAccessedLimit: 1 })).mostAccessed.length === 0) {
            await setTimeout(10);
        }
        const users = [];
        for await (const { userId, error } of client.warm({ mostAccessed: 1 })) {
            assert.equal(error, undefined);
            users.push(userId);
        }
        assert.equal(users.length, 1);
    });

    test("statistics count what was asked for, also as plain JSON", async () => {
        const before = await client.stats({ instanceOnly: true });
        await client.get("6");
        const after = await client.stats({ instanceOnly: true });
        assert.equal(after.requests - before.requests, 1n);
        assert.equal(after.totalEntries, undefined);
        assert.equal(plainJson(GetCacheStatsResponseSchema, after)["requests"], Number(after.requests));
    });

    test("cleanup says how many expired rows it has deleted", async () => {
        assert.equal(await client.cleanup({ limit: 10 }), 0);
    });
});

test("leaving the loop ends the call", async () => {
    let left = () => {};
    const ended = new Promise<void>((resolve) => (left = resolve));
    const answers = {
        warmCache: async function* (_: unknown, { signal }: { signal: AbortSignal }) {
            signal.addEventListener("abort", left);
            yield { done: 1, total: 2, item: { userId: "1" }, status: CacheStatus.ASSEMBLED };
            await ended;
        },
    };
    await withAnswers(answers, async (address) => {
        const client = UserData.connect({ address });
        for await (const { done } of client.warm(["1", "2"])) {
            assert.equal(done, 1);
            break;
        }
        await ended;
        client.close();
    });
});
