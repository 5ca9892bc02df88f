/** Cgroups made by systemd: one scope for each container, asked for over D-Bus. */
import { withDeadline } from "../base/deadline.ts";
import { EngineError, invalid, messageOf } from "../base/errors.ts";
import { Cgroup, poll } from "./cgroup.ts";
import { readControl, words } from "./control_file.ts";
import { type DBusAddress, DBusConnection, DBusError, noAnswer } from "./dbus/connection.ts";
import { type DBusValue, type Message, Variant } from "./dbus/message.ts";
import { CGROUP_ROOT, ownCgroup } from "./detect.ts";
import { deviceAllow } from "./devices.ts";
import { type CgroupLimits, cgroupWrites, INFINITY, unitProperties } from "./limits.ts";
import type { CgroupManager, CgroupRequest, CreatedCgroup, ManagerOptions } from "./manager.ts";

const SERVICE = "org.freedesktop.systemd1";
const MANAGER = {
  destination: SERVICE,
  path: "/org/freedesktop/systemd1",
  interface: "org.freedesktop.systemd1.Manager",
};
/** How long systemd may take for an answer, and for a job. */
const DEADLINE_MS = 30_000;
/** How long systemd may take to notice that a scope is empty, before it is told. */
const NOTICE_MS = 300;

type Property = readonly [name: string, value: Variant];

export class SystemdManager implements CgroupManager {
  readonly driver = "systemd";
  /** Where this systemd has its units, and what it may give them: its own word, once it has been asked. */
  #root: string;
  #controllers: readonly string[];
  readonly #addresses: readonly DBusAddress[];
  readonly #uid: number;
  #connection: Promise<DBusConnection> | undefined;
  #version = 0;

  private constructor(options: ManagerOptions) {
    this.#addresses = addresses(options.uid, options.runtimeDir);
    this.#uid = options.uid;
    this.#root = options.facts.path;
    this.#controllers = options.facts.controllers;
  }

  get controllers(): readonly string[] {
    return this.#controllers;
  }

  /** The machine's systemd loads the kernel's program that filters; a user's may not. */
  get devices(): boolean {
    return this.#uid === 0;
  }

  get swap(): boolean {
    // The machine's root has no such file.
    const probe = this.#root === CGROUP_ROOT ? `${CGROUP_ROOT}/init.scope` : this.#root;
    return this.controllers.includes("memory") && readControl(`${probe}/memory.swap.max`) !== undefined;
  }

