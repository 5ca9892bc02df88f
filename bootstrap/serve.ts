/**
 * `berth serve`: prepares a user and a mount namespace and becomes the engine in them.
 *
 * Deno is multi-threaded, and the kernel lets only single-threaded processes change their user namespace. So this
 * process replaces itself by util-linux's `unshare` (first engine) or `nsenter` (a shim of an earlier engine still
 * lives), which start the engine inside; the pid stays the one that the user or systemd started.
 */
import { goErrno } from "../base/go_errno.ts";
import { hints } from "../base/hints.ts";
import { NOFILE_VARIABLE, originalNofile } from "../base/nofile.ts";
import { defaultPaths } from "../base/paths.ts";
import { selfCommand, selfExecutable } from "../base/self.ts";
import type { EngineOptions, GivenOptions } from "../engine/serve_options.ts";
import { kernel } from "../ffi/kernel.ts";
import { SysError } from "../ffi/errno.ts";
import { explainUserNamespaceRefusal } from "../base/user_namespaces.ts";
import { idMapArguments, subordinateIds, type SubordinateRange, userName } from "../base/subordinate_ids.ts";
import { findProgram } from "../base/find_program.ts";
import { type HeldNamespaces, openHeldNamespaces } from "./live_namespaces.ts";

/** The options of `berth serve` as the command line parses them. */
export interface ServeRequest extends GivenOptions {
  readonly hosts: readonly string[];
  readonly dataRoot?: string;
  readonly execRoot?: string;
  readonly configFile?: string;
  readonly flagsGiven?: readonly string[];
}

/** Exit code of a refusal by the engine itself, as `docker run` uses it. */
const EXIT_ENGINE = 125;

/** How the namespace's ids are mapped, decided before it exists. */
interface IdMapping {
  readonly kind: "full" | "single" | "root";
  /** Words after the pid for newuidmap/newgidmap, or one line of /proc/PID/{uid,gid}_map. */
  readonly uid: readonly string[];
  readonly gid: readonly string[];
  readonly warnings: readonly string[];
}

/**
 * Becomes the engine. Does not return when it succeeds; otherwise prints what is wrong on stderr and returns the exit code.
 */
