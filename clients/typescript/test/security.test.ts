import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createHash, randomBytes } from "node:crypto";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";

import { PermissionDeniedError, UnauthenticatedError, UnavailableError, UserData } from "@userdata/client";

import { PATIENCE_MS, Server } from "./support/server.js";

describe("a server with TLS and callers", () => {
    const directory = mkdtempSync(join(tmpdir(), "userdata-tls-"));
    const [cert, key, callers] = ["cert.pem", "key.pem", "callers"].map((name) => join(directory, name)) as [
        string,
        string,
        string,
    ];
    const token = randomBytes(32).toString("hex");
    let server: Server;

    before(async () => {
        execFileSync(
            "openssl",
            [
                ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"],
                ["-subj", "/CN=userdata", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert],
            ].flat(),
            { stdio: "pipe" },
        );
        const digest = createHash("sha256").update(token).digest("hex");
        writeFileSync(callers, `reader ${digest} planner\n`);
        server = await Server.start([
            `tls.cert=${cert}`,
            `tls.key=${key}`,
            "auth.mode=token",
            `auth.tokens_file=${callers}`,
        ]);
        assert.match(server.address, /^https:/);
    });
    after(async () => {
        await server?.stop();
        rmSync(directory, { recursive: true });
    });

    async function connected(
        options: Parameters<typeof UserData.connect>[0],
        work: (client: UserData) => Promise<unknown>,
    ) {
        const client = UserData.connect({ address: server.address, attempts: 1, timeoutMs: PATIENCE_MS, ...options });
        try {
            await work(client);
        } finally {
            client.close();
        }
    }

    test("a caller with the CA and a token is served, also if a line feed ends the token", async () => {
        await connected({ tlsCa: cert, token: `${token}\n` }, (client) => client.get("1"));
    });

    test("a token that does not fit is an UnauthenticatedError", async () => {
        await connected({ tlsCa: cert }, (client) => assert.rejects(client.get("1"), UnauthenticatedError));
        await connected({ tlsCa: cert, token: "x".repeat(64) }, (client) =>
            assert.rejects(client.get("1"), (error: Error) => {
                assert.ok(error instanceof UnauthenticatedError);
                assert.doesNotMatch(`${error.stack}`, /xxxx/);
                return true;
            }),
        );
    });

    test("a role that does not entitle is a PermissionDeniedError that names role and method", async () => {
        await connected({ tlsCa: cert, token }, async (client) => {
            await assert.rejects(client.invalidate("1"), (error: unknown) => {
                assert.ok(error instanceof PermissionDeniedError);
                assert.equal(error.metadata["role"], "reader");
                return true;
            });
        });
    });

    test("a certificate of another CA is an UnavailableError that is not repeated", async () => {
        await connected({ token }, (client) =>
            assert.rejects(client.get("1"), (error: unknown) => error instanceof UnavailableError && !error.retryable),
        );
    });

    test("the environment names address, token and CA", async () => {
        Object.assign(process.env, { USERDATA_ADDR: server.address, USERDATA_TOKEN: token, USERDATA_TLS_CA: cert });
        const client = UserData.fromEnv({ timeoutMs: PATIENCE_MS });
        assert.equal((await client.get("1")).data.userId, "1");
        client.close();
    });
});
