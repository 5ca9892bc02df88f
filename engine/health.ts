/**
 * Health checks: a command run in the container again and again, and what its results mean (moby: daemon/health.go, whose
 * defaults and order of states these are).
 */
import { messageOf } from "../base/errors.ts";
import { TIMER_LIMIT_MS } from "../base/timer_limit.ts";
import { type FrameSource, readFrames } from "./attach_frames.ts";
import { nowRfc3339 } from "./clock.ts";
import type { Container } from "./container.ts";
import { containerEvent, type EngineContext } from "./context.ts";
import { createExec, launchExec } from "./exec.ts";
import type { HealthResult, HealthState } from "./health_state.ts";
import { openAttach } from "./shim_client.ts";
import type { ContainerConfig, HealthConfig } from "./types.ts";

const SECOND_NS = 1e9;
const DEFAULT_INTERVAL_NS = 30 * SECOND_NS;
const DEFAULT_TIMEOUT_NS = 30 * SECOND_NS;
const DEFAULT_START_INTERVAL_NS = 5 * SECOND_NS;
const DEFAULT_RETRIES = 3;
/** Results that inspect shows, and bytes of output of each. */
const MAX_LOG = 5;
const MAX_OUTPUT = 4096;
const SIGKILL = 9;

/** How a container's health is checked. Times in nanoseconds. */
export interface Probe {
  readonly command: readonly string[];
  readonly interval: number;
  readonly timeout: number;
  readonly startPeriod: number;
  readonly startInterval: number;
  readonly retries: number;
}

/** A container's check; undefined when it has none. */
export function probeOf(config: Pick<ContainerConfig, "Healthcheck" | "Shell">): Probe | undefined {
  const health: HealthConfig = config.Healthcheck ?? {};
  const [kind = "NONE", ...words] = health.Test ?? [];
  const shell = config.Shell && config.Shell.length > 0 ? config.Shell : ["/bin/sh", "-c"];
  const command = kind === "CMD" ? words : kind === "CMD-SHELL" ? [...shell, ...words] : [];
  if (command.length === 0) return undefined;
  return {
    command,
    interval: health.Interval || DEFAULT_INTERVAL_NS,
    timeout: health.Timeout || DEFAULT_TIMEOUT_NS,
    startPeriod: health.StartPeriod || 0,
    startInterval: health.StartInterval || DEFAULT_START_INTERVAL_NS,
    retries: health.Retries || DEFAULT_RETRIES,
  };
}

/** What a result makes of a container's health. Failures do not count before the start period is over, unless it has been healthy. */
export function afterResult(
  before: HealthState,
  result: HealthResult,
  probe: Pick<Probe, "retries" | "startPeriod">,
  startedAt: string,
): HealthState {
  const Log = [...before.Log, result].slice(-MAX_LOG);
  if (result.ExitCode === 0) return { Status: "healthy", FailingStreak: 0, Log };
  const age = (Date.parse(result.Start) - Date.parse(startedAt)) * 1e6;
  if (before.Status === "starting" && age < probe.startPeriod) return { ...before, Log };
  const FailingStreak = before.FailingStreak + 1;
  return { Status: FailingStreak >= probe.retries ? "unhealthy" : before.Status, FailingStreak, Log };
}

/** Checks a running container until {@link stop}. */
export class HealthMonitor {
  readonly #ctx: EngineContext;
  readonly #container: Container;
  readonly #probe: Probe;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #stopped = false;

