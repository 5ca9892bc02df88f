/** A container's other name: in the table, in DNS, and with those that are linked to it. */
import { conflict, invalid, messageOf } from "../base/errors.ts";
import type { Container } from "./container.ts";
import { containerEvent, type EngineContext } from "./context.ts";
import { renameInLinks } from "./links.ts";
import { checkName } from "./names.ts";
import { renameEndpoints } from "./network_connect.ts";
import { updateLinkingFiles } from "./network_container_files.ts";

/** @throws {EngineError} in Docker's words: no name, the same one, one that is taken */
export async function renameContainer(ctx: EngineContext, container: Container, name: string): Promise<void> {
  const table = ctx.containers;
  if (name === "" || name === "/") throw invalid("Neither old nor new names may be empty");
  const to = checkNewName(name);
  const from = await container.mutex.run(async () => {
    const old = container.record.name;
    if (container.removed) throw conflict(`container ${container.id} is being removed`);
    if (to === old) throw invalid("Renaming a container with the same name as its current name");
    try {
      table.reserve(to, container.id);
    } catch (error) {
      throw conflict(`Error when allocating new name: ${messageOf(error)}`);
    }
    try {
      table.rename(container, to);
    } catch (error) {
      table.release(to, container.id);
      throw error;
    }
    await renameEndpoints(ctx, container).catch((error) => {
      ctx.log.warn("a container's new name is not in DNS", { id: container.id, error: messageOf(error) });
    });
    updateLinkingFiles(ctx, container.record);
    containerEvent(ctx, container.record, "rename", { oldName: `/${old}` });
    return old;
  });
  await renameInLinks(ctx, { from, to });
}

/** @throws {EngineError} invalid, in Docker's words, which has a slash before the name by then. */
function checkNewName(name: string): string {
  try {
    return checkName(`/${name.replace(/^\//, "")}`);
  } catch (error) {
    throw invalid(`Error when allocating new name: ${messageOf(error)}`, error);
  }
}
