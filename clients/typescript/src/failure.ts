/**
 * Failures of the transport as errors of the client: decodes google.rpc's details, and tells the server's words from
 * those of the connection.
 */

import { durationMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";

import { ERROR_CODES, errorOf, type UserDataError } from "./errors.js";
import {
    BadRequestSchema,
    ErrorInfoSchema,
    RequestInfoSchema,
    RetryInfoSchema,
} from "./gen/google/rpc/error_details_pb.js";
import type { Status } from "./gen/google/rpc/status_pb.js";

/** gRPC's own form of "come back in": milliseconds, or a negative number for "do not". */
const PUSHBACK = "grpc-retry-pushback-ms";
const REQUEST_ID = "x-request-id";

/** What Node says of a connection that could not be made, or was lost. A call on a new one can succeed. */
const LOST =
    /^(E(AI_AGAIN|CONN(ABORTED|REFUSED|RESET)|HOSTUNREACH|NETUNREACH|NOTFOUND|PIPE|TIMEDOUT)|ERR_(HTTP2|STREAM)_\w+)$/;

/** The error that a caller gets for what a call threw. */
export function failed(thrown: unknown, signal: AbortSignal): UserDataError {
    const error = ConnectError.from(thrown);
    if (signal.aborted) {
        return errorOf("CANCELLED", "the caller ended the call", { cause: signal.reason });
    }
    const lost = connectionFailure(error);
    if (lost !== undefined) {
        return errorOf("UNAVAILABLE", error.rawMessage, { retryable: LOST.test(lost), cause: error });
    }
    return ofServer(error);
}

/** The error of one item of a stream. */
export function ofStatus(status: Status): UserDataError {
    const error = new ConnectError(status.message, status.code);
    error.details = status.details.map(({ typeUrl, value }) => ({
        type: typeUrl.slice(typeUrl.lastIndexOf("/") + 1),
        value,
    }));
    return ofServer(error);
}

function ofServer(error: ConnectError): UserDataError {
    const code = ERROR_CODES[error.code] ?? "UNKNOWN";
    const [info] = error.findDetails(ErrorInfoSchema);
    const [request] = error.findDetails(RequestInfoSchema);
    const [retry] = error.findDetails(RetryInfoSchema);
    const violations = error.findDetails(BadRequestSchema).flatMap((bad) => bad.fieldViolations);
    const pushback = error.metadata.get(PUSHBACK);
    const retryAfterMs = pushback !== null ? milliseconds(pushback) : retry?.retryDelay && durationMs(retry.retryDelay);
    // RESOURCE_EXHAUSTED also stands for a reply that is too large. Then the server names no delay.
    const transient = code === "UNAVAILABLE" || (code === "RESOURCE_EXHAUSTED" && retryAfterMs !== undefined);
    return errorOf(code, error.rawMessage, {
        reason: info?.reason,
        metadata: info?.metadata,
        fieldViolations: violations.map(({ field, description }) => ({ field, description })),
        retryAfterMs,
        retryable: transient && (pushback === null || retryAfterMs !== undefined),
        requestId: request?.requestId ?? error.metadata.get(REQUEST_ID) ?? undefined,
        cause: error,
    });
}

/** gRPC takes anything else as "do not repeat". */
function milliseconds(pushback: string): number | undefined {
    return /^\d+$/.test(pushback) ? Number(pushback) : undefined;
}

/** The name of a failure of the connection; nothing if a server has answered. */
function connectionFailure(error: ConnectError): string | undefined {
    if (error.metadata.has("grpc-status") || error.details.length > 0) {
        return undefined;
    }
    // So ends the stream of a connection that the other side has closed.
    let name = error.code === Code.Canceled ? "ECONNRESET" : undefined;
    for (let cause = error.cause; cause instanceof Error; cause = cause.cause) {
        if ("code" in cause && typeof cause.code === "string") {
            return cause.code;
        }
        if (cause instanceof TypeError) {
            // What `fetch` throws, without a name.
            name = "ECONNRESET";
        }
    }
    return name;
}
