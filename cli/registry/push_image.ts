import { canonicalName, parseReference } from "../../base/reference.ts";
import { type ApiClient, segment } from "../api_client.ts";
import { showProgress } from "../output/progress.ts";
import { registryAuthHeaders } from "./auth_header.ts";

export interface PushRequest {
  readonly image: string;
  readonly allTags?: boolean;
  /** JSON of an OCI platform. */
  readonly platform?: string | undefined;
}

/** Has the engine push an image. @param write takes the progress. @throws CliError when it fails. */
export async function pushImage(
  client: ApiClient,
  { image, allTags = false, platform }: PushRequest,
  write: (text: string) => void,
  terminal: boolean,
): Promise<void> {
  const reference = parseReference(image);
  const response = await client.request("POST", `/images/${segment(canonicalName(reference))}/push`, {
    query: { tag: allTags ? "" : reference.tag ?? "latest", platform },
    headers: await registryAuthHeaders(image),
  });
  await showProgress(response.body(), write, terminal);
}