  /**
   * Connects, and moves this process below the same systemd if it is not there already: processes that it starts can then
   * join a container's cgroup by themselves, for which the kernel wants rights over a cgroup that both are in.
   *
   * @throws {Error} systemd does not answer.
   */
  static async open(options: ManagerOptions): Promise<SystemdManager> {
    const manager = new SystemdManager(options);
    manager.#version = Number(/\d+/.exec(await manager.#property("Version"))?.[0] ?? 0);
    manager.#root = `${CGROUP_ROOT}${await manager.#property("ControlGroup")}`;
    manager.#controllers = words(readControl(`${manager.#root}/cgroup.controllers`));
    if (options.uid !== 0 && !`${ownCgroup()}/`.startsWith(`${manager.#root}/`)) {
      const name = `berth-engine-${Deno.pid}-${Date.now().toString(36)}.scope`;
      try {
        await manager.#startScope(name, [Deno.pid], [
          ["Description", new Variant("s", "berth engine")],
          ["Slice", new Variant("s", "app.slice")],
        ]);
      } catch (error) {
        manager.close();
        throw new Error(`cannot move the engine below the user's systemd: ${messageOf(error)}`);
      }
    }
    return manager;
  }

  pathFor(): undefined {
    return undefined;
  }

  async create(request: CgroupRequest): Promise<CreatedCgroup> {
    const slice = sliceName(request.parent, this.#uid);
    const properties: Property[] = [
      ["Description", new Variant("s", `berth container ${request.id}`)],
      ["Slice", new Variant("s", slice)],
      // Without these a first process that does not know SIGTERM holds up a shutdown for systemd's minute and a half.
      ["KillSignal", new Variant("i", request.stop.signal)],
      ["TimeoutStopUSec", new Variant("t", microseconds(request.stop.seconds))],
      ...this.#properties(request.limits),
    ];
    const warnings: string[] = [];
    if (this.devices && request.devices !== undefined) {
      const { allow, untold } = deviceAllow(request.devices, readControl("/proc/devices") ?? "");
      properties.push(["DevicePolicy", new Variant("s", "strict")], [
        "DeviceAllow",
        new Variant("a(ss)", allow),
      ]);
      for (const { type, major, minor, access } of untold) {
        const rule = `${type} ${major < 0 ? "*" : major}:${minor} ${access}`;
        warnings.push(
          `The device rule "${rule.replace(":-1", ":*")}" could not be set: systemd has no words for it.`,
        );
      }
    }
    const name = scopeName(request.id);
    try {
      await this.#startScope(name, [request.pid], properties);
    } catch (error) {
      if (!(error instanceof DBusError && error.errorName.endsWith(".UnitExists"))) throw error;
      // Of an earlier run that is not quite over.
      await this.#stop(name);
      await this.#startScope(name, [request.pid], properties);
    }
    const path = cgroupOf(request.pid);
    if (path === undefined || !path.endsWith(`/${name}`)) {
      await this.#stop(name);
      throw new EngineError("system", `systemd has not moved process ${request.pid} to ${name}`);
    }
    const cgroup = new Cgroup(path);
    return { cgroup, warnings: [...warnings, ...cgroup.apply(cgroupWrites(request.limits))] };
  }

  async update(id: string, cgroup: Cgroup, limits: CgroupLimits): Promise<readonly string[]> {
    // The kernel's answer says what is wrong with a value; systemd's does not.
    const warnings = cgroup.apply(cgroupWrites(limits));
    await this.#call("SetUnitProperties", "sba(sv)", [scopeName(id), true, this.#properties(limits)]);
    return warnings;
  }

  async remove(id: string, cgroup: Cgroup): Promise<void> {
    if (!cgroup.exists) return;
    cgroup.kill();
    // systemd sees for itself that the scope is empty, and removes it.
    if (await poll(() => !cgroup.exists, NOTICE_MS)) return;
    try {
      await this.#stop(scopeName(id));
    } finally {
      // Also when systemd is gone: nothing of the container stays.
      await cgroup.remove();
    }
  }

  close(): void {
    void this.#connection?.then((connection) => connection.close(), () => {});
    this.#connection = undefined;
  }

  /** Properties for limits whose controllers are there: for another systemd would go and look for it higher up. */
  #properties(limits: CgroupLimits): Property[] {
    const controllerOf = (name: string) =>
      /^(Memory|CPU|IO|Tasks)/.exec(name)?.[0].replace("Tasks", "pids").toLowerCase() ?? "cpuset";
    return unitProperties(limits, this.#version)
      .filter(([name]) => this.controllers.includes(controllerOf(name)))
      .map(([name, type, value]) => [name, new Variant(type, value)]);
  }

  async #startScope(name: string, pids: readonly number[], more: readonly Property[]): Promise<void> {
    const properties: Property[] = [
      ["PIDs", new Variant("au", pids)],
      ["Delegate", new Variant("b", true)],
      ["DefaultDependencies", new Variant("b", false)],
      // Or a scope whose processes were killed for want of memory would stay, failed.
      ["CollectMode", new Variant("s", "inactive-or-failed")],
      ["MemoryAccounting", new Variant("b", true)],
      ["CPUAccounting", new Variant("b", true)],
      ["IOAccounting", new Variant("b", true)],
      ["TasksAccounting", new Variant("b", true)],
      ...more,
    ];
    await this.#job("StartTransientUnit", "ssa(sv)a(sa(sv))", [name, "fail", properties, []]);
  }

  async #stop(name: string): Promise<void> {
    try {
      await this.#job("StopUnit", "ss", [name, "replace"]);
      await this.#call("ResetFailedUnit", "s", [name]);
    } catch (error) {
      if (!(error instanceof DBusError && error.errorName.endsWith(".NoSuchUnit"))) throw error;
    }
  }

  /** Calls a method that answers with a job, and waits until that is done. */
  async #job(member: string, signature: string, body: readonly DBusValue[]): Promise<void> {
    const connection = await this.#connect();
    // The job may be done before we have read its name.
    const done = new Map<string, string>();
    let arrived = () => {};
    const forget = connection.onSignal((signal: Message) => {
      if (signal.member !== "JobRemoved") return;
      const [, job, , result] = signal.body;
      done.set(String(job), String(result));
      arrived();
    });
    try {
      const [job] = await connection.call({ ...MANAGER, member, signature, body }, DEADLINE_MS);
      const finished = new Promise<string>((resolve) => {
        arrived = () => {
          const result = done.get(String(job));
          if (result !== undefined) resolve(result);
        };
        arrived();
      });
      const result = await withDeadline(
        finished,
        DEADLINE_MS,
        () => noAnswer(`systemd's job for ${member}`, DEADLINE_MS),
      );
      if (result !== "done") throw new Error(`systemd's job for ${member} ${String(body[0])}: ${result}`);
    } finally {
      forget();
    }
  }

  async #call(
    member: string,
    signature: string,
    body: readonly DBusValue[],
  ): Promise<readonly DBusValue[]> {
    const connection = await this.#connect();
    return await connection.call({ ...MANAGER, member, signature, body }, DEADLINE_MS);
  }

  /** The connection, made anew when it has been lost: systemd can be restarted at any time. */
  async #connect(): Promise<DBusConnection> {
    const held = await this.#connection?.catch(() => undefined);
    if (held !== undefined && !held.closed) return held;
    this.#connection = this.#connectAnew();
    return await this.#connection;
  }

  async #connectAnew(): Promise<DBusConnection> {
    let last: unknown = new Error("XDG_RUNTIME_DIR is not set");
    for (const address of this.#addresses) {
      try {
        const connection = await DBusConnection.connect(address, this.#uid, DEADLINE_MS);
        if (address.bus) await subscribe(connection);
        return connection;
      } catch (error) {
        last = error;
      }
    }
    throw new EngineError("system", `cannot reach systemd: ${messageOf(last)}`, { cause: last });
  }

  /** Of the manager itself. Version is text as "252.39-1~deb12u2" or "v245". */
  async #property(name: string): Promise<string> {
    const connection = await this.#connect();
    const [value] = await connection.call({
      ...MANAGER,
      interface: "org.freedesktop.DBus.Properties",
      member: "Get",
      signature: "ss",
      body: [MANAGER.interface, name],
    }, DEADLINE_MS);
    return value instanceof Variant ? String(value.value) : "";
  }
}

