import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { createRouterTransport } from "@connectrpc/connect";

import { UserData, UserDataClient, UserDataService, Wait } from "@userdata/client";

import { Server } from "./support/server.js";
import { reply, withAnswers } from "./support/wire.js";

describe("a session against a server", () => {
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

    test("reads its own write, and only then finds the copy of it", async () => {
        await client.get("1");
        const session = client.session();
        assert.equal((await session.get("1")).cache.isCached, true);
        const { token } = await session.invalidate("1", { reason: "strategy edited", wait: Wait.ALL });
        assert.equal(session.token("1"), token);
        const document = await session.get("1");
        assert.equal(document.cache.isCached, false);
        assert.equal(session.token("1"), document.cache.token);
        assert.equal((await session.get("1")).cache.isCached, true);
    });
});

describe("a session's tokens", () => {
    /** A server that notes which tokens calls carry; the replies come when and as the test says. */
    class Recorder {
        readonly carried: string[] = [];
        private readonly waiting: ((token: string) => void)[] = [];

        answers = {
            getComprehensiveUserData: async ({ minToken }: { minToken: string }) => reply(await this.next(minToken)),
            invalidateCache: async () => ({ token: await this.next("") }),
        };

        private next(carried: string): Promise<string> {
            return new Promise((resolve) => {
                this.carried.push(carried);
                this.waiting.push(resolve);
                this.arrived();
            });
        }

        private arrived = () => {};

        /** The answer of the call with this index, once it has come. */
        async reply(call: number, token: string) {
            while (this.waiting.length <= call) {
                await new Promise<void>((resolve) => (this.arrived = resolve));
            }
            this.waiting[call]?.(token);
        }
    }

    async function recorded(work: (recorder: Recorder, client: UserData) => Promise<void>) {
        const recorder = new Recorder();
        await withAnswers(recorder.answers, async (address) => {
            const client = UserData.connect({ address });
            try {
                await work(recorder, client);
            } finally {
                client.close();
            }
        });
    }

    test("each call carries the token of the reply before it, of this user only", async () => {
        await recorded(async (recorder, client) => {
            const session = client.session();
            const calls = [
                ["1", "a:1"],
                ["1", "a:2"],
                // A new epoch: the token of the old one is not kept.
                ["1", "b:0"],
                ["2", "b:1"],
                ["1", "b:2"],
            ] as const;
            for (const [index, [user, token]] of calls.entries()) {
                const call = session.get(user);
                await recorder.reply(index, token);
                await call;
            }
            assert.deepEqual(recorder.carried, ["", "a:1", "a:2", "", "b:0"]);
        });
    });

    test("a read that was under way does not take the write's token away", async () => {
        await recorded(async (recorder, client) => {
            const session = client.session();
            const read = session.get("1");
            await recorder.reply(0, "a:4");
            await read;

            const slow = session.get("1");
            // The read has arrived before the write is sent: replies are told by the order of arrival.
            while (recorder.carried.length < 2) {
                await new Promise(setImmediate);
            }
            const write = session.invalidate("1");
            await recorder.reply(2, "a:7");
            await write;
            await recorder.reply(1, "a:5");
            await slow;
            assert.equal(session.token("1"), "a:7");
        });
    });

    test("a caller's own token only raises what a session asks for", async () => {
        await recorded(async (recorder, client) => {
            const session = client.session();
            for (const [index, minToken] of ["a:5", "a:3", "a:9"].entries()) {
                const call = session.get("1", { minToken });
                await recorder.reply(index, "a:5");
                await call;
            }
            assert.deepEqual(recorder.carried, ["a:5", "a:5", "a:9"]);
        });
    });

    test("a session of very many users forgets none of their writes", async () => {
        const carried: string[] = [];
        let position = 0;
        const transport = createRouterTransport((router) =>
            router.service(UserDataService, {
                getComprehensiveUserData: ({ minToken }) => {
                    carried.push(minToken);
                    return reply(minToken);
                },
                invalidateCache: () => ({ token: `a:${++position}` }),
            }),
        );
        const session = new UserDataClient(transport).session();
        for (let user = 0; user <= 1000; user++) {
            await session.invalidate(user);
        }
        await session.get(0);
        assert.deepEqual(carried, ["a:1"]);
    });
});
