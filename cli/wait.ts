/** Waiting for a container's end. */

import { type ApiClient, segment } from "./api_client.ts";
import type { WaitAnswer } from "./api_types.ts";
import { messageOf } from "../base/errors.ts";
import { printError } from "./stdio.ts";

/** Exit code when the engine cannot say how the container ended. */
const UNKNOWN_EXIT = 125;

/**
 * Asks the engine to tell when the container ends. The outer promise settles once the engine has heard the question, so
 * that no end can be missed afterwards; `exitCode` settles with the end, and never rejects.
 *
 * @param condition "next-exit" or "removed".
 * @param sent called when the question is written.
 */
export async function watchExit(
  client: ApiClient,
  id: string,
  condition: "next-exit" | "removed",
  sent?: () => void,
): Promise<{ exitCode: Promise<number> }> {
  const query = { condition };
  const response = await client.request("POST", `/containers/${segment(id, "container")}/wait`, {
    query,
    sent,
  });
  const exitCode = (async () => {
    try {
      const answer = await response.json() as WaitAnswer;
      if (!answer.Error?.Message) return answer.StatusCode;
      printError(`Error waiting for container: ${answer.Error.Message}`);
    } catch (error) {
      printError(`error waiting for container: ${messageOf(error)}`);
    }
    return UNKNOWN_EXIT;
  })();
  return { exitCode };
}
