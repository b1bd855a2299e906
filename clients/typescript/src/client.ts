/**
 * The calls, over any transport. `node.ts` and `web.ts` make the transports.
 *
 * All calls except `warm` are repeated if that can help: each of them has the same result when it is sent twice. A
 * stream is not, because its first items may have been seen.
 */

import { createClient, type Client, type Transport } from "@connectrpc/connect";

import { Calls, type Call } from "./calls.js";
import { Document } from "./document.js";
import { invalid, type UserDataError } from "./errors.js";
import { failed, ofStatus } from "./failure.js";
import {
    CacheStatus,
    UserDataService,
    type GetCacheStatsResponse,
    type WarmCacheResponse,
} from "./gen/userdata/v1/user_data_service_pb.js";
import {
    cleanupRequest,
    getRequest,
    invalidateRequest,
    statsRequest,
    warmRequest,
    type CallOptions,
    type CleanupOptions,
    type GetOptions,
    type InvalidateOptions,
    type Invalidation,
    type StatsOptions,
    type UserId,
    type WarmOptions,
    type WarmSelection,
} from "./requests.js";
import { ATTEMPTS_DEFAULT, CLOCK, repeated, type Clock } from "./retry.js";
import { Session } from "./session.js";

/** A load may call an AI endpoint. */
export const TIMEOUT_DEFAULT_MS = 15_000;
/** A thousand documents at sixty AI calls a minute take 17 minutes. */
const WARM_TIMEOUT_DEFAULT_MS = 3_600_000;
/** `grpc-timeout` has eight digits. */
const TIMEOUT_MAX_MS = 86_400_000;
const ATTEMPTS_MAX = 10;

/** Of a client. */
export interface ClientOptions {
    /** The deadline of a call that has none of its own, repetitions included: 15 s if absent. */
    timeoutMs?: number | undefined;
    /** How often a call is sent at most: 4 times if absent. 1 repeats nothing. */
    attempts?: number | undefined;
}

/** One finished item of `warm`. */
export interface WarmProgress {
    /** Items finished so far, including this one. */
    readonly done: number;
    readonly total: number;
    readonly userId: string;
    readonly strategyId: bigint | undefined;
    /** Where the document came from. `UNSPECIFIED`: the load failed. */
    readonly status: CacheStatus;
    /** Why the load failed. */
    readonly error: UserDataError | undefined;
}

export class UserDataClient {
    readonly #service: Client<typeof UserDataService>;
    readonly #timeoutMs: number;
    readonly #attempts: number;
    readonly #clock: Clock;
    readonly #calls = new Calls();

    constructor(transport: Transport, options: ClientOptions = {}, clock: Clock = CLOCK) {
        this.#service = createClient(UserDataService, transport);
        this.#timeoutMs = deadline(options.timeoutMs ?? TIMEOUT_DEFAULT_MS);
        this.#attempts = options.attempts ?? ATTEMPTS_DEFAULT;
        this.#clock = clock;
        if (!Number.isInteger(this.#attempts) || this.#attempts < 1 || this.#attempts > ATTEMPTS_MAX) {
            throw invalid("attempts", `must be an integer from 1 to ${ATTEMPTS_MAX}`);
        }
    }

    /** The document of a user. */
    async get(userId: UserId, options: GetOptions = {}): Promise<Document> {
        const request = getRequest(userId, options);
        let requestId: string | undefined;
        const onHeader = (headers: Headers) => {
            requestId = headers.get("x-request-id") ?? undefined;
        };
        const reply = await this.#repeated(options, (call) =>
            this.#service.getComprehensiveUserData(request, { ...call, onHeader }),
        );
        return new Document(reply, requestId);
    }

    /** Makes what was read of a user before this call unusable. Durable once it returns. */
    async invalidate(userId: UserId, options: InvalidateOptions = {}): Promise<Invalidation> {
        const request = invalidateRequest(userId, options);
        const reply = await this.#repeated(options, (call) => this.#service.invalidateCache(request, call));
        return { removedEntries: Number(reply.removedEntries), token: reply.token };
    }

    /** Statistics of the cache table, and of the instance that answers. */
    async stats(options: StatsOptions = {}): Promise<GetCacheStatsResponse> {
        const request = statsRequest(options);
        return await this.#repeated(options, (call) => this.#service.getCacheStats(request, call));
    }

    /** Deletes expired rows of the cache table, and says how many. */
    async cleanup(options: CleanupOptions = {}): Promise<number> {
        const request = cleanupRequest(options);
        const reply = await this.#repeated(options, (call) => this.#service.cleanupCache(request, call));
        return Number(reply.deletedCount);
    }

    /** Loads documents into the cache, and tells of each as it is finished. The loop begins the call, and leaving it ends it. */
    warm(selection: WarmSelection, options: WarmOptions = {}): AsyncGenerator<WarmProgress, void, undefined> {
        const request = warmRequest(selection, options);
        const timeoutMs = deadline(options.timeoutMs ?? WARM_TIMEOUT_DEFAULT_MS);
        const headers = options.headers ?? {};
        const send = (signal: AbortSignal) => this.#service.warmCache(request, { signal, timeoutMs, headers });
        return progress(() => this.#calls.begin(options.signal), send);
    }

    /** A session reads its own writes. */
    session(): Session {
        return new Session(this);
    }

    /** Ends all calls that are under way. Later calls work as before. */
    close(): void {
        this.#calls.end();
    }

    async #repeated<T>(
        options: CallOptions,
        send: (call: {
            timeoutMs: number;
            signal: AbortSignal;
            headers: Readonly<Record<string, string>>;
        }) => Promise<T>,
    ): Promise<T> {
        const timeoutMs = deadline(options.timeoutMs ?? this.#timeoutMs);
        const headers = options.headers ?? {};
        const { signal, done } = this.#calls.begin(options.signal);
        const retries = { attempts: this.#attempts, timeoutMs, signal, clock: this.#clock };
        try {
            return await repeated(retries, async (timeoutMs) => {
                try {
                    return await send({ timeoutMs, signal, headers });
                } catch (error) {
                    throw failed(error, signal);
                }
            });
        } catch (error) {
            // The pause before a repetition throws the signal's reason.
            throw signal.aborted ? failed(error, signal) : error;
        } finally {
            done();
        }
    }
}

async function* progress(
    begin: () => Call,
    send: (signal: AbortSignal) => AsyncIterable<WarmCacheResponse>,
): AsyncGenerator<WarmProgress, void, undefined> {
    const { signal, abort, done } = begin();
    const items = send(signal)[Symbol.asyncIterator]();
    try {
        for (let next = await items.next(); next.done !== true; next = await items.next()) {
            yield finished(next.value);
        }
    } catch (error) {
        throw failed(error, signal);
    } finally {
        abort();
        // The transport ends its timer once it is asked again; until then the timer keeps the process running.
        await items.next().catch(() => undefined);
        done();
    }
}

function finished({ done, total, item, status, error }: WarmCacheResponse): WarmProgress {
    return {
        done,
        total,
        userId: item?.userId ?? "",
        strategyId: item?.strategyId,
        status,
        error: error === undefined ? undefined : ofStatus(error),
    };
}

function deadline(timeoutMs: number): number {
    if (!(timeoutMs > 0 && timeoutMs <= TIMEOUT_MAX_MS)) {
        throw invalid("timeoutMs", "must be above 0 and at most a day");
    }
    // `grpc-timeout` has no fractions.
    return Math.ceil(timeoutMs);
}
