/** Templates that `--format raw` stands for (docker/cli: cli/command/formatter). */

export function rawContainer(quiet: boolean, size: boolean): string {
  if (quiet) return "container_id: {{.ID}}";
  return `container_id: {{.ID}}
image: {{.Image}}
command: {{.Command}}
created_at: {{.CreatedAt}}
state: {{- pad .State 1 0}}
status: {{- pad .Status 1 0}}
names: {{.Names}}
labels: {{- pad .Labels 1 0}}
ports: {{- pad .Ports 1 0}}
${size ? "size: {{.Size}}\n" : ""}`;
}

export function rawImage(quiet: boolean, digest: boolean): string {
  if (quiet) return "image_id: {{.ID}}";
  return `repository: {{ .Repository }}
tag: {{.Tag}}
${digest ? "digest: {{.Digest}}\n" : ""}image_id: {{.ID}}
created_at: {{.CreatedAt}}
virtual_size: {{.Size}}
`;
}

export const rawVolume = (quiet: boolean): string =>
  quiet ? "name: {{.Name}}" : "name: {{.Name}}\ndriver: {{.Driver}}\n";

export const RAW_BUILD_CACHE = `build_cache_id: {{.ID}}
parent_id: {{.Parent}}
build_cache_type: {{.CacheType}}
description: {{.Description}}
created_at: {{.CreatedAt}}
created_since: {{.CreatedSince}}
last_used_at: {{.LastUsedAt}}
last_used_since: {{.LastUsedSince}}
usage_count: {{.UsageCount}}
in_use: {{.InUse}}
shared: {{.Shared}}
`;

/** Of a line of `system df`. */
export const RAW_USAGE = `type: {{.Type}}
total: {{.TotalCount}}
active: {{.Active}}
size: {{.Size}}
reclaimable: {{.Reclaimable}}
`;

/** Of `system df -v`, which has everything in one object. */
export const RAW_USAGE_DETAILS = `{{range .Images}}type: Image
${rawImage(false, true)}
{{end -}}
{{range .Containers}}type: Container
${rawContainer(false, true)}
{{end -}}
{{range .Volumes}}type: Volume
${rawVolume(false)}
{{end -}}
{{range .BuildCache}}type: Build Cache
${RAW_BUILD_CACHE}
{{end -}}`;
