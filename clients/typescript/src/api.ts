/** What both entries export. */

export type { JsonObject, JsonValue } from "@bufbuild/protobuf";
export { durationMs, timestampDate } from "@bufbuild/protobuf/wkt";

export { UserDataClient, type ClientOptions, type WarmProgress } from "./client.js";
export { Document } from "./document.js";
export {
    CancelledError,
    DeadlineExceededError,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    OutOfRangeError,
    PermissionDeniedError,
    ResourceExhaustedError,
    UnauthenticatedError,
    UnavailableError,
    UnimplementedError,
    UserDataError,
    type ErrorCode,
    type FieldViolation,
} from "./errors.js";
export * from "./gen/userdata/v1/comprehensive_user_data_pb.js";
export * from "./gen/userdata/v1/user_data_service_pb.js";
export { plainJson } from "./json.js";
export type {
    CallOptions,
    CleanupOptions,
    GetOptions,
    InvalidateOptions,
    Invalidation,
    StatsOptions,
    StrategyId,
    UserId,
    WarmTarget,
    WarmOptions,
    WarmSelection,
} from "./requests.js";
export { Session } from "./session.js";
