import { EngineError, invalid } from "../base/errors.ts";
import { progressBar } from "../base/units.ts";
import { describeRemote } from "../image/distribution.ts";
import type { ImageStore } from "../image/image_store.ts";
import { parsePlatform } from "../image/platform.ts";
import { ImagePuller, type TransferMessage } from "../image/pull.ts";
import { ImagePusher } from "../image/push.ts";
import { familiarName, familiarString, parseReference, withDefaultTag } from "../base/reference.ts";
import { login } from "../image/registry/login.ts";
import { search } from "../image/registry/search.ts";
import type { RegistrySettings } from "../image/registry/settings.ts";
import type { EngineContext } from "./context.ts";
import { imageEvent } from "./image_events.ts";
import { packLayers } from "./image_packing.ts";
import type { ImageTransfers } from "./transfer_types.ts";

/** The part of the engine that speaks to registries: the image store's work with Docker's messages and events. */
export function imageTransfers(
  ctx: Pick<EngineContext, "events" | "trees" | "driver" | "log">,
  images: ImageStore,
  settings: RegistrySettings,
): ImageTransfers {
  const puller = new ImagePuller(images.internals, settings);
  const pusher = new ImagePusher(images.internals, settings);
  return {
    async imagePull({ reference, allTags, platform, auth }, signal, send) {
      const named = parseReference(reference);
      // What a Dockerfile means by "nothing" is no image.
      if (familiarName(named) === "scratch") {
        throw new EngineError("forbidden", "'scratch' is a reserved name");
      }
      const wanted = platform === undefined ? undefined : parsePlatform(platform);
      const pulled = await puller.pull({
        reference: allTags ? named : withDefaultTag(named),
        platform: wanted,
        auth,
        signal,
        report: (message) => send(jsonMessage(message)),
      });
      for (const one of pulled) {
        const name = familiarString(one.reference);
        imageEvent({ ...ctx, images }, "pull", name, familiarName(one.reference));
      }
    },

    async imagePush(name, { tag, platform, auth }, signal, send) {
      const reference = parseReference(name);
      if (reference.digest !== undefined) throw invalid("cannot push a digest reference");
      const wanted = tag === undefined ? reference : { ...reference, tag };
      await pusher.push({
        reference: wanted,
        platform,
        auth,
        signal,
        prepare: (id) => packLayers(ctx, images, images.get(id)),
        report: ({ aux, ...message }) => send(aux ? { progressDetail: {}, aux } : jsonMessage(message)),
      });
      const shown = familiarString(wanted);
      imageEvent({ ...ctx, images }, "push", shown, familiarName(wanted));
    },

    async registryLogin({ username, password, identityToken, serverAddress }, signal) {
      const token = await login(serverAddress, { username, password, identityToken }, settings, signal);
      return { Status: "Login Succeeded", IdentityToken: token };
    },

    async distributionInspect(name, auth, signal) {
      const { mediaType, digest, size, platforms } = await describeRemote(
        withDefaultTag(parseReference(name)),
        auth,
        settings,
        signal,
      );
      return { Descriptor: { mediaType, digest, size }, Platforms: platforms };
    },

    async imageSearch({ term, limit, filters, auth }, signal) {
      if (limit < 1 || limit > 100) throw invalid(`limit ${limit} is outside the range of [1, 100]`);
      for (const key of filters.keys()) {
        if (!["is-automated", "is-official", "stars"].includes(key)) throw invalid(`invalid filter '${key}'`);
      }
      const stars = Math.max(0, ...(filters.get("stars") ?? []).map(Number));
      const says = (key: string, value: boolean) =>
        (filters.get(key) ?? []).every((wanted) => (wanted === "true" || wanted === "1") === value);
      const found = await search(term, limit, auth, settings, signal);
      return found.filter((one) =>
        one.star_count >= stars && says("is-official", one.is_official) &&
        says("is-automated", one.is_automated)
      ).map((one) => ({ ...one }));
    },
  };
}

/** A line of the stream in the order of fields that Docker writes. */
export function jsonMessage({ status, id, progress }: TransferMessage): Record<string, unknown> {
  const { current = 0, total = 0 } = progress ?? {};
  const bar = progressBar(current, total);
  return {
    status,
    ...(progress === undefined ? {} : {
      progressDetail: bar === ""
        ? {}
        : { ...(current > 0 ? { current } : {}), ...(total > 0 ? { total } : {}) },
    }),
    ...(bar === "" ? {} : { progress: bar }),
    ...(id === undefined ? {} : { id }),
  };
}
