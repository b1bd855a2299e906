import assert from "node:assert/strict";
import { test } from "node:test";

import type { MessageInitShape } from "@bufbuild/protobuf";
import { createRouterTransport } from "@connectrpc/connect";

import {
    InternalError,
    Section,
    State,
    UserDataClient,
    UserDataService,
    type GetComprehensiveUserDataResponseSchema,
} from "@userdata/client";

/** What a client makes of a reply. */
function received(reply: MessageInitShape<typeof GetComprehensiveUserDataResponseSchema>) {
    const transport = createRouterTransport((router) =>
        router.service(UserDataService, { getComprehensiveUserData: () => reply }),
    );
    return new UserDataClient(transport).get("1");
}

test("int64 are numbers as long as JavaScript can hold them, else text", async () => {
    const volumes = [2n ** 53n - 1n, 2n ** 53n, -(2n ** 63n)];
    const document = await received({
        data: { gapAnalysis: { keywordOpportunities: volumes.map((searchVolume) => ({ searchVolume })) } },
        cacheInfo: {},
        sections: [{ section: Section.GAP_ANALYSIS, state: State.OK }],
    });
    const { gap_analysis } = document.toJson() as {
        gap_analysis: { keyword_opportunities: { search_volume: unknown }[] };
    };
    assert.deepEqual(
        gap_analysis.keyword_opportunities.map((keyword) => keyword.search_volume),
        [9007199254740991, "9007199254740992", "-9223372036854775808"],
    );
});

test("a section without data is empty in JSON, and one that failed is absent", async () => {
    for (const [state, json] of [
        [State.NOT_FOUND, { recommendations_data: [] }],
        [State.FAILED, {}],
    ] as const) {
        const document = await received({
            data: {},
            cacheInfo: {},
            sections: [{ section: Section.RECOMMENDATIONS, state }],
        });
        assert.deepEqual(document.toJson(), json);
    }
});

test("a reply without a document is an error", async () => {
    await assert.rejects(received({ cacheInfo: {} }), InternalError);
    await assert.rejects(received({ data: {} }), InternalError);
});
