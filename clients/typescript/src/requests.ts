/** What callers pass, and the requests made of it. The server judges values; here they only get their form. */

import { create, type JsonObject } from "@bufbuild/protobuf";
import { durationFromMs, type Duration } from "@bufbuild/protobuf/wkt";

import { invalid } from "./errors.js";
import type { Section } from "./gen/userdata/v1/comprehensive_user_data_pb.js";
import {
    CleanupCacheRequestSchema,
    GetCacheStatsRequestSchema,
    GetComprehensiveUserDataRequestSchema,
    InvalidateCacheRequestSchema,
    Freshness,
    Wait,
    WarmCacheRequestSchema,
} from "./gen/userdata/v1/user_data_service_pb.js";

/** The id of a user. An integer is written in decimal. */
export type UserId = string | number | bigint;
/** The id of a strategy, at least 1. */
export type StrategyId = number | bigint;

/** Of every call. */
export interface CallOptions {
    /** Ends the call with a `CancelledError`. */
    signal?: AbortSignal | undefined;
    /** The deadline of this call, repetitions included. */
    timeoutMs?: number | undefined;
    /** More headers, such as `x-request-id` (an id of your own for the server's log) and `traceparent`. */
    headers?: Readonly<Record<string, string>> | undefined;
}

export interface GetOptions extends CallOptions {
    /** Absent: the active strategy of the user. */
    strategyId?: StrategyId | undefined;
    /** The sections to return. Absent or empty: all. */
    sections?: readonly Section[] | undefined;
    /** Part of the cache key. */
    params?: JsonObject | undefined;
    /** The answer must be at least as new as the invalidation that returned this token. */
    minToken?: string | undefined;
    /** How fresh the answer must be. */
    freshness?: Freshness | undefined;
    /** A cached document older than this is not used. */
    maxAgeMs?: number | undefined;
    /** Read the sources and call the AI endpoint instead of using a cached copy. */
    refresh?: boolean | undefined;
}

export interface InvalidateOptions extends CallOptions {
    /** Only documents of this strategy and those without a strategy. */
    strategyId?: StrategyId | undefined;
    /** When the call returns: once this instance applies the invalidation, or once all do. */
    wait?: Wait | undefined;
    /** For the audit log. It is logged. */
    reason?: string | undefined;
    /** Also delete what is stored of the user, before the call returns. */
    purge?: boolean | undefined;
}

/** The acknowledgement of an invalidation that is durable. */
export interface Invalidation {
    /** Rows deleted from the cache table. */
    readonly removedEntries: number;
    /** For `minToken` of a later read. */
    readonly token: string;
}

export interface StatsOptions extends CallOptions {
    /** How many of the most accessed documents to list. */
    mostAccessedLimit?: number | undefined;
    /** Leave out what needs a database. */
    instanceOnly?: boolean | undefined;
}

export interface CleanupOptions extends CallOptions {
    /** Rows to delete at most. Absent: all expired rows. */
    limit?: number | undefined;
}

/** A document to load: of the user's active strategy, or of this one. */
export type WarmTarget = UserId | { readonly userId: UserId; readonly strategyId?: StrategyId | undefined };
/** The documents to load: these, or so many of the most accessed. */
export type WarmSelection = Iterable<WarmTarget> | { readonly mostAccessed: number };

export interface WarmOptions extends CallOptions {
    /** Loads in parallel. */
    concurrency?: number | undefined;
}

export function getRequest(userId: UserId, options: GetOptions) {
    return create(GetComprehensiveUserDataRequestSchema, {
        ...document(userId, options.strategyId),
        forceRefresh: options.refresh ?? false,
        ...(options.params === undefined ? {} : { parameters: options.params }),
        sections: [...(options.sections ?? [])],
        minToken: options.minToken ?? "",
        freshness: options.freshness ?? Freshness.UNSPECIFIED,
        ...(options.maxAgeMs === undefined ? {} : { maxAge: duration("max_age", options.maxAgeMs) }),
    });
}

export function invalidateRequest(userId: UserId, options: InvalidateOptions) {
    return create(InvalidateCacheRequestSchema, {
        ...document(userId, options.strategyId),
        wait: options.wait ?? Wait.UNSPECIFIED,
        reason: text("reason", options.reason ?? ""),
        purge: options.purge ?? false,
    });
}

export function statsRequest(options: StatsOptions) {
    return create(GetCacheStatsRequestSchema, {
        mostAccessedLimit: int32("most_accessed_limit", options.mostAccessedLimit ?? 0),
        instanceOnly: options.instanceOnly ?? false,
    });
}

export function cleanupRequest(options: CleanupOptions) {
    return create(CleanupCacheRequestSchema, { limit: int32("limit", options.limit ?? 0) });
}

export function warmRequest(selection: WarmSelection, options: WarmOptions) {
    const concurrency = int32("concurrency", options.concurrency ?? 0);
    if ("mostAccessed" in selection) {
        return create(WarmCacheRequestSchema, {
            concurrency,
            mostAccessed: int32("most_accessed", selection.mostAccessed),
        });
    }
    const items = Array.from(selection, (item) =>
        typeof item === "object" ? document(item.userId, item.strategyId) : document(item, undefined),
    );
    if (items.length === 0) {
        // The server would take it for a request for the most accessed documents.
        throw invalid("items", "must not be empty");
    }
    return create(WarmCacheRequestSchema, { concurrency, items });
}

/** An id as the contract wants it. */
export function idText(userId: UserId): string {
    return typeof userId === "string" ? text("user_id", userId) : integer("user_id", userId).toString();
}

function document(userId: UserId, strategyId: StrategyId | undefined) {
    return {
        userId: idText(userId),
        ...(strategyId === undefined ? {} : { strategyId: int64("strategy_id", strategyId) }),
    };
}

/** Half a surrogate pair has no UTF-8. It would be sent as another character, which is another user. */
function text(field: string, value: string): string {
    if (/\p{Surrogate}/u.test(value)) {
        throw invalid(field, "must be well-formed text");
    }
    return value;
}

function integer(field: string, value: number | bigint): bigint {
    if (typeof value === "number" && !Number.isSafeInteger(value)) {
        throw invalid(field, "must be a safe integer; pass a larger one as a bigint");
    }
    return BigInt(value);
}

function int64(field: string, value: number | bigint): bigint {
    const whole = integer(field, value);
    if (BigInt.asIntN(64, whole) !== whole) {
        throw invalid(field, "must fit into 64 bits");
    }
    return whole;
}

function int32(field: string, value: number): number {
    if ((value | 0) !== value) {
        throw invalid(field, "must be an integer of 32 bits");
    }
    return value;
}

function duration(field: string, ms: number): Duration {
    if (!Number.isSafeInteger(ms)) {
        throw invalid(field, "must be a whole number of milliseconds");
    }
    return durationFromMs(ms);
}
