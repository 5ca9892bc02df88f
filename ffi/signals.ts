/** Signal names and numbers of Linux (asm-generic/signal.h: the same on x86-64 and arm64). */
// deno-fmt-ignore
const NAMED = {
  SIGHUP: 1, SIGINT: 2, SIGQUIT: 3, SIGILL: 4, SIGTRAP: 5, SIGABRT: 6, SIGBUS: 7, SIGFPE: 8, SIGKILL: 9, SIGUSR1: 10,
  SIGSEGV: 11, SIGUSR2: 12, SIGPIPE: 13, SIGALRM: 14, SIGTERM: 15, SIGSTKFLT: 16, SIGCHLD: 17, SIGCONT: 18,
  SIGSTOP: 19, SIGTSTP: 20, SIGTTIN: 21, SIGTTOU: 22, SIGURG: 23, SIGXCPU: 24, SIGXFSZ: 25, SIGVTALRM: 26,
  SIGPROF: 27, SIGWINCH: 28, SIGIO: 29, SIGPWR: 30, SIGSYS: 31,
} as const;

export const {
  SIGHUP,
  SIGINT,
  SIGQUIT,
  SIGABRT,
  SIGKILL,
  SIGUSR1,
  SIGSEGV,
  SIGUSR2,
  SIGPIPE,
  SIGALRM,
  SIGTERM,
  SIGCHLD,
  SIGCONT,
  SIGSTOP,
  SIGTSTP,
  SIGTTIN,
  SIGTTOU,
  SIGWINCH,
  SIGSYS,
} = NAMED;

/** The first real-time signal that libc leaves to programs (32 and 33 are its own), and the last one. */
export const SIGRTMIN = 34;
export const SIGRTMAX = 64;

const ALIASES: Readonly<Record<string, number>> = {
  SIGIOT: NAMED.SIGABRT,
  SIGCLD: NAMED.SIGCHLD,
  SIGPOLL: NAMED.SIGIO,
  SIGRTMIN,
  SIGRTMAX,
};

const BY_NUMBER = new Map<number, string>(Object.entries(NAMED).map(([name, number]) => [number, name]));

/**
 * Number of a signal as users write it: `9`, `KILL`, `SIGKILL`, `sigkill`, `SIGRTMIN+3`, `RTMAX-1`.
 * Undefined when there is no such signal.
 */
export function signalNumber(text: string): number | undefined {
  if (/^\d+$/.test(text)) {
    const number = Number(text);
    return number >= 1 && number <= SIGRTMAX ? number : undefined;
  }
  const upper = text.toUpperCase();
  const name = upper.startsWith("SIG") ? upper : `SIG${upper}`;
  if (Object.hasOwn(NAMED, name)) return NAMED[name as keyof typeof NAMED];
  if (Object.hasOwn(ALIASES, name)) return ALIASES[name];
  const realTime = /^SIGRT(MIN\+|MAX-)(\d{1,2})$/.exec(name);
  if (!realTime) return undefined;
  const offset = Number(realTime[2]);
  if (offset > SIGRTMAX - SIGRTMIN) return undefined;
  return realTime[1] === "MIN+" ? SIGRTMIN + offset : SIGRTMAX - offset;
}

/** `SIGTERM` for 15, `SIGRTMIN+3` for 37, `SIG<number>` for one without a name. */
export function signalName(number: number): string {
  const name = BY_NUMBER.get(number);
  if (name !== undefined) return name;
  if (number < SIGRTMIN || number > SIGRTMAX) return `SIG${number}`;
  return number === SIGRTMIN
    ? "SIGRTMIN"
    : number === SIGRTMAX
    ? "SIGRTMAX"
    : `SIGRTMIN+${number - SIGRTMIN}`;
}
