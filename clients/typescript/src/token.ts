/**
 * Tokens: `epoch:position`, a place in the server's invalidation log.
 *
 * Positions of one epoch can be compared. Of two epochs the older one is over: with either token the server answers with
 * nothing older than what the newer one stands for.
 */

/** The newer of two tokens; the second one if their order is not known. */
export function newer(first: string | undefined, second: string | undefined): string | undefined {
    if (!first || !second) {
        return first || second;
    }
    const [a, b] = [parsed(first), parsed(second)];
    return a !== undefined && b !== undefined && a.epoch === b.epoch && a.position > b.position ? first : second;
}

function parsed(token: string): { epoch: string; position: bigint } | undefined {
    const match = /^(.+):(\d{1,19})$/.exec(token);
    return match === null ? undefined : { epoch: match[1] ?? "", position: BigInt(match[2] ?? "") };
}
