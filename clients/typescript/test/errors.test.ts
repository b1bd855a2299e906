import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type AddressInfo, type Socket } from "node:net";
import { after, before, describe, mock, test } from "node:test";

import {
    CancelledError,
    DeadlineExceededError,
    InvalidArgumentError,
    NotFoundError,
    UnavailableError,
    UserData,
    UserDataError,
} from "@userdata/client";

import { Server } from "./support/server.js";
import { withAnswers } from "./support/wire.js";

/** The error of this class that a call ends with. */
async function failure<E extends UserDataError>(
    kind: abstract new (...args: never[]) => E,
    call: Promise<unknown>,
): Promise<E> {
    const error = await call.then(
        () => assert.fail("the call succeeded"),
        (error: unknown) => error,
    );
    assert.ok(error instanceof kind, String(error));
    return error;
}

describe("errors of a server", () => {
    let server: Server;
    let client: UserData;

    before(async () => {
        server = await Server.start();
        client = await server.client({ attempts: 1 });
    });
    after(async () => {
        client?.close();
        await server?.stop();
    });

    test("an unknown user is a NotFoundError with its reason and the request's id", async () => {
        const error = await failure(NotFoundError, client.get("999999"));
        assert.deepEqual([error.code, error.reason, error.retryable], ["NOT_FOUND", "USER_NOT_FOUND", false]);
        assert.equal(error.message, "NOT_FOUND: user not found (USER_NOT_FOUND)");
        assert.match(error.requestId ?? "", /^\S+$/);
        assert.equal(error.name, "NotFoundError");
    });

    test("an unknown strategy has a reason of its own", async () => {
        assert.equal(
            (await failure(NotFoundError, client.get("1", { strategyId: 999_999 }))).reason,
            "STRATEGY_NOT_FOUND",
        );
    });

    test("an invalid request names each field, and quotes no value", async () => {
        const error = await failure(
            InvalidArgumentError,
            client.get("secret\u0007user", { strategyId: -7, minToken: "secret" }),
        );
        assert.deepEqual(error.fieldViolations.map(({ field }) => field).sort(), [
            "min_token",
            "strategy_id",
            "user_id",
        ]);
        assert.doesNotMatch(`${error.stack}`, /secret|-7/);
    });

    test("a token that is ahead of the log is an UnavailableError that says when to come back", async () => {
        const { token } = await client.invalidate("1");
        const [epoch, position] = token.split(":");
        const minToken = `${epoch}:${BigInt(position ?? "") + 1_000_000n}`;
        const error = await failure(UnavailableError, client.get("1", { minToken }));
        assert.deepEqual([error.reason, error.retryable], ["TOKEN_AHEAD", true]);
        assert.ok((error.retryAfterMs ?? 0) > 0);
    });

    test("values that have no place in a request are refused before a call, in the same form", async () => {
        const calls: [string, () => unknown][] = [
            ["user_id", () => client.get(1.5)],
            ["user_id", () => client.get("\ud800")],
            ["strategy_id", () => client.get("1", { strategyId: 2 ** 53 })],
            ["strategy_id", () => client.get("1", { strategyId: 2n ** 63n })],
            ["max_age", () => client.get("1", { maxAgeMs: Number.NaN })],
            ["timeoutMs", () => client.get("1", { timeoutMs: 0 })],
            ["limit", () => client.cleanup({ limit: 1.5 })],
            ["items", () => client.warm([])],
            ["address", () => UserData.connect({ address: "localhost:50051" })],
            ["address", () => UserData.connect({ address: "http://localhost:50051/path" })],
            ["token", () => UserData.connect({ token: "se cret" })],
        ];
        for (const [field, call] of calls) {
            const error = await failure(InvalidArgumentError, (async () => call())());
            assert.deepEqual(
                error.fieldViolations.map((violation) => violation.field),
                [field],
            );
            assert.doesNotMatch(error.message, /se cret/);
        }
    });
});

describe("calls without an answer", () => {
    test("a server that is not there is an UnavailableError", async () => {
        // Port 1 is reserved, and nothing listens there.
        const client = UserData.connect({ address: "http://127.0.0.1:1", attempts: 1 });
        const error = await failure(UnavailableError, client.get("1"));
        assert.deepEqual([error.reason, error.retryable], ["", true]);
    });

    test("a handshake that does not end is given up, and is an UnavailableError", async () => {
        const silent = createServer().listen(0, "127.0.0.1");
        await once(silent, "listening");
        const { port } = silent.address() as AddressInfo;
        const client = UserData.connect({ address: `https://127.0.0.1:${port}`, attempts: 1 });
        mock.timers.enable({ apis: ["setTimeout"] });
        const call = failure(UnavailableError, client.get("1"));
        const [socket] = (await once(silent, "connection")) as [Socket];
        mock.timers.tick(5_000);
        assert.equal((await call).retryable, true);
        mock.timers.reset();
        socket.destroy();
        silent.close();
    });

    /** A server that never answers; `arrived` resolves with its first call. */
    async function silent(work: (client: UserData, arrived: Promise<void>) => Promise<void>) {
        let arrive = () => {};
        const arrived = new Promise<void>((resolve) => (arrive = resolve));
        const answers = {
            getComprehensiveUserData: () => {
                arrive();
                return new Promise<never>(() => {});
            },
        };
        await withAnswers(answers, async (address) => {
            const client = UserData.connect({ address });
            await work(client, arrived);
            client.close();
        });
    }

    test("a deadline ends a call", async () => {
        await silent(async (client) => {
            await failure(DeadlineExceededError, client.get("1", { timeoutMs: 20 }));
        });
    });

    test("a caller's signal ends a call, before and after it is sent", async () => {
        await silent(async (client, arrived) => {
            const controller = new AbortController();
            const call = failure(CancelledError, client.get("1", { signal: controller.signal }));
            await arrived;
            controller.abort(new Error("enough"));
            assert.equal(((await call).cause as Error).message, "enough");
            await failure(CancelledError, client.get("1", { signal: AbortSignal.abort() }));
        });
    });

    test("close ends the calls that are under way, and a later call connects again", async () => {
        let calls = 0;
        let arrive = () => {};
        const arrived = new Promise<void>((resolve) => (arrive = resolve));
        const answers = {
            invalidateCache: () => {
                if (++calls > 1) {
                    return { token: "a:1" };
                }
                arrive();
                return new Promise<never>(() => {});
            },
        };
        await withAnswers(answers, async (address) => {
            const client = UserData.connect({ address, attempts: 1 });
            const call = failure(CancelledError, client.invalidate("1"));
            await arrived;
            client.close();
            await call;
            assert.equal((await client.invalidate("1")).token, "a:1");
            client.close();
        });
    });
});
