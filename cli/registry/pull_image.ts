import type { ApiClient } from "../api_client.ts";
import { splitReference } from "../output/names.ts";
import { showProgress } from "../output/progress.ts";
import { registryAuthHeaders } from "./auth_header.ts";

export interface PullRequest {
  /** A name with tag or digest; `:latest` goes without saying. */
  readonly image: string;
  readonly allTags?: boolean;
  readonly platform: string | undefined;
}

/** Has the engine pull an image. @param write takes the progress. @throws CliError when it fails. */
export async function pullImage(
  client: ApiClient,
  { image, allTags = false, platform }: PullRequest,
  write: (text: string) => void,
  terminal: boolean,
): Promise<void> {
  const { repository, tag, digest } = splitReference(image);
  const response = await client.request("POST", "/images/create", {
    query: {
      fromImage: qualified(repository),
      tag: allTags ? undefined : digest || tag || "latest",
      platform,
    },
    headers: await registryAuthHeaders(image),
  });
  await showProgress(response.body(), write, terminal);
}

/** "busybox" as registries know it: "docker.io/library/busybox". */
export function qualified(repository: string): string {
  const [first = "", ...rest] = repository.split("/");
  if (rest.length === 0) return `docker.io/library/${repository}`;
  return /[.:]/.test(first) || first === "localhost" ? repository : `docker.io/${repository}`;
}

/** The name in full: `docker.io/library/busybox:latest`. */
export function canonical(image: string): string {
  const { repository, tag, digest } = splitReference(image);
  const named = `${qualified(repository)}${
    tag === "" && digest === "" ? ":latest" : tag === "" ? "" : `:${tag}`
  }`;
  return digest === "" ? named : `${named}@${digest}`;
}
