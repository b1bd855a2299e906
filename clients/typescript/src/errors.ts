/**
 * Errors: one class per code, with the details that the server sends.
 *
 * A message holds the code, the server's words and the reason, and nothing of the request: it can be logged.
 */

/** gRPC's codes, as its documentation spells them. The index is the number. */
export const ERROR_CODES = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
] as const;

/** A gRPC code. */
export type ErrorCode = (typeof ERROR_CODES)[number];

/** What is wrong with one field of a request. Never quotes its value. */
export interface FieldViolation {
    /** The field as the contract names it, such as `user_id`. */
    readonly field: string;
    readonly description: string;
}

/** What is known of a failure beside its code and message. */
export interface ErrorDetails {
    readonly reason?: string | undefined;
    readonly metadata?: Readonly<Record<string, string>> | undefined;
    readonly fieldViolations?: readonly FieldViolation[] | undefined;
    readonly retryAfterMs?: number | undefined;
    readonly retryable?: boolean | undefined;
    readonly requestId?: string | undefined;
    readonly cause?: unknown;
}

/** A call that failed. Its class follows from the code; codes that the server does not send have none of their own. */
export class UserDataError extends Error {
    readonly code: ErrorCode;
    /** Why, in UPPER_SNAKE_CASE, such as `USER_NOT_FOUND`. Empty if the failure is not the server's. */
    readonly reason: string;
    /** More about the reason, such as the source that failed. */
    readonly metadata: Readonly<Record<string, string>>;
    readonly fieldViolations: readonly FieldViolation[];
    /** How long to wait at least before the call is repeated, as the server says. */
    readonly retryAfterMs: number | undefined;
    /** Whether the same call can succeed later. Where it is safe, the client has repeated it already. */
    readonly retryable: boolean;
    /** The id under which the server logs the call. */
    readonly requestId: string | undefined;

    constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
        const reason = details.reason ?? "";
        const suffix = reason === "" || reason === code ? "" : ` (${reason})`;
        super(`${code}: ${message}${suffix}`, "cause" in details ? { cause: details.cause } : {});
        this.name = new.target.name;
        this.code = code;
        this.reason = reason;
        this.metadata = details.metadata ?? {};
        this.fieldViolations = details.fieldViolations ?? [];
        this.retryAfterMs = details.retryAfterMs;
        this.retryable = details.retryable ?? false;
        this.requestId = details.requestId;
    }
}

/** The caller's `AbortSignal` ended the call, or `close()` did. */
export class CancelledError extends UserDataError {}
/** The request breaks the contract: see `fieldViolations`. */
export class InvalidArgumentError extends UserDataError {}
/** No answer came in time. The server's load continues, so a later call may find the document. */
export class DeadlineExceededError extends UserDataError {}
/** There is no such user, or no such strategy of this user. */
export class NotFoundError extends UserDataError {}
/** The caller's role does not entitle to the call. */
export class PermissionDeniedError extends UserDataError {}
/** The server is overloaded, or the reply would be too large: see `reason`. */
export class ResourceExhaustedError extends UserDataError {}
/** The request has more bytes than the server takes. */
export class OutOfRangeError extends UserDataError {}
/** The server does not know the method, or the compression. */
export class UnimplementedError extends UserDataError {}
/** A defect of the server. `requestId` finds it in the server's log. */
export class InternalError extends UserDataError {}
/** The server, or something that the answer needs, cannot be reached. */
export class UnavailableError extends UserDataError {}
/** The token or the client certificate is missing or unknown. */
export class UnauthenticatedError extends UserDataError {}

const CLASSES: Partial<Record<ErrorCode, typeof UserDataError>> = {
    CANCELLED: CancelledError,
    INVALID_ARGUMENT: InvalidArgumentError,
    DEADLINE_EXCEEDED: DeadlineExceededError,
    NOT_FOUND: NotFoundError,
    PERMISSION_DENIED: PermissionDeniedError,
    RESOURCE_EXHAUSTED: ResourceExhaustedError,
    OUT_OF_RANGE: OutOfRangeError,
    UNIMPLEMENTED: UnimplementedError,
    INTERNAL: InternalError,
    UNAVAILABLE: UnavailableError,
    UNAUTHENTICATED: UnauthenticatedError,
};

/** An error of the class that belongs to its code. */
export function errorOf(code: ErrorCode, message: string, details: ErrorDetails = {}): UserDataError {
    return new (CLASSES[code] ?? UserDataError)(code, message, details);
}

/** A mistake that needs no server to be found. It has the form of the server's. */
export function invalid(field: string, description: string): InvalidArgumentError {
    return new InvalidArgumentError("INVALID_ARGUMENT", `${field} ${description}`, {
        reason: "INVALID_ARGUMENT",
        fieldViolations: [{ field, description }],
    });
}
