/** Docker's commands that berth does not have, and what to do instead. */

const EXPORT = "  export DOCKER_HOST=$(berth context inspect -f '{{.Endpoints.docker.Host}}')";

const SWARM_INSTEAD =
  "An engine of berth is never part of a swarm. For several containers that belong together on one machine there is\n" +
  `docker compose, which finds berth by:\n\n${EXPORT}`;

const SWARM = `This node is not a swarm manager: berth has no swarm mode.\n\n${SWARM_INSTEAD}`;

/** Why, by the command's first word. */
const REASONS: Readonly<Record<string, string>> = {
  checkpoint:
    `"berth checkpoint" is only supported on a Docker daemon with experimental features enabled, and berth does not have it:\n` +
    "writing running processes to disk (CRIU) needs rights over the whole machine.\n\n" +
    "Keep a container's files:  berth commit CONTAINER IMAGE\n" +
    "Hold its processes still:  berth pause CONTAINER",
  config: SWARM,
  node: SWARM,
  plugin:
    "berth has no managed plugins: they are started by the engine with rights over the whole machine.\n\n" +
    "Log and volume drivers that berth brings itself:  berth info --format '{{json .Plugins}}'",
  secret: SWARM +
    "\nA file with a secret for one container:  berth run -v ./secret:/run/secrets/name:ro …",
  service: SWARM,
  stack: SWARM,
  swarm: SWARM,
  trust: "berth has no content trust: it neither makes nor verifies signatures of Notary.\n\n" +
    "Name an image by what it is:  berth pull NAME@sha256:…   (`berth manifest inspect -v NAME` shows the digest)\n" +
    "Verify signatures with a program of its own, for example cosign or notation, before the pull.",
};

/** Programs that docker's packages bring as plugins of the command line, and how to come by them. */
const PLUGINS: Readonly<Record<string, string>> = {
  buildx: "`berth build` has what buildx builds with.",
  compose: "docker-compose works as it is; it finds berth by:\n\n" + EXPORT + "\n",
};

/** Why there is no such command; undefined when docker has none either. */
export function refusalOf(command: string): string | undefined {
  if (Object.hasOwn(REASONS, command)) return REASONS[command];
  if (!Object.hasOwn(PLUGINS, command)) return undefined;
  return `berth: unknown command: berth ${command}\n\n${PLUGINS[command]}\n` +
    `With the program docker-${command} in ~/.docker/cli-plugins, \`berth ${command}\` runs it.`;
}
