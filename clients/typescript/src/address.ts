/** The bearer token of a caller. */

import type { Interceptor } from "@connectrpc/connect";

import { invalid } from "./errors.js";

/** Sends the token with every call. Blanks around it are left out: a file or a secret often ends with a line feed. */
export function bearer(token: string | undefined): Interceptor[] {
    const trimmed = (token ?? "").trim();
    if (trimmed === "") {
        return [];
    }
    if (!/^[\x21-\x7e]+$/.test(trimmed)) {
        // Without the token: errors are logged.
        throw invalid("token", "must be visible ASCII characters without spaces");
    }
    return [
        (next) => (request) => {
            request.header.set("authorization", `Bearer ${trimmed}`);
            return next(request);
        },
    ];
}

/** The origin of a server. A path would be left out of the calls without a word. */
export function origin(address: string): URL {
    const url = URL.canParse(address) ? new URL(address) : undefined;
    if (url === undefined || !["http:", "https:"].includes(url.protocol) || url.href !== `${url.origin}/`) {
        throw invalid("address", "must be http://HOST:PORT or https://HOST:PORT");
    }
    return url;
}
