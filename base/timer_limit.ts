/** The longest delay that setTimeout takes, in milliseconds (24 days): a longer one would be none at all. */
export const TIMER_LIMIT_MS = 2 ** 31 - 1;