/** On a bus signals come only to those who have asked for them. */
async function subscribe(connection: DBusConnection): Promise<void> {
  await connection.call({
    destination: "org.freedesktop.DBus",
    path: "/org/freedesktop/DBus",
    interface: "org.freedesktop.DBus",
    member: "AddMatch",
    signature: "s",
    body: [`type='signal',sender='${SERVICE}',interface='${MANAGER.interface}',member='JobRemoved'`],
  }, DEADLINE_MS);
  await connection.call({ ...MANAGER, member: "Subscribe" }, DEADLINE_MS);
}

/** systemd's own socket first: it is there without a message bus as well, and one process less has to wake up. */
function addresses(uid: number, runtimeDir: string | undefined): DBusAddress[] {
  if (uid === 0) {
    return [
      { path: "/run/systemd/private", bus: false },
      { path: "/run/dbus/system_bus_socket", bus: true },
    ];
  }
  if (runtimeDir === undefined) return [];
  const [, named] = /^unix:path=([^,;]+)/.exec(Deno.env.get("DBUS_SESSION_BUS_ADDRESS") ?? "") ?? [];
  return [
    { path: `${runtimeDir}/systemd/private`, bus: false },
    { path: named ?? `${runtimeDir}/bus`, bus: true },
  ];
}

/** A span of time as systemd has it: without end when it is negative. */
const microseconds = (seconds: number): bigint => seconds < 0 ? INFINITY : BigInt(seconds) * 1_000_000n;

/** The scope of a container. */
export function scopeName(id: string): string {
  return `berth-${id}.scope`;
}

/** `--cgroup-parent` with systemd: a slice. @throws {EngineError} invalid, in Docker's words. */
export function sliceName(parent: string, uid: number): string {
  if (parent === "") return uid === 0 ? "system.slice" : "user.slice";
  if (!/^[A-Za-z0-9:_.\\@-]+\.slice$/.test(parent)) {
    throw invalid('cgroup-parent for systemd cgroup should be a valid slice named as "xxx.slice"');
  }
  return parent;
}

/** Directory of a process's cgroup. */
function cgroupOf(pid: number): string | undefined {
  const [, path] = /^0::(\/.*)$/m.exec(readControl(`/proc/${pid}/cgroup`) ?? "") ?? [];
  return path === undefined ? undefined : `${CGROUP_ROOT}${path === "/" ? "" : path}`;
}
