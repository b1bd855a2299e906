/**
 * Repeats a call that is safe to repeat, within its deadline.
 *
 * The server's own delay comes first: a caller that comes back earlier is refused again. A delay that ends after the
 * deadline is not waited for.
 */

import { UserDataError } from "./errors.js";

// As the service configuration of docs/calling.md. The last attempt begins three to four seconds after the first.
export const ATTEMPTS_DEFAULT = 4;
const BACKOFF_FIRST_MS = 500;
const BACKOFF_MAX_MS = 3000;
/** Callers that failed together do not come back together. */
const JITTER = 0.2;

/** What the retries need of the world. */
export interface Clock {
    /** Milliseconds that only grow. */
    now(): number;
    /** Waits, or rejects once the signal is aborted. */
    pause(ms: number, signal: AbortSignal | undefined): Promise<void>;
}

export interface Retries {
    readonly attempts: number;
    readonly timeoutMs: number;
    readonly signal: AbortSignal | undefined;
    readonly clock: Clock;
}

/** Calls until a call succeeds, fails for good, or no attempt is left. Each call gets the time that remains. */
export async function repeated<T>(retries: Retries, call: (timeoutMs: number) => Promise<T>): Promise<T> {
    const { attempts, timeoutMs, signal, clock } = retries;
    const end = clock.now() + timeoutMs;
    let remaining = timeoutMs;
    for (let attempt = 1; ; attempt++) {
        try {
            return await call(remaining);
        } catch (error) {
            const delay = attempt < attempts ? delayMs(error, attempt) : undefined;
            if (delay === undefined || clock.now() + delay >= end) {
                throw error;
            }
            await clock.pause(delay, signal);
            // `grpc-timeout` has no fractions.
            remaining = Math.max(Math.ceil(end - clock.now()), 1);
        }
    }
}

/** Nothing if the call must not be repeated. */
function delayMs(error: unknown, attempt: number): number | undefined {
    if (!(error instanceof UserDataError) || !error.retryable) {
        return undefined;
    }
    const backoff = Math.min(BACKOFF_FIRST_MS * 2 ** (attempt - 1), BACKOFF_MAX_MS);
    const jittered = backoff * (1 - JITTER + 2 * JITTER * Math.random());
    return Math.max(error.retryAfterMs ?? 0, jittered);
}

/** Time as it passes. */
export const CLOCK: Clock = {
    now: () => performance.now(),
    pause: (ms, signal) =>
        new Promise((resolve, reject) => {
            const stop = () => {
                clearTimeout(timer);
                reject(signal?.reason as Error);
            };
            const timer = setTimeout(() => {
                signal?.removeEventListener("abort", stop);
                resolve();
            }, ms);
            signal?.aborted === true ? stop() : signal?.addEventListener("abort", stop, { once: true });
        }),
};
