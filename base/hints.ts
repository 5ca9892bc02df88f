/**
 * "What to type now": all hints of berth in one place, so that one word is used for one thing. A hint is whole
 * sentences or commands, shown below an error; it never repeats the error.
 */

export const hints = {
  unprivilegedUserNamespacesOff: (file: string, value: string): string =>
    `User namespaces are switched off for ordinary users on this machine (${file} is ${value}).\n` +
    (file.endsWith("max_user_namespaces")
      ? `Switch them on:  sudo sysctl -w user.max_user_namespaces=28633\n` +
        `For good:        echo user.max_user_namespaces=28633 | sudo tee /etc/sysctl.d/90-berth.conf`
      : `Switch them on:  sudo sysctl -w kernel.unprivileged_userns_clone=1\n` +
        `For good:        echo kernel.unprivileged_userns_clone=1 | sudo tee /etc/sysctl.d/90-berth.conf`),

  appArmorRestrictsUserNamespaces: (executable: string): string =>
    `AppArmor permits user namespaces only to programs that have a profile (kernel.apparmor_restrict_unprivileged_userns=1).\n` +
    `Give berth and its helper a profile (the path is this executable's: a copy elsewhere needs its own):\n\n` +
    `  sudo tee /etc/apparmor.d/berth <<'EOF'\n` +
    `  abi <abi/4.0>,\n` +
    `  include <tunables/global>\n` +
    `  profile berth ${executable} flags=(unconfined) {\n` +
    `    userns,\n` +
    `  }\n` +
    `  profile berth-unshare /usr/bin/unshare flags=(unconfined) {\n` +
    `    userns,\n` +
    `  }\n` +
    `  EOF\n` +
    `  sudo apparmor_parser -r /etc/apparmor.d/berth\n\n` +
    `Or lift the restriction for all programs:  sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`,

  nestedContainer: "berth seems to run inside a container that forbids new user namespaces or mounts.\n" +
    "Start the outer container with what berth needs, for example:\n" +
    "  docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined --device /dev/fuse …",

  installGit: "Install it:  sudo apt-get install git",

  unknownSshHost:
    "The server's key is not known. Look whether it is the right one, and keep it:  ssh-keyscan HOST >> ~/.ssh/known_hosts",

  notBerthsEngine:
    "This command looks into berth's own network. Unset DOCKER_HOST and BERTH_HOST, or name berth's socket:  berth -H unix:///path/to/berth.sock …",

  networkElsewhere:
    "The network lives on the machine (and for the user) that the engine runs on: log in there, and type the same without -H.",

  userNamespaceRefused:
    "The kernel refused a new user namespace. Inside a container or a sandbox its security profile may forbid it; see docs/troubleshooting.md.",

  utilLinuxMissing: "Install util-linux, which has unshare and nsenter:  sudo apt-get install util-linux",

  dataRootFull:
    "Make room on the disk that has the data root (berth info | grep Root), or start the engine with another one:  berth serve --data-root /path/to/another/disk",

  diskBroken: (path: string): string =>
    `The disk is full, or does not work. Look:  df ${path}; sudo dmesg | tail`,

  execRootUnusable: (runtime: string | undefined): string =>
    runtime === undefined
      ? "Choose another directory for the engine's sockets:  berth serve --exec-root DIRECTORY"
      : `XDG_RUNTIME_DIR is ${runtime}, which is no directory of yours; su and sudo keep another user's. Leave it out:  unset XDG_RUNTIME_DIR`,

  runtimeDirectoryMissing:
    "Name a directory of your own for sockets:  mkdir -p -m 700 ~/.run && export XDG_RUNTIME_DIR=~/.run",

  dataRootUnusable:
    "Choose a directory that you may write to:  berth serve --data-root DIRECTORY   (by default it lies in XDG_DATA_HOME, or below HOME)",

  uidmapMissing:
    "Install newuidmap and newgidmap to use your whole range of subordinate ids:  sudo apt-get install uidmap",

  noSubordinateIds: (user: string): string =>
    `Give ${user} a range of subordinate ids:  sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 ${user}`,

  newuidmapFailed: (text: string): string =>
    `newuidmap said: ${text}\n` +
    "It must be installed setuid root (or with file capabilities), and inside another user namespace the outer one must map your range.",

  singleId:
    "Only your own id is mapped: containers see one user (0); files of other owners, chown, and images that switch users will not work fully.",

  cgroupVersion1:
    "This machine mounts the old version 1 of cgroups, which nobody can use without root. To change it, boot with:\n" +
    "  systemd.unified_cgroup_hierarchy=1 cgroup_no_v1=all",

  cgroupDelegation:
    "Have systemd delegate the controllers to users, then log out and in again (or reboot):\n" +
    "  sudo mkdir -p /etc/systemd/system/user@.service.d\n" +
    "  printf '[Service]\\nDelegate=cpu cpuset io memory pids\\n' | sudo tee /etc/systemd/system/user@.service.d/delegate.conf\n" +
    "  sudo systemctl daemon-reload",

  fuseDevice:
    "fuse-overlayfs needs /dev/fuse, readable and writable by you:  sudo modprobe fuse && sudo chmod 0666 /dev/fuse",

  fuseOverlayfsMissing: "Install fuse-overlayfs:  sudo apt-get install fuse-overlayfs",

  linger: (user: string): string =>
    `Have systemd keep your processes when you log out:  sudo loginctl enable-linger ${user}`,

  vfsIsSlow:
    "Each container gets a copy of its image, which takes time and space. Linux 5.11 or later with a data root on ext4, xfs, btrfs or tmpfs, or fuse-overlayfs, does without:\n" +
    "  sudo apt-get install fuse-overlayfs\n" +
    "An engine keeps the driver that it has begun with; give a new one another --data-root.",

  diskFull: "See what takes the space, and remove what nobody uses:  berth system df; berth system prune",

  privilegedPort: (port: number): string =>
    `Ports from net.ipv4.ip_unprivileged_port_start on are for everybody. Permit this one:  sudo sysctl -w net.ipv4.ip_unprivileged_port_start=${port}\n` +
    `For good:  echo net.ipv4.ip_unprivileged_port_start=${port} | sudo tee /etc/sysctl.d/90-berth-ports.conf\n` +
    `Or publish on a higher port:  -p ${port + 8000}:…`,

  portInUse: (port: number, protocol: "tcp" | "udp"): string =>
    `Another program of this machine has the port. Find it:  ss -${protocol[0]}lnp 'sport = :${port}'`,

  foreignAddress: (address: string): string =>
    `No interface of this machine has ${address}. List those there are:  ip -brief address`,

  logDriver: (names: readonly string[]): string =>
    `berth has these log drivers: ${
      names.join(", ")
    }. What a cloud's own agent can read, json-file, journald and fluentd give it.`,

  openFiles:
    "The network process has no file descriptors left. Allow it more than `ulimit -Hn` says:  sudo prlimit --pid $PPID --nofile=1048576:1048576, then start the engine again from here.",
} as const;