export function serve(given: ServeRequest): number {
  const request = given.ephemeral === undefined ? given : inOneDirectory(given, given.ephemeral);
  const uid = Deno.uid() ?? 0;
  const gid = Deno.gid() ?? 0;
  const paths = defaultPaths(uid);
  const execRoot = request.execRoot ?? paths.execRoot;
  const unshare = findProgram("unshare");
  const nsenter = findProgram("nsenter");
  if (unshare === undefined || nsenter === undefined) {
    return refuse("unshare and nsenter are not installed", hints.utilLinuxMissing);
  }
  if (inheritedSockets() > MAX_INHERITED) {
    return refuse(`more than ${MAX_INHERITED} sockets by socket activation`, undefined);
  }
  const notEmpty = request.ephemeral === undefined ? undefined : refuseAsEphemeral(request.ephemeral, uid);
  if (notEmpty !== undefined) return refuse(notEmpty, undefined);
  const problem = checkPrivateDirectory(execRoot, uid);
  if (problem !== undefined) {
    const runtime = request.execRoot === undefined && uid !== 0 ? Deno.env.get("XDG_RUNTIME_DIR") : undefined;
    return refuse(problem, problem.includes("type: ") ? undefined : hints.execRootUnusable(runtime));
  }

  const holder = openHeldNamespaces(kernel, execRoot);
  const mapping = holder === undefined ? decideMapping(uid, gid) : undefined;
  const options: EngineOptions = {
    hosts: request.hosts,
    dataRoot: request.dataRoot ?? paths.dataRoot,
    execRoot,
    socket: paths.socket,
    ...(paths.probedSocket === undefined ? {} : { probedSocket: paths.probedSocket }),
    ...(request.logFormat === undefined ? {} : { logFormat: request.logFormat }),
    ...(request.tls === undefined ? {} : { tls: request.tls }),
    ...(request.ephemeral === undefined ? {} : { ephemeral: request.ephemeral }),
    configFile: request.configFile ??
      (request.ephemeral === undefined ? paths.configFile : `${request.ephemeral}/daemon.json`),
    configFileGiven: request.configFile !== undefined,
    flagsGiven: request.flagsGiven ?? [],
    ...(request.storageDriver === undefined ? {} : { storageDriver: request.storageDriver }),
    ...(request.pidfile === undefined ? {} : { pidfile: request.pidfile }),
    debug: request.debug,
    logLevel: request.logLevel,
    ...(request.shimPool === undefined ? {} : { shimPool: request.shimPool }),
    ...(request.insecureRegistries === undefined ? {} : { insecureRegistries: request.insecureRegistries }),
    ...(request.registryMirrors === undefined ? {} : { registryMirrors: request.registryMirrors }),
    ...(request.network === undefined ? {} : { network: request.network }),
    ...(request.cgroupDriver === undefined ? {} : { cgroupDriver: request.cgroupDriver }),
    ...(request.cgroupParent === undefined ? {} : { cgroupParent: request.cgroupParent }),
    ...(request.cgroupnsMode === undefined ? {} : { cgroupnsMode: request.cgroupnsMode }),
    ...(request.execOptions === undefined ? {} : { execOptions: request.execOptions }),
    uid,
    gid,
    idMap: mapping?.kind ?? (uid === 0 ? "root" : "full"),
    warnings: mapping?.warnings ?? [],
    nofile: originalNofile(),
  };
  const engine = selfCommand("engine", JSON.stringify(options));
  const env = { ...Deno.env.toObject(), ...engine.env };
  delete env[NOFILE_VARIABLE];
  const environment = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  const command = [engine.command, ...engine.args];
  try {
    if (holder !== undefined) {
      enterNamespaces(nsenter, holder, command, environment);
    }
    const refusal = tryUserNamespace(unshare);
    if (refusal !== undefined) {
      return refuse(
        `cannot make a user namespace: ${refusal}`,
        explainUserNamespaceRefusal(selfExecutable()),
      );
    }
    makeNamespaces(unshare, mapping ?? decideMapping(uid, gid), command, environment);
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    return refuse(`cannot start the engine: ${error.message}`, undefined);
  }
}

/** A private engine: all that it has is below `directory`, and nothing of the user's configuration is read. */
function inOneDirectory(request: ServeRequest, directory: string): ServeRequest {
  return {
    ...request,
    hosts: request.hosts.length > 0 ? request.hosts : [`unix://${directory}/s`],
    dataRoot: `${directory}/data`,
    execRoot: `${directory}/e`,
  };
}

/** What speaks against removing `directory` with everything in it later; undefined: nothing. */
function refuseAsEphemeral(directory: string, uid: number): string | undefined {
  if (!directory.startsWith("/")) return `--ephemeral must be an absolute path: ${directory}`;
  const problem = checkPrivateDirectory(directory, uid);
  if (problem !== undefined) return problem;
  const others = [...Deno.readDirSync(directory)].filter(({ name }) => name !== EPHEMERAL_LOG);
  return others.length === 0 ? undefined : `--ephemeral needs an empty directory, ${directory} is not`;
}

/** May lie in an ephemeral directory from the start: the output of the engine. */
const EPHEMERAL_LOG = "log";

/** How many sockets systemd has opened for this process (sd_listen_fds(3)): descriptors 3, 4 and so on. */
function inheritedSockets(): number {
  return Deno.env.get("LISTEN_PID") === String(Deno.pid) ? Number(Deno.env.get("LISTEN_FDS") ?? 0) : 0;
}

function refuse(message: string, hint: string | undefined): number {
  console.error(`berth: ${message}`);
  if (hint !== undefined) console.error(`\n${hint}`);
  return EXIT_ENGINE;
}

