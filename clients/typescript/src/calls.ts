/** The calls that are under way: each ends with its caller's signal, or when the client is closed. */

/** One call. */
export interface Call {
    /** Aborted once the call has to end. */
    readonly signal: AbortSignal;
    /** Ends the call. */
    abort(): void;
    /** Forgets the call: it is over. */
    done(): void;
}

export class Calls {
    readonly #open = new Set<AbortController>();

    begin(signal: AbortSignal | undefined): Call {
        const controller = new AbortController();
        const follow = () => controller.abort(signal?.reason);
        if (signal?.aborted === true) {
            follow();
        } else {
            signal?.addEventListener("abort", follow);
        }
        this.#open.add(controller);
        return {
            signal: controller.signal,
            abort: () => controller.abort(),
            done: () => {
                signal?.removeEventListener("abort", follow);
                this.#open.delete(controller);
            },
        };
    }

    /** Ends all of them. */
    end() {
        this.#open.forEach((controller) => controller.abort(new Error("the client was closed")));
    }
}
