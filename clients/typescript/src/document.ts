/** A user's document, and what the reply says about it. */

import type { JsonObject } from "@bufbuild/protobuf";

import { errorOf } from "./errors.js";
import {
    ComprehensiveUserDataSchema,
    Section,
    type ComprehensiveUserData,
} from "./gen/userdata/v1/comprehensive_user_data_pb.js";
import {
    State,
    type CacheInfo,
    type GetComprehensiveUserDataResponse,
    type SectionReport,
} from "./gen/userdata/v1/user_data_service_pb.js";
import { plainJson } from "./json.js";

/** The last field of each section, in the order of the fields: each section is one range of numbers. */
const SECTION_ENDS: readonly (readonly [number, Section])[] = [
    [5, Section.DERIVED],
    [9, Section.ONBOARDING],
    [12, Section.STRATEGY],
    [13, Section.AI_ANALYSIS],
    [14, Section.GAP_ANALYSIS],
    [15, Section.PERFORMANCE],
    [16, Section.RECOMMENDATIONS],
];

export class Document {
    /** The document, or the selected sections of it. Fields of other sections are absent, empty or 0. */
    readonly data: ComprehensiveUserData;
    /** Where it came from, how old it is, and whether that was verified. */
    readonly cache: CacheInfo;
    /** One report per selected section. */
    readonly sections: readonly SectionReport[];
    /** The id under which the server logs the call. */
    readonly requestId: string | undefined;

    constructor(reply: GetComprehensiveUserDataResponse, requestId: string | undefined) {
        if (reply.data === undefined || reply.cacheInfo === undefined) {
            throw errorOf("INTERNAL", "the reply lacks the document or its origin", { requestId });
        }
        this.data = reply.data;
        this.cache = reply.cacheInfo;
        this.sections = reply.sections;
        this.requestId = requestId;
    }

    /** How a section was read; nothing if it was not asked for. */
    section(section: Section): SectionReport | undefined {
        return this.sections.find((report) => report.section === section);
    }

    /**
     * The document as plain JSON, with the contract's field names. Safe int64 are numbers, larger ones text. Sections that
     * were not asked for or have failed are left out.
     */
    toJson(): JsonObject {
        const json = plainJson(ComprehensiveUserDataSchema, this.data);
        for (const { name, number } of ComprehensiveUserDataSchema.fields) {
            if (!this.#has(number)) {
                delete json[name];
            }
        }
        return json;
    }

    /** For `JSON.stringify`. */
    toJSON(): JsonObject {
        return this.toJson();
    }

    #has(field: number): boolean {
        const section = SECTION_ENDS.find(([end]) => field <= end)?.[1];
        if (section === undefined) {
            // Of a newer contract.
            return true;
        }
        const report = this.section(section);
        return report !== undefined && report.state !== State.FAILED;
    }
}
