/** The connection to a server: made anew when it is lost, probed after a silence, and given up if it takes too long. */

import type {
    ClientHttp2Stream,
    ClientSessionRequestOptions,
    OutgoingHttpHeaders,
    SecureClientSessionOptions,
} from "node:http2";

import { Code, ConnectError } from "@connectrpc/connect";
import { Http2SessionManager, type GrpcTransportOptions } from "@connectrpc/connect-node";

/** Node has no limit for a handshake. All calls would wait for one that a network has swallowed. */
const CONNECT_TIMEOUT_MS = 5_000;
/** As the server's. A connection that has gone silent is noticed, and one that was idle is probed before it is used. */
const PING_INTERVAL_MS = 30_000;
const PING_TIMEOUT_MS = 10_000;
/** The server ends a connection after 5 minutes without a request. This side is first, so no request meets that end. */
const IDLE_MS = 4 * 60_000;

type SessionManager = NonNullable<GrpcTransportOptions["sessionManager"]>;

export class Connections implements SessionManager {
    readonly authority: string;
    readonly #manager: Http2SessionManager;

    constructor(url: URL, options: SecureClientSessionOptions) {
        this.#manager = new Http2SessionManager(
            url,
            { pingIntervalMs: PING_INTERVAL_MS, pingTimeoutMs: PING_TIMEOUT_MS, idleConnectionTimeoutMs: IDLE_MS },
            options,
        );
        this.authority = this.#manager.authority;
    }

    async request(
        method: string,
        path: string,
        headers: OutgoingHttpHeaders,
        options: Omit<ClientSessionRequestOptions, "signal">,
    ): Promise<ClientHttp2Stream> {
        const timer = setTimeout(() => {
            if (this.#manager.state() === "connecting") {
                const message = `no connection to ${this.authority} within ${CONNECT_TIMEOUT_MS} ms`;
                this.#manager.abort(new ConnectError(message, Code.Unavailable));
            }
        }, CONNECT_TIMEOUT_MS);
        try {
            return await this.#manager.request(method, path, headers, options);
        } finally {
            clearTimeout(timer);
        }
    }

    notifyResponseByteRead(stream: ClientHttp2Stream): void {
        this.#manager.notifyResponseByteRead(stream);
    }

    /** Ends the connection. The next request makes another. */
    end(): void {
        this.#manager.abort();
    }
}
