import { expect, it } from "vitest";
import { Container } from "../../engine/container.ts";
import { openTree } from "../../engine/container_tree.ts";
import { createdRecord } from "../support/engine_records.ts";

it("openTree() gives the root back when it cannot say what is mounted there", async () => {
  const asked: string[] = [];
  const ctx = {
    driver: {
      acquire: (id: string) => {
        asked.push(`acquire ${id}`);
        return Promise.resolve({ kind: "directory", path: "/nowhere" });
      },
      release: (id: string) => Promise.resolve(void asked.push(`release ${id}`)),
    },
    images: {
      get: () => ({}),
      layers: () => [],
      hostMounts: () => {
        throw new Error("No space left on device");
      },
    },
  };
  const container = new Container(createdRecord(1));
  const open = openTree(ctx as unknown as Parameters<typeof openTree>[0], container, {
    writable: true,
    volumes: true,
  });
  await expect(open).rejects.toThrow("No space left on device");
  expect(asked).toEqual([`acquire ${container.id}`, `release ${container.id}`]);
  // Whoever starts it next does not wait for ever.
  await container.mutex.run(() => {});
});
