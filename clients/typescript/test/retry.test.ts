import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { create } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createRouterTransport } from "@connectrpc/connect";

import {
    CancelledError,
    ResourceExhaustedError,
    UnavailableError,
    UserData,
    UserDataClient,
    UserDataError,
    UserDataService,
} from "@userdata/client";

import { RetryInfoSchema } from "../dist/gen/google/rpc/error_details_pb.js";
import { CLOCK } from "../dist/retry.js";
import { reply, withAnswers, type Answers } from "./support/wire.js";

/** Time that passes by pauses only. */
class Time {
    readonly pauses: number[] = [];
    private ms = 0;

    now = () => this.ms;
    pause = (ms: number) => {
        this.pauses.push(ms);
        this.ms += ms;
        return Promise.resolve();
    };
}

/** A refusal as the server sends it: with the delay in the details, in gRPC's header, in both or in none. */
function refusal(code: Code, delays: { retryInfoMs?: number; pushback?: string } = {}): ConnectError {
    const error = new ConnectError("refused", code);
    if (delays.retryInfoMs !== undefined) {
        const retryDelay = durationFromMs(delays.retryInfoMs);
        error.details.push({ desc: RetryInfoSchema, value: create(RetryInfoSchema, { retryDelay }) });
    }
    if (delays.pushback !== undefined) {
        error.metadata.set("grpc-retry-pushback-ms", delays.pushback);
    }
    return error;
}

/** A client of a service that refuses so often before it answers. */
function refusing(error: () => ConnectError, times = Number.POSITIVE_INFINITY) {
    const calls = { get: 0, invalidate: 0, warm: 0 };
    const refuse = (call: keyof typeof calls) => {
        if (++calls[call] <= times) {
            throw error();
        }
    };
    const answers: Answers = {
        getComprehensiveUserData: () => {
            refuse("get");
            return reply("a:1");
        },
        invalidateCache: () => {
            refuse("invalidate");
            return { token: "a:1" };
        },
        warmCache: async function* () {
            refuse("warm");
        },
    };
    const transport = createRouterTransport((router) => router.service(UserDataService, answers));
    const time = new Time();
    return { calls, time, answers, transport, client: new UserDataClient(transport, {}, time) };
}

function within(ms: number | undefined, low: number, high: number) {
    assert.ok(ms !== undefined && ms >= low && ms <= high, `${ms} is not within ${low} and ${high}`);
}

describe("retries", () => {
    test("a call is repeated with growing pauses until it succeeds", async () => {
        const { calls, time, client } = refusing(() => refusal(Code.Unavailable), 3);
        await client.get("1");
        assert.equal(calls.get, 4);
        assert.equal(time.pauses.length, 3);
        [500, 1000, 2000].forEach((ms, index) => within(time.pauses[index], 0.8 * ms, 1.2 * ms));
    });

    test("four attempts are the limit, and the last failure is the caller's", async () => {
        const { calls, client } = refusing(() => refusal(Code.Unavailable));
        await assert.rejects(client.invalidate("1"), UnavailableError);
        assert.equal(calls.invalidate, 4);
    });

    test("the server's delay is waited for, not a shorter one", async () => {
        const { time, client } = refusing(() => refusal(Code.ResourceExhausted, { retryInfoMs: 1300 }), 1);
        await client.get("1");
        assert.deepEqual(time.pauses, [1300]);
    });

    test("a delay in gRPC's header comes before the one in the details", async () => {
        const { time, client } = refusing(
            () => refusal(Code.ResourceExhausted, { retryInfoMs: 1300, pushback: "700" }),
            1,
        );
        await client.get("1");
        assert.deepEqual(time.pauses, [700]);
    });

    test("a header that says no forbids to repeat", async () => {
        for (const pushback of ["-1", "soon"]) {
            const { calls, client } = refusing(() => refusal(Code.Unavailable, { retryInfoMs: 10, pushback }));
            await assert.rejects(client.get("1"), (error: UserDataError) => !error.retryable);
            assert.equal(calls.get, 1);
        }
    });

    test("a reply that is too large is not asked for again", async () => {
        const { calls, client } = refusing(() => refusal(Code.ResourceExhausted));
        await assert.rejects(client.get("1"), ResourceExhaustedError);
        assert.equal(calls.get, 1);
    });

    test("other failures are not repeated", async () => {
        for (const code of [Code.InvalidArgument, Code.NotFound, Code.Internal, Code.DeadlineExceeded, Code.Aborted]) {
            const { calls, client } = refusing(() => refusal(code));
            await assert.rejects(client.get("1"), UserDataError);
            assert.equal(calls.get, 1, Code[code]);
        }
    });

    test("a pause that would outlast the deadline is not begun", async () => {
        const { time, client } = refusing(() => refusal(Code.Unavailable, { retryInfoMs: 1400 }));
        await assert.rejects(client.get("1", { timeoutMs: 2800 }), UnavailableError);
        assert.deepEqual(time.pauses, [1400]);
    });

    test("warm is never repeated", async () => {
        const { calls, client } = refusing(() => refusal(Code.Unavailable, { retryInfoMs: 1 }));
        await assert.rejects(async () => {
            for await (const _ of client.warm(["1"])) {
                assert.fail("nothing was loaded");
            }
        }, UnavailableError);
        assert.equal(calls.warm, 1);
    });

    test("a signal ends the pause before a repetition", async () => {
        const { calls, transport } = refusing(() => refusal(Code.Unavailable, { retryInfoMs: 60_000 }));
        const controller = new AbortController();
        const pause: typeof CLOCK.pause = (ms, signal) => {
            const paused = CLOCK.pause(ms, signal);
            controller.abort();
            return paused;
        };
        const client = new UserDataClient(transport, {}, { now: CLOCK.now, pause });
        await assert.rejects(client.get("1", { signal: controller.signal, timeoutMs: 600_000 }), CancelledError);
        assert.equal(calls.get, 1);
    });

    test("a call whose connection breaks is repeated on a new one", async () => {
        for (const how of ["destroy", "resetAndDestroy"] as const) {
            let calls = 0;
            let breakConnection = () => {};
            const answers: Answers = {
                getComprehensiveUserData: () => {
                    if (++calls > 1) {
                        return reply("a:1");
                    }
                    breakConnection();
                    return new Promise<never>(() => {});
                },
            };
            await withAnswers(answers, async (address, cut) => {
                breakConnection = () => cut(how);
                const client = UserData.connect({ address });
                assert.equal((await client.get("1")).cache.token, "a:1");
                assert.equal(calls, 2);
                client.close();
            });
        }
    });

    test("what is refused on the wire is repeated, with real pauses", async () => {
        const { answers, calls } = refusing(() => refusal(Code.ResourceExhausted, { pushback: "1" }), 2);
        await withAnswers(answers, async (address) => {
            const client = UserData.connect({ address });
            await client.get("1");
            assert.equal(calls.get, 3);
            client.close();
        });
    });
});