/**
 * The exec root may lie in /tmp, where anybody could have made it first: it must be ours, a real directory, and closed
 * to others. Answers what is wrong.
 */
function checkPrivateDirectory(path: string, uid: number): string | undefined {
  try {
    Deno.mkdirSync(path, { recursive: true, mode: 0o700 });
    const info = Deno.lstatSync(path);
    if (!info.isDirectory) return `${path} is not a directory`;
    if (info.uid !== uid) {
      return `${path} belongs to user ${info.uid}, not to you`;
    }
    if (((info.mode ?? 0) & 0o022) !== 0) return `others may write to ${path}; type: chmod go-w ${path}`;
    return undefined;
  } catch (error) {
    return `cannot use ${path}: ${goErrno(error)}`;
  }
}

function decideMapping(uid: number, gid: number): IdMapping {
  if (uid === 0) {
    const [uids, gids] = [mappedIds("uid_map"), mappedIds("gid_map")];
    return { kind: "root", uid: uids, gid: gids, warnings: [] };
  }
  const single = (reason: string): IdMapping => ({
    kind: "single",
    uid: ["0", String(uid), "1"],
    gid: ["0", String(gid), "1"],
    warnings: [`${hints.singleId} ${reason}`],
  });
  if (findProgram("newuidmap") === undefined || findProgram("newgidmap") === undefined) {
    return single(hints.uidmapMissing);
  }
  const user = userName(uid);
  const uids = subordinateIds(user, uid, "user");
  const gids = subordinateIds(user, uid, "group");
  if (uids.length === 0 || gids.length === 0) return single(hints.noSubordinateIds(user));
  const warnings: string[] = [];
  const total = Math.min(sum(uids), sum(gids));
  if (total < 65536) {
    warnings.push(
      `Your range has ${total} subordinate ids, images use up to 65536: some files cannot get their owners. ${
        hints.noSubordinateIds(user)
      }`,
    );
  }
  return { kind: "full", uid: idMapArguments(uid, uids), gid: idMapArguments(gid, gids), warnings };
}

/** Every id that this namespace has, mapped to itself: below another namespace these are not all ids. */
function mappedIds(file: "uid_map" | "gid_map"): string[] {
  const lines = Deno.readTextFileSync(`/proc/self/${file}`).trim().split("\n");
  return lines.flatMap((line) => {
    const [inside = "0", , count = "0"] = line.trim().split(/\s+/);
    return [inside, inside, count];
  });
}

const sum = (ranges: readonly SubordinateRange[]): number =>
  ranges.reduce((total, range) => total + range.count, 0);

