/** Where one user's engine keeps its things when no option says otherwise. */
export interface Paths {
  /** Images, layers, containers, volumes, `berth.db`. Survives a reboot. */
  readonly dataRoot: string;
  /** Sockets and what lives no longer than a boot. */
  readonly execRoot: string;
  /** Unix socket of the API. */
  readonly socket: string;
  /** `$XDG_RUNTIME_DIR/docker.sock`, where Docker's clients look by themselves; root's place for it is Docker's own. */
  readonly probedSocket?: string;
  /** Extracted executables and other things that can be made again. */
  readonly cacheDir: string;
  /** daemon.json-compatible configuration. */
  readonly configFile: string;
}

type Env = (name: string) => string | undefined;

/** A directory variable counts only when it is an absolute path (XDG base directory specification). */
function absolute(value: string | undefined): string | undefined {
  return value?.startsWith("/") ? value.replace(/\/+$/, "") || "/" : undefined;
}

/**
 * Default paths of the calling user: root gets /var/lib and /run as dockerd does, everybody else the XDG
 * directories. `/tmp/berth-UID` stands in for a missing XDG_RUNTIME_DIR (cron, su, CI): whoever uses it must check its owner.
 *
 * @param uid the user's id *outside* of any user namespace made by berth.
 */
export function defaultPaths(uid: number, env: Env = (name) => Deno.env.get(name)): Paths {
  const home = absolute(env("HOME")) ?? (uid === 0 ? "/root" : `/tmp/berth-${uid}`);
  const cacheDir = `${absolute(env("XDG_CACHE_HOME")) ?? `${home}/.cache`}/berth`;
  if (uid === 0) {
    return {
      dataRoot: "/var/lib/berth",
      execRoot: "/run/berth",
      socket: "/run/berth/berth.sock",
      cacheDir,
      configFile: "/etc/berth/daemon.json",
    };
  }
  const runtime = absolute(env("XDG_RUNTIME_DIR"));
  const execRoot = runtime ? `${runtime}/berth` : `/tmp/berth-${uid}`;
  return {
    dataRoot: `${absolute(env("XDG_DATA_HOME")) ?? `${home}/.local/share`}/berth`,
    execRoot,
    socket: `${execRoot}/berth.sock`,
    ...(runtime === undefined ? {} : { probedSocket: `${runtime}/docker.sock` }),
    cacheDir,
    configFile: `${absolute(env("XDG_CONFIG_HOME")) ?? `${home}/.config`}/berth/daemon.json`,
  };
}

/** Where the certificates for TLS are that no flag names. */
export function certificateDirectory(env: Env = (name) => Deno.env.get(name)): string {
  return env("DOCKER_CERT_PATH") || dockerConfigDirectory(env);
}

/** `~/.docker`, or what `DOCKER_CONFIG` names. */
export function dockerConfigDirectory(env: Env = (name) => Deno.env.get(name)): string {
  return env("DOCKER_CONFIG") || `${env("HOME") || "/root"}/.docker`;
}
