/**
 * What becomes of containers when their user logs out: logind ends the session, and without lingering the user's systemd as well.
 * Needs the machine's root for another user and sessions of his.
 */
import { assert, check, equal, eventually, finish, skip } from "./checks.ts";
import { asRoot, type Output, TOOLS } from "./engine_support.ts";

const USER = "guest";
const UID = 1001;
const HOME = `/home/${USER}`;
const SLICE = `/sys/fs/cgroup/user.slice/user-${UID}.slice`;

async function root(...words: string[]): Promise<string> {
  const { code, stdout, stderr } = await asRoot(...words);
  equal(code, 0, `${words.join(" ")}: ${stdout}${stderr}`);
  return stdout.trim();
}

/** A login of the user's, as by ssh: a session of its own for as long as the script runs. */
async function session(script: string): Promise<Output> {
  const shell = [
    "runuser",
    "-l",
    USER,
    "-c",
    `PATH=$PATH:/usr/sbin:/sbin NO_COLOR=1; export PATH NO_COLOR; ${script}`,
  ];
  const settings = ["XDG_SESSION_CLASS=user", "XDG_SESSION_TYPE=tty"].map((word) => `--setenv=${word}`);
  return await asRoot("systemd-run", "--quiet", "--wait", "--pipe", "--collect", ...settings, "--", ...shell);
}

/** An engine may take longer to start here than the command line waits for it. */
const PATIENCE = "until berth version >/dev/null 2>&1; do sleep 0.5; done";

async function inSession(script: string): Promise<string> {
  const { code, stdout, stderr } = await session(script);
  equal(code, 0, stdout + stderr);
  return stdout.trim();
}

/** Processes of the user's and of his subordinate ids. */
function processes(): string[] {
  const found: string[] = [];
  for (const { name } of Deno.readDirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const status = Deno.readTextFileSync(`/proc/${name}/status`);
      const uid = Number(/^Uid:\s+(\d+)/m.exec(status)?.[1]);
      if (uid === UID || (uid >= 200_000 && uid < 265_536)) {
        found.push(`${name} ${Deno.readTextFileSync(`/proc/${name}/cmdline`).replaceAll("\0", " ")}`);
      }
    } catch {
      // It has ended.
    }
  }
  return found;
}

const exists = (path: string) => {
  try {
    return Deno.statSync(path) !== undefined;
  } catch {
    return false;
  }
};
const started = (uptime: string) => Number(uptime.split(/\s+/)[0]);
const now = () => started(Deno.readTextFileSync("/proc/uptime"));

const { code } = await asRoot("true");
if (code !== 0) {
  skip("logout", "the virtual machine's root can be had from root only");
  finish();
}

await check("logout: another user, whose session has a systemd of his own", async () => {
  const ids = `echo ${USER}:200000:65536 | tee -a /etc/subuid >>/etc/subgid`;
  const cache = `mkdir -p ${HOME}/.cache && cp -a "$1" ${HOME}/.cache/ && chown -R ${USER}: ${HOME}/.cache`;
  const program = `install -m 755 "$2" /usr/local/bin/berth`;
  const script = `useradd -m -u ${UID} -s /bin/sh ${USER} && ${ids} && ${cache} && ${program}`;
  const own = `${Deno.env.get("HOME")}/.cache/berth`;
  await root("sh", "-ec", script, "sh", own, `${TOOLS}/berth`);
  equal(
    await inSession("systemctl --user is-active default.target; echo $XDG_RUNTIME_DIR"),
    `active\n/run/user/${UID}`,
    "session",
  );
  await eventually(() => processes().length === 0, () => processes().join("\n"), 60);
});

// As a server that tidies up, as a program that does not know signals, and as one that wants another signal.
const tidy = `trap 'echo tidied; exit 3' TERM; echo up; while :; do sleep 0.1; done`;
const other = `trap 'echo asked; exit 4' USR1; trap '' TERM; echo up; while :; do sleep 0.1; done`;
const run = (name: string, more: string, command: string) =>
  `berth run -d --network none --name ${name} ${more} berth/host ${command} >/dev/null`;

await check("logout: without lingering containers are asked to stop, and everything ends", async () => {
  const doctor = await inSession(`set -e; ${PATIENCE}
    ${run("tidy", "--restart unless-stopped", `sh -c "${tidy}"`)}
    ${run("other", "--stop-signal USR1", `sh -c "${other}"`)}
    ${run("deaf", "--stop-timeout 1", "sleep 1000")}
    for c in tidy other; do until berth logs $c | grep -q up; do sleep 0.1; done; done
    berth ps -q | wc -l
    berth doctor || echo "exit code $?"`);
  assert(doctor.startsWith("3\n"), `session: ${doctor}`);
  assert(doctor.includes(`sudo loginctl enable-linger ${USER}`), `doctor: ${doctor}`);
  const logout = now();
  await eventually(() => !exists(SLICE), () => `still there: ${processes().join("\n")}`, 60);
  equal(processes(), [], "processes");
  // logind waits 10 s for the next login before it ends the user's systemd; then each has its --stop-timeout, not systemd's 90 s.
  assert(now() - logout < 60, `${now() - logout} s`);
});

await check("logout: the next login finds them as they ended, and starts those that restart", async () => {
  const format = `{{.State.Status}} {{.State.ExitCode}}`;
  const told = await inSession(`set -e; ${PATIENCE}
    berth inspect -f "${format}" other
    berth inspect -f "${format}" deaf
    until [ "$(berth inspect -f "{{.State.Running}}" tidy)" = true ]; do sleep 0.1; done
    berth logs tidy
    berth logs other
    berth rm -f tidy other deaf >/dev/null`);
  const [first, second, ...logs] = told.split("\n");
  equal([first, second], ["exited 4", "exited 137"], told);
  assert(logs.filter((line) => line === "tidied").length === 1 && logs.includes("asked"), told);
  await eventually(() => !exists(SLICE), () => `still there: ${processes().join("\n")}`, 80);
});

await check("logout: with lingering they go on, and the next login finds them running", async () => {
  await root("loginctl", "enable-linger", USER);
  const pid = await inSession([
    PATIENCE,
    "berth run -d --network none --name stays berth/host sleep 1000 >/dev/null",
    "berth inspect -f '{{.State.Pid}}' stays",
  ].join(" && "));
  await eventually(
    async () => await root("loginctl", "show-user", USER, "--value", "-p", "State") === "lingering",
    "a session is left",
  );
  // Longer than logind waits for another login.
  const end = now() + 15;
  await eventually(() => now() > end, "the clock stands still");
  assert(exists(`/proc/${pid}`), "the container has ended");
  const told = await inSession(
    "berth inspect -f '{{.State.Running}} {{.State.Pid}}' stays && berth doctor | grep linger && berth rm -f stays >/dev/null",
  );
  assert(told.startsWith(`true ${pid}\n`) && told.includes("containers go on after logout"), told);
  await root("loginctl", "disable-linger", USER);
  await eventually(() => !exists(SLICE), () => `still there: ${processes().join("\n")}`, 80);
});

finish();
