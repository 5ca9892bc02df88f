/** Health of a running container, in the API's shape. */
export interface HealthState {
  readonly Status: "starting" | "healthy" | "unhealthy";
  /** Failed checks in a row. */
  readonly FailingStreak: number;
  /** The last five results. */
  readonly Log: readonly HealthResult[];
}

export interface HealthResult {
  /** RFC 3339 with nanoseconds. */
  readonly Start: string;
  readonly End: string;
  readonly ExitCode: number;
  readonly Output: string;
}
