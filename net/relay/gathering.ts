/**
 * Waking up less often for streams that are long and fast.
 *
 * A sender that paces (BBR) sends 64 KiB and a moment later 64 KiB more, and each piece wakes netd up, and then the receiver: at 10 Gbit/s each of
 * them twenty thousand times a second, which took a quarter of netd's time. So the socket of a stream that has proved to be long tells of what has come
 * only when there is much of it (SO_RCVLOWAT). For what is less, the end of a file or a pause, we look every other millisecond; a stream
 * that is slow then is as any other again. The end itself and errors are told at once.
 */
import { SOL_SOCKET } from "../../ffi/constants.ts";
import type { EventLoop } from "../../ffi/event_loop.ts";
import { SO_RCVLOWAT } from "../../ffi/network_constants.ts";
import { setOption } from "../../ffi/stream_calls.ts";

/** Bytes that a stream must have brought: what it may wait for at the end is little beside the time that those have taken. */
const LONG = 16 * 1024 * 1024;
/** The socket tells of so many; the kernel makes it half of what it may hold, if that is less. */
const MUCH = 512 * 1024;
const LOOK_MS = 2;
/** Less between two looks is slow: a quarter of a gigabit per second. */
const SLOW = 64 * 1024;

/** What is known of a stream. */
export interface GatheredStream {
  /** The socket that it comes by. */
  readonly from: number;
  /** Bytes that it has brought since it was slow. */
  brought: number;
}

export class Gathering<T extends GatheredStream> {
  readonly #loop: EventLoop;
  readonly #collect: (stream: T) => boolean;
  /** Those that gather, with what they had brought at the last look. */
  readonly #streams = new Map<T, number>();
  readonly #look = () => this.#onLook();

  /** @param collect moves on what is there. False: the receiver takes no more, so nobody knows how fast the sender is. */
  constructor(loop: EventLoop, collect: (stream: T) => boolean) {
    this.#loop = loop;
    this.#collect = collect;
  }

  /** Streams that gather. */
  get size(): number {
    return this.#streams.size;
  }

  /** More has come by a stream. */
  note(stream: T, bytes: number): void {
    stream.brought += bytes;
    if (stream.brought < LONG || this.#streams.has(stream)) return;
    if (setOption(stream.from, SOL_SOCKET, SO_RCVLOWAT, MUCH) < 0) return;
    if (this.#streams.size === 0) this.#loop.after(LOOK_MS, this.#look);
    this.#streams.set(stream, stream.brought);
  }

  /** Its socket is closed. */
  forget(stream: T): void {
    this.#streams.delete(stream);
  }

  #onLook(): void {
    for (const [stream, before] of this.#streams) {
      const known = this.#collect(stream);
      // it may have come to its end
      if (!this.#streams.has(stream)) continue;
      if (!known || stream.brought - before >= SLOW) {
        this.#streams.set(stream, stream.brought);
        continue;
      }
      this.#streams.delete(stream);
      stream.brought = 0;
      // tells of what has come in the meantime
      setOption(stream.from, SOL_SOCKET, SO_RCVLOWAT, 1);
    }
    if (this.#streams.size > 0) this.#loop.after(LOOK_MS, this.#look);
  }
}
