/** A server of our own: `userdata serve --demo` on free ports, with its data in a temporary directory. */

import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

import { Freshness, UserData, type ConnectOptions } from "@userdata/client";

const BINARY = resolve(process.env["USERDATA_BIN"] ?? "../../target/debug/userdata");

/** On a busy machine a first load takes seconds. */
export const PATIENCE_MS = 60_000;

export class Server {
    private constructor(
        private readonly child: ChildProcess,
        private readonly directory: string,
        readonly address: string,
        /** Of the HTTP listener. */
        readonly httpAddress: string,
    ) {}

    /** Serves once this returns. `settings` are those of `--set`. */
    static async start(settings: readonly string[] = []): Promise<Server> {
        const directory = mkdtempSync(join(tmpdir(), "userdata-client-"));
        const set = settings.flatMap((setting) => ["--set", setting]);
        const child = spawn(
            BINARY,
            [
                ["serve", "--demo", "--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"],
                ["--metrics-listen", "127.0.0.1:0"],
                set,
            ].flat(),
            // The database is in the working directory. No setting of the machine's own applies.
            { cwd: directory, stdio: ["ignore", "pipe", "pipe"], env: {} },
        );
        // Also when a test fails in a way that runs no `after`, and when the runner ends this process.
        process.on("exit", () => child.kill("SIGKILL"));
        process.once("SIGTERM", () => process.exit(1));
        const [address, httpAddress] = await listening(child);
        return new Server(child, directory, address, httpAddress);
    }

    /** A client. Its first call is over, and has read all notes of the demo's own writes: what is cached then stays so. */
    async client(options: ConnectOptions = {}): Promise<UserData> {
        const client = UserData.connect({ address: this.address, timeoutMs: PATIENCE_MS, ...options });
        await client.get("29", { freshness: Freshness.LINEARIZABLE });
        return client;
    }

    async stop(): Promise<void> {
        if (this.child.exitCode === null && this.child.signalCode === null) {
            const exit = once(this.child, "exit");
            this.child.kill("SIGTERM");
            await exit;
        }
        rmSync(this.directory, { recursive: true, force: true });
    }
}

/** The two addresses in the banner. It is printed once the ports are open. */
function listening(child: ChildProcess): Promise<[string, string]> {
    return new Promise((resolve, reject) => {
        let output = "";
        const read = (chunk: Buffer) => {
            output += chunk.toString();
            const address = /listening on (\S+)\s/.exec(output)?.[1];
            const httpAddress = /HTTP +(\S+): /.exec(output)?.[1];
            if (address !== undefined && httpAddress !== undefined) {
                resolve([address, httpAddress]);
            }
        };
        child.stdout?.on("data", read);
        child.stderr?.on("data", read);
        child.on("error", reject);
        child.on("exit", (code) => reject(new Error(`userdata ended with ${code}:\n${output}`)));
    });
}
