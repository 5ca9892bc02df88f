import { defineCommand } from "../command.ts";
import { CliError, describeError } from "../errors.ts";
import { manifestReference } from "../manifest/image_manifest.ts";
import { removeList } from "../manifest/store.ts";

export const command = defineCommand({
  flags: {},
  usage: "MANIFEST_LIST [MANIFEST_LIST...]",
  count: { min: 1 },
  run({ args }) {
    const failures: string[] = [];
    for (const name of args) {
      try {
        removeList(manifestReference(name));
      } catch (error) {
        failures.push(describeError(error));
      }
    }
    if (failures.length > 0) throw new CliError(failures.join("\n"));
    return Promise.resolve();
  },
});
