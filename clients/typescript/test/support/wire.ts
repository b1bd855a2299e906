/**
 * A server on the wire whose answers a test chooses, for what the real one does only under load: refusals, delays,
 * replies out of order.
 */

import { once } from "node:events";
import { createServer as createServer1 } from "node:http";
import { createServer as createServer2 } from "node:http2";
import type { AddressInfo, Socket } from "node:net";

import type { ServiceImpl } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";

import { UserDataService } from "@userdata/client";

export type Answers = Partial<ServiceImpl<typeof UserDataService>>;

/** Runs `work` against these answers, over HTTP/2 for gRPC or HTTP/1.1 for `fetch`. `cut` breaks all connections. */
export async function withAnswers(
    answers: Answers,
    work: (address: string, cut: (how: "destroy" | "resetAndDestroy") => void) => Promise<void>,
    http: "http1" | "http2" = "http2",
): Promise<void> {
    const adapter = connectNodeAdapter({ routes: (router) => router.service(UserDataService, answers) });
    const server = http === "http2" ? createServer2(adapter) : createServer1(adapter);
    const sockets = new Set<Socket>();
    server.on("connection", (socket: Socket) => sockets.add(socket));
    const cut = (how: "destroy" | "resetAndDestroy") => sockets.forEach((socket) => socket[how]());
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    try {
        await work(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, cut);
    } finally {
        server.close();
        cut("destroy");
    }
}

/** The least that a reply has to have. */
export function reply(token: string) {
    return { data: { userId: "1" }, cacheInfo: { token }, sections: [] };
}
