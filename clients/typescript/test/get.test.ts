import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import {
    CacheStatus,
    ComprehensiveUserDataSchema,
    Freshness,
    plainJson,
    Section,
    State,
    UserData,
    type JsonObject,
} from "@userdata/client";

import { Server } from "./support/server.js";

describe("get", () => {
    let server: Server;
    let client: UserData;

    before(async () => {
        server = await Server.start();
        client = await server.client();
    });
    after(async () => {
        client?.close();
        await server?.stop();
    });

    test("returns the whole document, first assembled, then from memory", async () => {
        const first = await client.get("1");
        assert.equal(first.cache.status, CacheStatus.ASSEMBLED);
        assert.equal(first.data.userId, "1");
        assert.equal(first.data.industry, "Technology");
        assert.equal(first.sections.length, 7);
        assert.ok(first.sections.every((report) => report.state === State.OK));
        assert.match(first.requestId ?? "", /^\S+$/);

        const second = await client.get(1);
        assert.equal(second.cache.status, CacheStatus.HIT_MEMORY);
        assert.deepEqual(second.data, first.data);
    });

    test("takes a strategy as a number or as a bigint", async () => {
        const { data } = await client.get("1");
        const strategyId = data.strategyData?.strategyId;
        assert.ok(strategyId !== undefined);
        const asBigint = await client.get("1", { strategyId });
        const asNumber = await client.get("1", { strategyId: Number(strategyId) });
        assert.equal(asBigint.data.strategyData?.strategyId, strategyId);
        assert.equal(asNumber.cache.dataHash, asBigint.cache.dataHash);
        assert.notEqual(asNumber.cache.dataHash, (await client.get("1")).cache.dataHash);
    });

    test("gives the sections that were asked for, and no other keys in JSON", async () => {
        const document = await client.get("2", { sections: [Section.STRATEGY, Section.RECOMMENDATIONS] });
        assert.deepEqual(
            document.sections.map((report) => report.section),
            [Section.STRATEGY, Section.RECOMMENDATIONS],
        );
        assert.equal(document.section(Section.ONBOARDING), undefined);
        assert.deepEqual(Object.keys(document.toJson()).sort(), [
            "quality_indicators",
            "recommendations_data",
            "strategy_analysis",
            "strategy_data",
        ]);
    });

    test("knows the section of each field", async () => {
        const { data } = await client.get("7");
        const keys: string[] = [];
        for (const section of Object.values(Section)) {
            if (typeof section === "number" && section !== Section.UNSPECIFIED) {
                keys.push(...Object.keys((await client.get("7", { sections: [section] })).toJson()));
            }
        }
        assert.deepEqual(keys.sort(), Object.keys(plainJson(ComprehensiveUserDataSchema, data)).sort());
    });

    test("gives JSON that JSON.stringify takes, with int64 as numbers", async () => {
        const document = await client.get("1");
        const json = document.toJson();
        assert.deepEqual(JSON.parse(JSON.stringify(document)), json);
        const { strategyData, gapAnalysis } = document.data;
        assert.equal(typeof strategyData?.strategyId, "bigint");
        assert.equal((json["strategy_data"] as JsonObject)["strategy_id"], Number(strategyData?.strategyId));
        const volumes = (json["gap_analysis"] as { keyword_opportunities: { search_volume?: number }[] })
            .keyword_opportunities;
        assert.deepEqual(
            volumes.map((keyword) => keyword.search_volume),
            gapAnalysis?.keywordOpportunities.map(({ searchVolume }) => Number(searchVolume)),
        );
    });

    test("takes parameters, which make another document", async () => {
        const plain = await client.get("3");
        const other = await client.get("3", { params: { tone: "formal", depth: 2 } });
        assert.notEqual(other.cache.dataHash, plain.cache.dataHash);
        assert.equal(other.cache.status, CacheStatus.ASSEMBLED);
    });

    test("passes headers, so that caller and log have one id", async () => {
        const headers = { "x-request-id": "abc-1" };
        assert.equal((await client.get("1", { headers })).requestId, "abc-1");
        await assert.rejects(client.get("999999", { headers }), { requestId: "abc-1" });
    });

    test("reads the sources if the caller wants nothing cached", async () => {
        await client.get("4");
        assert.equal((await client.get("4", { refresh: true })).cache.status, CacheStatus.REFRESHED);
        assert.equal((await client.get("4", { maxAgeMs: 0 })).cache.isCached, false);
    });

    test("passes freshness and token", async () => {
        const { token } = await client.invalidate("5");
        const document = await client.get("5", { minToken: token, freshness: Freshness.LINEARIZABLE });
        assert.equal(document.cache.isCached, false);
        assert.equal(document.cache.verified, true);
    });
});