  constructor(ctx: EngineContext, container: Container, probe: Probe) {
    this.#ctx = ctx;
    this.#container = container;
    this.#probe = probe;
    this.#schedule();
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  #schedule(): void {
    if (this.#stopped) return;
    const { interval, startInterval, startPeriod } = this.#probe;
    const { health, startedAt } = this.#container.record.state;
    const early = health?.Status === "starting" && (Date.now() - Date.parse(startedAt)) * 1e6 < startPeriod;
    this.#timer = setTimeout(() => void this.#round(), milliseconds(early ? startInterval : interval));
    Deno.unrefTimer(Number(this.#timer));
  }

  async #round(): Promise<void> {
    const container = this.#container;
    // One that is paused answers nobody, and is not ill for that: also when it was paused in the middle of a check.
    const paused = () => container.record.state.paused === true;
    const result = paused() ? undefined : await this.#check();
    if (this.#stopped) return;
    if (result === undefined || paused()) return this.#schedule();
    const { health, startedAt } = container.record.state;
    if (health !== undefined) {
      const after = afterResult(health, result, this.#probe, startedAt);
      this.#ctx.containers.changeMemory(container, { health: after }, {});
      if (after.Status !== health.Status) {
        containerEvent(this.#ctx, container.record, `health_status: ${after.Status}`);
      }
    }
    this.#schedule();
  }

  /** Runs the command once; never rejects. */
  async #check(): Promise<HealthResult> {
    const { command, timeout } = this.#probe;
    const Start = nowRfc3339();
    const output = new LimitedText();
    const done = (ExitCode: number, Output: string): HealthResult => ({
      Start,
      End: nowRfc3339(),
      ExitCode,
      Output,
    });
    try {
      const exec = createExec(this.#ctx, this.#container, {
        Cmd: command,
        AttachStdout: true,
        AttachStderr: true,
      });
      exec.status = "starting";
      const shim = this.#container.record.shim;
      if (shim === null) return done(-1, "the container has ended");
      using conn = await openAttach(shim.dir, { execId: exec.id, stdin: false, stdout: true, stderr: true });
      await launchExec(this.#ctx, this.#container, exec, { consoleSize: undefined }, false);
      let late = false;
      const timer = setTimeout(() => {
        late = true;
        const request = { op: "signal", signal: SIGKILL, execId: exec.id } as const;
        this.#container.shim?.request(request).catch(() => {});
        // children of the command may hold its output open
        conn[Symbol.dispose]();
      }, milliseconds(timeout));
      try {
        await output.readFrames(conn);
        await exec.ended;
      } catch (error) {
        if (!late) throw error;
      } finally {
        clearTimeout(timer);
      }
      if (!late) return done(exec.exitCode ?? -1, output.text());
      const text = `Health check exceeded timeout (${goDuration(timeout)})`;
      return done(-1, output.text() === "" ? text : `${text}: ${output.text()}`);
    } catch (error) {
      return done(-1, messageOf(error));
    }
  }
}

/** Begins to check a container that has just started, or is found running. */
export function watchHealth(ctx: EngineContext, container: Container): void {
  container.health?.stop();
  const probe = probeOf(container.record.config);
  if (probe === undefined) return;
  const health: HealthState = { Status: "starting", FailingStreak: 0, Log: [] };
  ctx.containers.changeMemory(container, { health }, {});
  container.health = new HealthMonitor(ctx, container, probe);
}

/** The first bytes of a command's output. */
class LimitedText {
  readonly #decoder = new TextDecoder();
  #text = "";
  #bytes = 0;
  #cut = false;

  /** Reads Docker's frames (8 bytes, the last four the length) to their end. */
  async readFrames(conn: FrameSource): Promise<void> {
    await readFrames(conn, (_stream, data) => this.#add(data));
  }

  #add(bytes: Uint8Array): void {
    const step = Math.min(bytes.length, MAX_OUTPUT - this.#bytes);
    this.#cut ||= step < bytes.length;
    if (step === 0) return;
    this.#text += this.#decoder.decode(bytes.subarray(0, step), { stream: true });
    this.#bytes += step;
  }

  text(): string {
    return this.#cut ? `${this.#text}...` : this.#text;
  }
}

/** For a timer: a time beyond its limit is as good as the limit. */
const milliseconds = (nanoseconds: number): number => Math.min(nanoseconds / 1e6, TIMER_LIMIT_MS);

/** `1m30s`, as Go prints a duration of nanoseconds. */
function goDuration(nanoseconds: number): string {
  const seconds = nanoseconds / SECOND_NS;
  if (seconds < 1) return `${nanoseconds / 1e6}ms`;
  const hours = Math.floor(seconds / 3600), minutes = Math.floor(seconds % 3600 / 60);
  const rest = `${Number((seconds % 60).toFixed(9))}s`;
  return hours > 0 ? `${hours}h${minutes}m${rest}` : minutes > 0 ? `${minutes}m${rest}` : rest;
}
