import { segment } from "../api_client.ts";
import type { ContainerDetails } from "../api_types.ts";
import { defineCommand } from "../command.ts";
import { Demultiplexer } from "../demux.ts";
import { CliError } from "../errors.ts";
import { bool, text } from "../flags/spec.ts";
import { apiTimestamp } from "../output/durations.ts";
import { writeStream } from "../stdio.ts";
import { messageOf } from "../../base/errors.ts";

export const command = defineCommand({
  flags: {
    details: bool("Show extra details provided to logs"),
    follow: bool("Follow log output", { short: "f" }),
    since: text(
      `Show logs since timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)`,
    ),
    tail: text("Number of lines to show from the end of the logs", { short: "n", default: "all" }),
    timestamps: bool("Show timestamps", { short: "t" }),
    until: text(
      `Show logs before a timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)`,
    ),
  },
  usage: "CONTAINER",
  count: { min: 1, max: 1 },
  completes: "container",
  async run({ flags, args: [name = ""], client }) {
    const details = await client.json<ContainerDetails>(
      "GET",
      `/containers/${segment(name, "container")}/json`,
    );
    const response = await client.request("GET", `/containers/${segment(details.Id)}/logs`, {
      query: {
        details: flags.details || undefined,
        follow: flags.follow || undefined,
        since: timestamp("since", flags.since),
        stderr: true,
        stdout: true,
        tail: flags.tail,
        timestamps: flags.timestamps || undefined,
        until: timestamp("until", flags.until),
      },
    });
    const stdout = (bytes: Uint8Array) => writeStream(Deno.stdout, bytes);
    const stderr = (bytes: Uint8Array) => writeStream(Deno.stderr, bytes);
    const demux = details.Config?.Tty ? undefined : new Demultiplexer({ stdout, stderr });
    for await (const bytes of response.body()) await (demux ? demux.push(bytes) : stdout(bytes));
  },
});

function timestamp(flag: string, value: string): string | undefined {
  if (value === "") return undefined;
  try {
    return apiTimestamp(value);
  } catch (error) {
    throw new CliError(`invalid value for "${flag}": ${messageOf(error)}`);
  }
}
