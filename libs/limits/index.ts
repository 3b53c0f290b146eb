export type { Limiter } from "./limiter.ts";
export { closeMeshLimits, type MeshLimitOptions } from "./mesh-limit.ts";
export { type CallOptions, type LocalLimitOptions, rateLimit, type RateLimitOptions } from "./rate-limit.ts";
export { RateLimitedError } from "./rate-limited-error.ts";
export { SlidingWindowLimiter, type SlidingWindowOptions } from "./sliding-window-limiter.ts";
export { TokenBucketLimiter, type TokenBucketOptions } from "./token-bucket-limiter.ts";
