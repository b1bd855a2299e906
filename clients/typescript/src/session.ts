/**
 * A session reads its own writes, whichever instance answers.
 *
 * It passes the newest token of a user with each call, and replaces it by the one of each reply. A token that is kept
 * for long would become one of an older epoch, and then cost a full load at every call.
 */

import type { UserDataClient } from "./client.js";
import type { Document } from "./document.js";
import { idText, type GetOptions, type InvalidateOptions, type Invalidation, type UserId } from "./requests.js";
import { newer } from "./token.js";

/** A session is one piece of work, not a process: a caller that keeps it longer costs some memory, no freshness. */
const USERS_MAX = 1000;

export class Session {
    readonly #client: UserDataClient;
    /** By user, the one used last at the end. */
    readonly #tokens = new Map<string, string>();
    /** The newest token of the users that had to leave the map. One log serves all users, so it holds for each of them. */
    #departed: string | undefined;

    constructor(client: UserDataClient) {
        this.#client = client;
    }

    /** As the client's. `minToken` can only raise what the session asks for. */
    async get(userId: UserId, options: GetOptions = {}): Promise<Document> {
        const user = idText(userId);
        const held = this.token(user);
        const minToken = newer(held, options.minToken);
        const document = await this.#client.get(user, minToken === undefined ? options : { ...options, minToken });
        this.#replace(user, held, document.cache.token);
        return document;
    }

    /** As the client's. Later reads of this session get nothing older. */
    async invalidate(userId: UserId, options: InvalidateOptions = {}): Promise<Invalidation> {
        const user = idText(userId);
        const held = this.token(user);
        const invalidation = await this.#client.invalidate(user, options);
        this.#replace(user, held, invalidation.token);
        return invalidation;
    }

    /** The token that the next call for this user passes: hand it to another process that has to read the same. */
    token(userId: UserId): string | undefined {
        return this.#tokens.get(idText(userId)) ?? this.#departed;
    }

    /** A reply replaces the token that its call has carried. If another call has replaced it meanwhile, the newer stays. */
    #replace(user: string, carried: string | undefined, received: string) {
        const held = this.token(user);
        const token = held === carried && received !== "" ? received : newer(held, received);
        if (token === undefined) {
            return;
        }
        this.#tokens.delete(user);
        this.#tokens.set(user, token);
        const [oldest] = this.#tokens;
        if (this.#tokens.size > USERS_MAX && oldest !== undefined) {
            this.#tokens.delete(oldest[0]);
            this.#departed = newer(this.#departed, oldest[1]);
        }
    }
}
