/** The entry for Node: gRPC over HTTP/2. */

import { readFileSync } from "node:fs";

import { createGrpcTransport } from "@connectrpc/connect-node";

import { bearer, origin } from "./address.js";
import { UserDataClient, type ClientOptions } from "./client.js";
import { Connections } from "./connections.js";
import { errorOf } from "./errors.js";

export * from "./api.js";

export const ADDRESS_DEFAULT = "http://127.0.0.1:50051";

/** A reply has at most 4 MiB by default, and the server's limit can be raised. */
const REPLY_BYTES_MAX = 8 * 1024 * 1024;
export interface ConnectOptions extends ClientOptions {
    /** `http://HOST:PORT` or `https://HOST:PORT`. Absent: `http://127.0.0.1:50051`. */
    address?: string | undefined;
    /** Sent as a bearer token. */
    token?: string | undefined;
    /** The file of the CA that signed the server's certificate, in PEM. Absent: Node's own CAs. */
    tlsCa?: string | undefined;
    /** The file of a client certificate, in PEM, and that of its key. */
    tlsCert?: string | undefined;
    tlsKey?: string | undefined;
}

export class UserData extends UserDataClient {
    readonly #connections: Connections;

    private constructor(options: ConnectOptions) {
        const url = origin(options.address ?? ADDRESS_DEFAULT);
        const connections = new Connections(url, url.protocol === "https:" ? tls(options) : {});
        const transport = createGrpcTransport({
            baseUrl: url.origin,
            sessionManager: connections,
            interceptors: bearer(options.token),
            // The server compresses nothing.
            acceptCompression: [],
            readMaxBytes: REPLY_BYTES_MAX,
        });
        super(transport, options);
        this.#connections = connections;
    }

    /** A client of one server. It connects with the first call, and again after a connection is lost. */
    static connect(options: ConnectOptions = {}): UserData {
        return new UserData(options);
    }

    /** With USERDATA_ADDR, USERDATA_TOKEN and USERDATA_TLS_CA; options that are given come first. */
    static fromEnv(options: ConnectOptions = {}): UserData {
        return new UserData({
            ...options,
            address: options.address ?? variable("USERDATA_ADDR"),
            token: options.token ?? variable("USERDATA_TOKEN"),
            tlsCa: options.tlsCa ?? variable("USERDATA_TLS_CA"),
        });
    }

    /** Ends the connection, and all calls that are under way. A later call connects again. */
    override close(): void {
        super.close();
        this.#connections.end();
    }
}

function tls(options: ConnectOptions) {
    return {
        // As the server.
        minVersion: "TLSv1.3" as const,
        ...(options.tlsCa === undefined ? {} : { ca: read("tlsCa", options.tlsCa) }),
        ...(options.tlsCert === undefined ? {} : { cert: read("tlsCert", options.tlsCert) }),
        ...(options.tlsKey === undefined ? {} : { key: read("tlsKey", options.tlsKey) }),
    };
}

function read(option: string, file: string): Buffer {
    try {
        return readFileSync(file);
    } catch (cause) {
        const message = cause instanceof Error ? cause.message : "cannot be read";
        throw errorOf("INVALID_ARGUMENT", `${option}: ${message}`, { cause });
    }
}

/** An empty variable is as none. */
function variable(name: string): string | undefined {
    return process.env[name] || undefined;
}