/** Tries what the engine will need and answers the kernel's refusal in words; undefined when it works. */
function tryUserNamespace(unshare: string): string | undefined {
  const { success, stderr } = new Deno.Command(unshare, {
    args: ["--user", "--mount", "--propagation", "unchanged", "true"],
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).outputSync();
  if (success) return undefined;
  return new TextDecoder().decode(stderr).trim().replace(/^unshare: /, "") || "unshare failed";
}

/** Enters the namespaces; nsenter opens them anew by name, and a shell closes the descriptors before the engine starts. */
function enterNamespaces(
  nsenter: string,
  namespaces: HeldNamespaces,
  command: string[],
  environment: string[],
): never {
  moveDescriptors([namespaces.user, namespaces.mount]);
  const inside = [`--user=/proc/self/fd/${READY_FD}`, `--mount=/proc/self/fd/${ANSWER_FD}`];
  const close = `exec "$@" ${READY_FD}<&- ${ANSWER_FD}<&-`;
  const args = ["nsenter", "--preserve-credentials", ...inside, "--", "/bin/sh", "-c", close, "berth"];
  return kernel.execve(nsenter, [...args, ...command], environment);
}

/**
 * Makes two descriptors {@link READY_FD} and {@link ANSWER_FD}, to be inherited. From here to execve nothing else may
 * run: these numbers may have belonged to Deno.
 */
function moveDescriptors([first, second]: readonly [number, number]): void {
  const high = [kernel.dupCloexec(first, ANSWER_FD + 1), kernel.dupCloexec(second, ANSWER_FD + 1)] as const;
  kernel.dup2(high[0], READY_FD);
  kernel.dup2(high[1], ANSWER_FD);
}

/** Descriptors on which the engine-to-be and the helper that maps ids talk. dash takes one digit only. */
const READY_FD = 8;
const ANSWER_FD = 9;
/** Sockets that systemd hands over begin at descriptor 3. */
const MAX_INHERITED = READY_FD - 3;

/** In the new namespace: asks for the map, waits for it, becomes the engine. */
const INSIDE = `
echo ready >&${READY_FD}
exec ${READY_FD}>&-
read -r answer <&${ANSWER_FD} || answer='failed no answer'
exec ${ANSWER_FD}<&-
case $answer in
  ok) exec "$@" ;;
  single*) BERTH_ID_MAP_WARNING=\${answer#single } exec "$@" ;;
esac
echo "berth: cannot map user ids: \${answer#failed }" >&2
exit ${EXIT_ENGINE}
`;

/**
 * Outside: maps the ids of process $1, which is known to be in its namespace once it has said so. newuidmap goes first
 * (it keeps setgroups usable). When it is refused, the own id alone is mapped, which needs no privilege.
 */
const MAP_FROM_OUTSIDE = `
pid=$1 kind=$2 uids=$3 gids=$4 uid=$5 gid=$6
read -r _ || exit 0
# One range a line, in one write.
lines() { printf '%s %s %s\\n' "$@"; }
single() { echo deny >/proc/$pid/setgroups && echo "0 $uid 1" >/proc/$pid/uid_map && echo "0 $gid 1" >/proc/$pid/gid_map; }
case $kind in
  root) if error=$({ lines $uids >/proc/$pid/uid_map && lines $gids >/proc/$pid/gid_map; } 2>&1)
        then echo ok; else echo "failed $error"; fi ;;
  full) if error=$({ newuidmap $pid $uids && newgidmap $pid $gids; } 2>&1)
        then echo ok
        elif single 2>/dev/null; then echo "single $error"
        else echo "failed $error"; fi ;;
  single) if error=$(single 2>&1); then echo ok; else echo "failed $error"; fi ;;
esac | tr '\\n' ' '
echo
`;

function makeNamespaces(
  unshare: string,
  mapping: IdMapping,
  command: string[],
  environment: string[],
): never {
  const [readyRead, readyWrite] = kernel.pipe2(0);
  const [answerRead, answerWrite] = kernel.pipe2(0);
  const own = [String(mapping.uid[1]), String(mapping.gid[1])];
  const words = [String(Deno.pid), mapping.kind, mapping.uid.join(" "), mapping.gid.join(" "), ...own];
  // Twice in the background: the helper must not stay the engine's child, nobody would wait for it.
  const helper = kernel.spawn({
    path: "/bin/sh",
    args: [
      "sh",
      "-c",
      `sh -c "$0" map "$@" <&${READY_FD} >&${ANSWER_FD} ${READY_FD}<&- ${ANSWER_FD}>&- &`,
      MAP_FROM_OUTSIDE,
      ...words,
    ],
    env: environment,
    fds: { 0: readyRead, 1: 2, 2: 2, [READY_FD]: readyRead, [ANSWER_FD]: answerWrite },
  });
  kernel.wait(helper, false);
  kernel.close(readyRead);
  kernel.close(answerWrite);
  moveDescriptors([readyWrite, answerRead]);
  const args = ["unshare", "--user", "--mount", "--propagation", "slave", "--"];
  return kernel.execve(unshare, [...args, "/bin/sh", "-c", INSIDE, "berth", ...command], environment);
}
