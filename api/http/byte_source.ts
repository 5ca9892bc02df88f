/** What the server needs of a connection; `Deno.TcpConn` and `Deno.UnixConn` both are one. */
export interface RawConn {
  read(p: Uint8Array): Promise<number | null>;
  write(p: Uint8Array): Promise<number>;
  closeWrite(): Promise<void>;
  close(): void;
}

const EMPTY = new Uint8Array(0);
/** Enough for almost every head; a connection that waits for its next request holds no more than this. */
const SMALL_BLOCK = 4 * 1024;

/**
 * The receiving half of a connection: a buffer with at most one read in flight.
 *
 * A read cannot be taken back, so whoever needs bytes next shares the one that is under way: it brings more of a
 * body, the next request, or the news that the client is gone.
 */
export class ByteSource {
  readonly #conn: RawConn;
  #block: Uint8Array<ArrayBuffer> = EMPTY;
  #start = 0;
  #end = 0;
  /** Parts of the block were given away and must not be written again. */
  #lent = false;
  #pending: Promise<boolean> | undefined;
  #ended = false;

  constructor(conn: RawConn) {
    this.#conn = conn;
  }

  /** The client has sent everything it ever will, or the connection broke. The buffer may still hold bytes. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Bytes that have come and were not taken. Valid until the next fill. */
  get buffered(): Uint8Array<ArrayBuffer> {
    return this.#block.subarray(this.#start, this.#end);
  }

  get length(): number {
    return this.#end - this.#start;
  }

  skip(count: number): void {
    this.#start += count;
  }

  /** Takes up to `max` buffered bytes without copying: they belong to the caller. */
  take(max: number): Uint8Array<ArrayBuffer> {
    const end = Math.min(this.#end, this.#start + max);
    const bytes = this.#block.subarray(this.#start, end);
    this.#start = end;
    this.#lent = true;
    return bytes;
  }

  /**
   * Waits until more bytes are buffered: true; false at the end of the stream, a broken connection included.
   * While one fill is under way others wait for the same.
   *
   * @param room how many bytes a read may bring when a new block is needed anyway.
   */
  fill(room: number = SMALL_BLOCK): Promise<boolean> {
    if (this.#pending !== undefined) return this.#pending;
    return this.#ended ? Promise.resolve(false) : this.#pending = this.#read(room);
  }

  async #read(room: number): Promise<boolean> {
    this.#makeRoom(room);
    try {
      const count = await this.#conn.read(this.#block.subarray(this.#end));
      if (count === null || count === 0) this.#ended = true;
      else this.#end += count;
    } catch {
      this.#ended = true;
    }
    this.#pending = undefined;
    return !this.#ended;
  }

  #makeRoom(room: number): void {
    const unread = this.#end - this.#start;
    const free = this.#block.length - this.#end;
    if (unread === 0) {
      if (this.#lent ? free >= room / 2 : this.#block.length >= room) {
        if (!this.#lent) this.#start = this.#end = 0;
        return;
      }
    } else if (free >= 1024) {
      return;
    }
    // Doubling keeps a head that comes in small pieces from being copied again and again.
    const block = new Uint8Array(Math.max(room, unread * 2));
    block.set(this.#block.subarray(this.#start, this.#end));
    this.#block = block;
    this.#start = 0;
    this.#end = unread;
    this.#lent = false;
  }
}
