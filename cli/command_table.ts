/** The commands there are. Their modules are loaded when they are called, so that one command costs only itself. */

import type { Command } from "./command.ts";

export interface Entry {
  readonly summary: string;
  /** Spellings that do the same, in the order the help shows them; the first one is the long form. */
  readonly spellings: readonly string[];
  /** Shown in the first list of `berth --help`. */
  readonly common?: boolean;
  /** For programs, not people: neither shown nor completed. */
  readonly hidden?: boolean;
  load(): Promise<Command>;
}

type Loaded = { readonly command: Command };
const entry = (
  summary: string,
  spellings: readonly string[],
  load: () => Promise<Loaded>,
  common = false,
): Entry => ({ summary, spellings, common, load: async () => (await load()).command });

/** Groups of commands, by the first word. */
export const GROUPS: Readonly<Record<string, string>> = {
  builder: "Manage builds",
  container: "Manage containers",
  context: "Manage contexts",
  image: "Manage images",
  manifest: "Manage Docker image manifests and manifest lists",
  network: "Manage networks",
  system: "Manage berth",
  volume: "Manage volumes",
};

export const COMMANDS: readonly Entry[] = [
  entry(
    "Create and run a new container from an image",
    ["container run", "run"],
    () => import("./commands/run.ts"),
    true,
  ),
  entry(
    "Execute a command in a running container",
    ["container exec", "exec"],
    () => import("./commands/exec.ts"),
    true,
  ),
  entry(
    "List containers",
    ["container ls", "container list", "container ps", "ps"],
    () => import("./commands/ps.ts"),
    true,
  ),
  entry(
    "Build an image from a Dockerfile",
    ["image build", "build", "builder build", "buildx build"],
    () => import("./commands/build.ts"),
    true,
  ),
  entry(
    "Download an image from a registry",
    ["image pull", "pull"],
    () => import("./commands/pull.ts"),
    true,
  ),
  entry(
    "Upload an image to a registry",
    ["image push", "push"],
    () => import("./commands/push.ts"),
    true,
  ),
  entry("List images", ["image ls", "image list", "images"], () => import("./commands/images.ts"), true),
  entry(
    "Authenticate to a registry",
    ["login"],
    () => import("./commands/login.ts"),
    true,
  ),
  entry("Log out from a registry", ["logout"], () => import("./commands/logout.ts"), true),
  entry("Search Docker Hub for images", ["search"], () => import("./commands/search.ts"), true),
  entry("Show the berth version information", ["version"], () => import("./commands/version.ts"), true),
  entry("Display system-wide information", ["system info", "info"], () => import("./commands/info.ts"), true),
  entry(
    "Attach local standard input, output, and error streams to a running container",
    ["container attach", "attach"],
    () => import("./commands/attach.ts"),
  ),
  entry(
    "Create a new image from a container's changes",
    ["container commit", "commit"],
    () => import("./commands/commit.ts"),
  ),
  entry(
    "Generate the autocompletion script for the specified shell",
    ["completion"],
    () => import("./commands/completion.ts"),
  ),
  entry(
    "Remove all stopped containers",
    ["container prune"],
    () => import("./commands/container_prune.ts"),
  ),
  entry(
    "Create a context",
    ["context create"],
    () => import("./commands/context_create.ts"),
  ),
  entry(
    "Export a context to a tar archive FILE or a tar stream on STDOUT.",
    ["context export"],
    () => import("./commands/context_export.ts"),
  ),
  entry(
    "Import a context from a tar or zip file",
    ["context import"],
    () => import("./commands/context_import.ts"),
  ),
  entry(
    "Display detailed information on one or more contexts",
    ["context inspect"],
    () => import("./commands/context_inspect.ts"),
  ),
  entry(
    "List contexts",
    ["context ls", "context list"],
    () => import("./commands/context_ls.ts"),
  ),
  entry(
    "Remove one or more contexts",
    ["context rm", "context remove"],
    () => import("./commands/context_rm.ts"),
  ),
  entry(
    "Print the name of the current context",
    ["context show"],
    () => import("./commands/context_show.ts"),
  ),
  entry(
    "Update a context",
    ["context update"],
    () => import("./commands/context_update.ts"),
  ),
  entry(
    "Set the current berth context",
    ["context use"],
    () => import("./commands/context_use.ts"),
  ),
  entry(
    "Copy files/folders between a container and the local filesystem",
    ["container cp", "cp"],
    () => import("./commands/cp.ts"),
  ),
  entry("Create a new container", ["container create", "create"], () => import("./commands/create.ts")),
  entry(
    "Inspect changes to files or directories on a container's filesystem",
    ["container diff", "diff"],
    () => import("./commands/diff.ts"),
  ),
  entry(
    "Show what works on this machine, and how to switch on the rest",
    ["doctor"],
    () => import("./commands/doctor.ts"),
  ),
  {
    ...entry(
      "Proxy the stdio stream to the daemon connection. Should not be invoked manually.",
      ["system dial-stdio"],
      () => import("./commands/system_dial_stdio.ts"),
    ),
    hidden: true,
  },
  entry(
    "Show disk usage",
    ["system df"],
    () => import("./commands/system_df.ts"),
  ),
  entry(
    "Get real time events from the server",
    ["system events", "events"],
    () => import("./commands/events.ts"),
  ),
  entry(
    "Export a container's filesystem as a tar archive",
    ["container export", "export"],
    () => import("./commands/export.ts"),
  ),
  entry(
    "Show the history of an image",
    ["image history", "history"],
    () => import("./commands/history.ts"),
  ),
  entry(
    "Remove unused images",
    ["image prune"],
    () => import("./commands/image_prune.ts"),
  ),
  entry(
    "Import the contents from a tarball to create a filesystem image",
    ["image import", "import"],
    () => import("./commands/import.ts"),
  ),
  entry("Return low-level information on berth objects", ["inspect"], () => import("./commands/inspect.ts")),
  entry(
    "Display detailed information on one or more containers",
    ["container inspect"],
    () => import("./commands/container_inspect.ts"),
  ),
  entry(
    "Display detailed information on one or more images",
    ["image inspect"],
    () => import("./commands/image_inspect.ts"),
  ),
  entry(
    "Kill one or more running containers",
    ["container kill", "kill"],
    () => import("./commands/kill.ts"),
  ),
  entry(
    "Load an image from a tar archive or STDIN",
    ["image load", "load"],
    () => import("./commands/load.ts"),
  ),
  entry("Fetch the logs of a container", ["container logs", "logs"], () => import("./commands/logs.ts")),
  entry(
    "Connect a container to a network",
    ["network connect"],
    () => import("./commands/network_connect.ts"),
  ),
  entry("Create a network", ["network create"], () => import("./commands/network_create.ts")),
  entry(
    "Disconnect a container from a network",
    ["network disconnect"],
    () => import("./commands/network_disconnect.ts"),
  ),
  entry(
    "Show which paths of the network work here, and how to switch on the rest",
    ["network doctor"],
    () => import("./commands/network_doctor.ts"),
  ),
  entry(
    "Add additional information to a local image manifest",
    ["manifest annotate"],
    () => import("./commands/manifest_annotate.ts"),
  ),
  entry(
    "Create a local manifest list for annotating and pushing to a registry",
    ["manifest create"],
    () => import("./commands/manifest_create.ts"),
  ),
  entry(
    "Display an image manifest, or manifest list",
    ["manifest inspect"],
    () => import("./commands/manifest_inspect.ts"),
  ),
  entry(
    "Push a manifest list to a repository",
    ["manifest push"],
    () => import("./commands/manifest_push.ts"),
  ),
  entry(
    "Delete one or more manifest lists from local storage",
    ["manifest rm"],
    () => import("./commands/manifest_rm.ts"),
  ),
  entry(
    "Run a command in the network that the containers' bridges are in",
    ["netns"],
    () => import("./commands/netns.ts"),
  ),
  entry(
    "Display detailed information on one or more networks",
    ["network inspect"],
    () => import("./commands/network_inspect.ts"),
  ),
  entry("List networks", ["network ls", "network list"], () => import("./commands/network_ls.ts")),
  entry("Create a volume", ["volume create"], () => import("./commands/volume_create.ts")),
  entry(
    "Display detailed information on one or more volumes",
    ["volume inspect"],
    () => import("./commands/volume_inspect.ts"),
  ),
  entry("List volumes", ["volume ls", "volume list"], () => import("./commands/volume_ls.ts")),
  entry("Remove unused local volumes", ["volume prune"], () => import("./commands/volume_prune.ts")),
  entry(
    "Remove one or more volumes",
    ["volume rm", "volume remove"],
    () => import("./commands/volume_rm.ts"),
  ),
  entry("Remove all unused networks", ["network prune"], () => import("./commands/network_prune.ts")),
  entry(
    "Remove one or more networks",
    ["network rm", "network remove"],
    () => import("./commands/network_rm.ts"),
  ),
  entry(
    "List port mappings or a specific mapping for the container",
    ["container port", "port"],
    () => import("./commands/port.ts"),
  ),
  entry(
    "Pause all processes within one or more containers",
    ["container pause", "pause"],
    () => import("./commands/pause.ts"),
  ),
  entry("Remove build cache", ["builder prune", "buildx prune"], () => import("./commands/builder_prune.ts")),
  entry("Rename a container", ["container rename", "rename"], () => import("./commands/rename.ts")),
  entry(
    "Restart one or more containers",
    ["container restart", "restart"],
    () => import("./commands/restart.ts"),
  ),
  entry(
    "Remove one or more containers",
    ["container rm", "container remove", "rm"],
    () => import("./commands/rm.ts"),
  ),
  entry("Remove one or more images", ["image rm", "image remove", "rmi"], () => import("./commands/rmi.ts")),
  entry(
    "Save one or more images to a tar archive (streamed to STDOUT by default)",
    ["image save", "save"],
    () => import("./commands/save.ts"),
  ),
  entry(
    "Replace an engine of another version by this one; containers run on",
    ["system migrate"],
    () => import("./commands/system_migrate.ts"),
  ),
  entry(
    "Remove all containers, images, volumes, networks and build cache",
    ["system reset"],
    () => import("./commands/system_reset.ts"),
  ),
  entry("Run the engine in the foreground", ["serve"], () => import("./commands/serve.ts")),
  entry(
    "Start one or more stopped containers",
    ["container start", "start"],
    () => import("./commands/start.ts"),
  ),
  entry(
    "Display a live stream of container(s) resource usage statistics",
    ["container stats", "stats"],
    () => import("./commands/stats.ts"),
  ),
  entry(
    "Stop one or more running containers",
    ["container stop", "stop"],
    () => import("./commands/stop.ts"),
  ),
  entry(
    "Remove unused data",
    ["system prune"],
    () => import("./commands/system_prune.ts"),
  ),
  entry(
    "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
    ["image tag", "tag"],
    () => import("./commands/tag.ts"),
  ),
  entry(
    "Display the running processes of a container",
    ["container top", "top"],
    () => import("./commands/top.ts"),
  ),
  entry(
    "Unpause all processes within one or more containers",
    ["container unpause", "unpause"],
    () => import("./commands/unpause.ts"),
  ),
  entry(
    "Update configuration of one or more containers",
    ["container update", "update"],
    () => import("./commands/update.ts"),
  ),
  entry(
    "Block until one or more containers stop, then print their exit codes",
    ["container wait", "wait"],
    () => import("./commands/wait.ts"),
  ),
];

/** The command of the first words of `argv`, and how many of them name it. */
export function findCommand(
  argv: readonly string[],
): { entry: Entry; path: string; words: number } | undefined {
  for (const words of [2, 1]) {
    const path = argv.slice(0, words).join(" ");
    const found = COMMANDS.find(({ spellings }) => spellings.includes(path));
    if (found !== undefined && argv.length >= words) return { entry: found, path, words };
  }
  return undefined;
}
