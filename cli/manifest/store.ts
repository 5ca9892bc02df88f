/** Lists that are being put together: a directory for each, with a file for each of its manifests, where docker keeps them. */

import { dockerConfigDirectory } from "../../base/paths.ts";
import { canonicalString, type Reference } from "../../base/reference.ts";
import { CliError } from "../errors.ts";
import { goJson } from "../template/values.ts";
import { type Descriptor, type ImageManifest, verboseForm } from "./image_manifest.ts";

const noSuchManifest = (ref: string) => new CliError(`No such manifest: ${ref}`);

/** The manifests of a list, in the order of their files. @throws {CliError} there is no such list. */
export function storedList(list: Reference): ImageManifest[] {
  const found = findList(list);
  if (found === undefined) throw noSuchManifest(canonicalString(list));
  return found;
}

/** As {@link storedList}; undefined when there is none. */
export function findList(list: Reference): ImageManifest[] | undefined {
  const dir = directoryOf(list);
  let names: string[];
  try {
    names = [...Deno.readDirSync(dir)].map(({ name }) => name).filter((name) => !name.endsWith(".tmp"))
      .sort();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
  return names.map((name) => read(`${dir}/${name}`));
}

/** One manifest of a list. @throws {CliError} */
export function storedManifest(list: Reference, image: Reference): ImageManifest {
  const found = findManifest(list, image);
  if (found === undefined) throw noSuchManifest(canonicalString(image));
  return found;
}

/** As {@link storedManifest}; undefined when there is none. */
export function findManifest(list: Reference, image: Reference): ImageManifest | undefined {
  try {
    return read(`${directoryOf(list)}/${fileName(image)}`);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/** Written whole: a list is never seen with half a manifest. */
export function saveManifest(list: Reference, image: Reference, manifest: ImageManifest): void {
  const dir = directoryOf(list);
  Deno.mkdirSync(dir, { recursive: true, mode: 0o755 });
  const path = `${dir}/${fileName(image)}`;
  const temporary = `${path}.${crypto.randomUUID()}.tmp`;
  Deno.writeTextFileSync(temporary, goJson(verboseForm(manifest)), { createNew: true });
  Deno.renameSync(temporary, path);
}

/** @throws {CliError} there is no such list. */
export function removeList(list: Reference): void {
  storedList(list);
  Deno.removeSync(directoryOf(list), { recursive: true });
}

const directoryOf = (list: Reference): string => `${dockerConfigDirectory()}/manifests/${fileName(list)}`;

const fileName = (reference: Reference): string =>
  canonicalString(reference).replaceAll(":", "-").replaceAll("/", "_");

interface Stored {
  readonly Ref?: string;
  readonly Descriptor?: Partial<Descriptor>;
  readonly Raw?: string;
}

/** @throws {CliError} the file is damaged; {Deno.errors.NotFound} */
function read(path: string): ImageManifest {
  const text = Deno.readTextFileSync(path);
  try {
    const { Ref = "", Descriptor = {}, Raw = "" } = JSON.parse(text) as Stored;
    const { mediaType, digest, size, platform } = Descriptor;
    if (Ref === "" || Raw === "" || mediaType === undefined || digest === undefined || size === undefined) {
      throw new Error("it is not complete");
    }
    const raw = Uint8Array.fromBase64(Raw);
    return { ref: Ref, descriptor: { mediaType, digest, size, ...(platform ? { platform } : {}) }, raw };
  } catch (error) {
    throw new CliError(
      `invalid manifest file ${path}: ${
        error instanceof Error ? error.message : error
      }; remove its list by ` +
        "`berth manifest rm` and create it again",
    );
  }
}
