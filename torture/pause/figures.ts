/** Figures of the pause part, which its processes share. */

/** How long a silent process counts as alive here, in ms: shorter than in earnest, so that rounds are short. */
export const DRIVER_TTL_MS = 1500
/** Pause between two tokens, in ms. */
export const TOKEN_MS = 25
/** Tokens of each model call. */
export const TOKENS = 100
