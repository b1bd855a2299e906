/**
 * The entry for browsers, and other places with `fetch`: Connect's protocol over HTTP.
 *
 * It needs the server's HTTP listener. The gRPC port does not speak this protocol.
 */

import { createConnectTransport } from "@connectrpc/connect-web";

import { bearer, origin } from "./address.js";
import { UserDataClient, type ClientOptions } from "./client.js";

export * from "./api.js";

export interface ConnectOptions extends ClientOptions {
    /** `http://HOST:PORT` or `https://HOST:PORT` of the HTTP listener. */
    address: string;
    /** Sent as a bearer token. */
    token?: string | undefined;
    /** In place of the global `fetch`. */
    fetch?: typeof globalThis.fetch | undefined;
}

export class UserData extends UserDataClient {
    /** A client of one server. */
    static connect(options: ConnectOptions): UserData {
        const transport = createConnectTransport({
            baseUrl: origin(options.address).origin,
            useBinaryFormat: true,
            interceptors: bearer(options.token),
            ...(options.fetch === undefined ? {} : { fetch: options.fetch }),
        });
        return new UserData(transport, options);
    }
}
