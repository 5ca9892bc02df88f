/** errno values of Linux (asm-generic/errno*.h; the same on x86-64 and arm64), by name. */
export const ERRNO = {
  EPERM: 1,
  ENOENT: 2,
  ESRCH: 3,
  EINTR: 4,
  EIO: 5,
  ENXIO: 6,
  E2BIG: 7,
  ENOEXEC: 8,
  EBADF: 9,
  ECHILD: 10,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  EFAULT: 14,
  EBUSY: 16,
  EEXIST: 17,
  EXDEV: 18,
  ENODEV: 19,
  ENOTDIR: 20,
  EISDIR: 21,
  EINVAL: 22,
  ENFILE: 23,
  EMFILE: 24,
  ENOTTY: 25,
  ETXTBSY: 26,
  EFBIG: 27,
  ENOSPC: 28,
  ESPIPE: 29,
  EROFS: 30,
  EMLINK: 31,
  EPIPE: 32,
  ERANGE: 34,
  ENAMETOOLONG: 36,
  ENOSYS: 38,
  ENOTEMPTY: 39,
  ELOOP: 40,
  ENODATA: 61,
  ENONET: 64,
  EPROTO: 71,
  EBADMSG: 74,
  EOVERFLOW: 75,
  EUSERS: 87,
  ENOTSOCK: 88,
  EDESTADDRREQ: 89,
  EMSGSIZE: 90,
  EPROTOTYPE: 91,
  ENOPROTOOPT: 92,
  EPROTONOSUPPORT: 93,
  ESOCKTNOSUPPORT: 94,
  EOPNOTSUPP: 95,
  EAFNOSUPPORT: 97,
  EADDRINUSE: 98,
  EADDRNOTAVAIL: 99,
  ENETDOWN: 100,
  ENETUNREACH: 101,
  ECONNABORTED: 103,
  ECONNRESET: 104,
  ENOBUFS: 105,
  EISCONN: 106,
  ENOTCONN: 107,
  ETIMEDOUT: 110,
  ECONNREFUSED: 111,
  EHOSTDOWN: 112,
  EHOSTUNREACH: 113,
  EALREADY: 114,
  EINPROGRESS: 115,
  ESTALE: 116,
  EDQUOT: 122,
} as const; // deno-fmt-ignore

/** The kernel's own short texts, as Docker's messages show them (Go's syscall.Errno strings, lower case). */
const TEXT: Readonly<Record<string, string>> = {
  EPERM: "operation not permitted",
  ENOENT: "no such file or directory",
  EACCES: "permission denied",
  EEXIST: "file exists",
  ENOTDIR: "not a directory",
  EISDIR: "is a directory",
  EINVAL: "invalid argument",
  ENOSPC: "no space left on device",
  EROFS: "read-only file system",
  ENOEXEC: "exec format error",
  ENOTEMPTY: "directory not empty",
  ELOOP: "too many levels of symbolic links",
  ENAMETOOLONG: "file name too long",
  EBUSY: "device or resource busy",
  ENODEV: "no such device",
  EDQUOT: "disk quota exceeded",
  ENOMEM: "cannot allocate memory",
  EMFILE: "too many open files",
  E2BIG: "argument list too long",
  ESRCH: "no such process",
  EADDRINUSE: "address already in use",
  ENOSYS: "function not implemented",
  EBADF: "bad file descriptor",
  EAGAIN: "resource temporarily unavailable",
  EPIPE: "broken pipe",
  ERANGE: "numerical result out of range",
  EPROTO: "protocol error",
  EBADMSG: "bad message",
  EMSGSIZE: "message too long",
  ENOPROTOOPT: "protocol not available",
  EPROTONOSUPPORT: "protocol not supported",
  EOPNOTSUPP: "operation not supported",
  EAFNOSUPPORT: "address family not supported by protocol",
  EADDRNOTAVAIL: "cannot assign requested address",
  ENETDOWN: "network is down",
  ENETUNREACH: "network is unreachable",
  ECONNABORTED: "software caused connection abort",
  ECONNRESET: "connection reset by peer",
  ENOBUFS: "no buffer space available",
  EISCONN: "transport endpoint is already connected",
  ENOTCONN: "transport endpoint is not connected",
  ETIMEDOUT: "connection timed out",
  ECONNREFUSED: "connection refused",
  EHOSTDOWN: "host is down",
  EHOSTUNREACH: "no route to host",
  EALREADY: "operation already in progress",
  EINPROGRESS: "operation now in progress",
};

const NAME_BY_NUMBER = new Map<number, string>(Object.entries(ERRNO).map(([name, value]) => [value, name]));

/** `ENOENT` for 2; `E<number>` for one the table does not know. */
export function errnoName(errno: number): string {
  return NAME_BY_NUMBER.get(errno) ?? `E${errno}`;
}

/** "no such file or directory" for 2; the name when there is no text. */
export function errnoText(errno: number): string {
  const name = errnoName(errno);
  return TEXT[name] ?? name;
}

/** A system call that failed. The message reads like Go's PathError: `mkdir /x: permission denied`. */
export class SysError extends Error {
  override readonly name = "SysError";
  readonly op: string;
  readonly errno: number;
  readonly path: string | undefined;

  constructor(op: string, errno: number, path?: string) {
    super(
      path === undefined || path === "" ? `${op}: ${errnoText(errno)}` : `${op} ${path}: ${errnoText(errno)}`,
    );
    this.op = op;
    this.errno = errno;
    this.path = path;
  }

  /** errno's name, `ENOENT`. */
  get code(): string {
    return errnoName(this.errno);
  }

  is(...names: (keyof typeof ERRNO)[]): boolean {
    return names.some((name) => ERRNO[name] === this.errno);
  }
}
