/** DNS messages (RFC 1035, 4; EDNS0: RFC 6891): what a server that answers from memory and passes on the rest must know of them. */
import { DnsFormatError, encodeName, readName, skipName } from "./name.ts";
import { concat } from "../../base/concat.ts";

/** Types of records (IANA, DNS parameters). All others pass through as bytes. */
export const TYPE = { A: 1, CNAME: 5, PTR: 12, TXT: 16, AAAA: 28, SRV: 33, OPT: 41 } as const;
export const CLASS_IN = 1;
export const RCODE = {
  NOERROR: 0,
  FORMERR: 1,
  SERVFAIL: 2,
  NXDOMAIN: 3,
  NOTIMP: 4,
  REFUSED: 5,
  BADVERS: 16,
} as const;

const HEADER = 12;
const FLAG = { QR: 0x8000, TC: 0x0200, RD: 0x0100, RA: 0x0080, CD: 0x0010 } as const;
const OPCODE = 0x7800;
/** The least that every client takes by UDP. */
const UDP_SIZE = 512;
/** The most that a packet of IPv4 has room for behind its header and UDP's. */
const MAX_DATAGRAM = 0xffff - 20 - 8;
/** What we say that we take: no datagram of this size is ever fragmented (DNS flag day 2020). */
const OWN_UDP_SIZE = 1232;
const POINTER_TO_QUESTION = 0xc00c;

export interface Question {
  /** As in name.ts. */
  readonly name: string;
  readonly type: number;
  readonly class: number;
}

export interface Query {
  readonly id: number;
  readonly question: Question;
  /** The question as it was written; its name stands at the start of it, at offset 12 of any message. */
  readonly questionBytes: Uint8Array;
  readonly flags: number;
  /** EDNS0: bytes that the client takes by UDP, and the version; undefined without an OPT record. */
  readonly edns: { readonly udpSize: number; readonly version: number } | undefined;
}

/** A query that cannot be understood, but answered with an error. */
export interface BadQuery {
  readonly id: number;
  readonly flags: number;
  readonly rcode: number;
}

interface Section {
  readonly type: number;
  readonly class: number;
  readonly ttl: number;
  readonly start: number;
  readonly end: number;
}

const viewOf = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** A query; what is wrong with it; or undefined for what must not be answered at all (no header, or an answer itself: two servers would talk for ever). */
export function parseQuery(bytes: Uint8Array): Query | BadQuery | undefined {
  if (bytes.length < HEADER) return undefined;
  const view = viewOf(bytes);
  const id = view.getUint16(0);
  const flags = view.getUint16(2);
  if ((flags & FLAG.QR) !== 0) return undefined;
  if ((flags & OPCODE) !== 0) return { id, flags, rcode: RCODE.NOTIMP };
  try {
    if (view.getUint16(4) !== 1) throw new DnsFormatError("not one question");
    const question = readQuestion(view, bytes);
    const opts = records(view, bytes, question.end).filter(({ type }) => type === TYPE.OPT);
    if (opts.length > 1) throw new DnsFormatError("two OPT records");
    const opt = opts[0];
    return {
      id,
      flags,
      question,
      questionBytes: bytes.slice(HEADER, question.end),
      edns: opt && { udpSize: Math.max(UDP_SIZE, opt.class), version: opt.ttl >>> 16 & 0xff },
    };
  } catch (error) {
    if (error instanceof DnsFormatError) return { id, flags, rcode: RCODE.FORMERR };
    throw error;
  }
}

function readQuestion(view: DataView, bytes: Uint8Array): Question & { readonly end: number } {
  const { name, end } = readName(bytes, HEADER);
  if (end + 4 > bytes.length) throw new DnsFormatError("question is cut");
  return { name, type: view.getUint16(end), class: view.getUint16(end + 2), end: end + 4 };
}

/** All records after the question; each takes 11 bytes at least, so lying counts cost nothing. */
function records(view: DataView, bytes: Uint8Array, offset: number): Section[] {
  const count = view.getUint16(6) + view.getUint16(8) + view.getUint16(10);
  const found: Section[] = [];
  let at = offset;
  for (let index = 0; index < count; index++) {
    const start = at;
    at = skipName(bytes, at);
    if (at + 10 > bytes.length) throw new DnsFormatError("record is cut");
    const end = at + 10 + view.getUint16(at + 8);
    if (end > bytes.length) throw new DnsFormatError("record is cut");
    found.push({
      type: view.getUint16(at),
      class: view.getUint16(at + 2),
      ttl: view.getUint32(at + 4),
      start,
      end,
    });
    at = end;
  }
  if (at !== bytes.length) throw new DnsFormatError("bytes after the last record");
  return found;
}

/** A record of ours. */
export interface OwnRecord {
  /** undefined: the name that was asked for. */
  readonly name?: string;
  readonly type: number;
  /** Seconds. */
  readonly ttl: number;
  readonly data: Uint8Array;
}

/** Bytes that the client takes in one message, and that one can carry. */
export function sizeLimit(query: Query, transport: "udp" | "tcp"): number {
  return transport === "tcp" ? 0xffff : Math.min(query.edns?.udpSize ?? UDP_SIZE, MAX_DATAGRAM);
}

/**
 * An answer in at most `limit` bytes: records that do not fit are left out, and the message says so when they were
 * answers (TC), so that the client asks again by TCP.
 */
export function encodeAnswer(
  query: Query,
  rcode: number,
  answers: readonly OwnRecord[],
  additional: readonly OwnRecord[],
  limit: number,
): Uint8Array<ArrayBuffer> {
  const opt = query.edns === undefined ? new Uint8Array() : encodeOpt(rcode);
  const parts: Uint8Array[] = [query.questionBytes];
  let size = HEADER + query.questionBytes.length + opt.length;
  const add = (list: readonly OwnRecord[]): number => {
    for (const [index, record] of list.entries()) {
      const bytes = encodeRecord(record);
      if (size + bytes.length > limit) return index;
      size += bytes.length;
      parts.push(bytes);
    }
    return list.length;
  };
  const answered = add(answers);
  const cut = answered < answers.length;
  const extra = cut ? 0 : add(additional);
  parts.push(opt);
  const flags = replyFlags(query.flags, rcode) | (cut ? FLAG.TC : 0);
  return concat([header(query.id, flags, [1, answered, 0, extra + (opt.length > 0 ? 1 : 0)]), ...parts]);
}

/** The answer to what is no proper query: the header alone. */
export function encodeBadQuery({ id, flags, rcode }: BadQuery): Uint8Array<ArrayBuffer> {
  return header(id, replyFlags(flags, rcode) | (flags & OPCODE), [0, 0, 0, 0]);
}

function replyFlags(asked: number, rcode: number): number {
  return FLAG.QR | FLAG.RA | (asked & (FLAG.RD | FLAG.CD)) | (rcode & 0xf);
}

function header(id: number, flags: number, counts: readonly number[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(HEADER);
  const view = viewOf(bytes);
  view.setUint16(0, id);
  view.setUint16(2, flags);
  for (const [index, count] of counts.entries()) view.setUint16(4 + 2 * index, count);
  return bytes;
}

function encodeRecord({ name, type, ttl, data }: OwnRecord): Uint8Array<ArrayBuffer> {
  const owner = name === undefined
    ? new Uint8Array([POINTER_TO_QUESTION >> 8, POINTER_TO_QUESTION & 0xff])
    : encodeName(name);
  const fixed = new Uint8Array(10);
  const view = viewOf(fixed);
  view.setUint16(0, type);
  view.setUint16(2, CLASS_IN);
  view.setUint32(4, ttl);
  view.setUint16(8, data.length);
  return concat([owner, fixed, data]);
}

function encodeOpt(rcode: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(11);
  const view = viewOf(bytes);
  view.setUint16(1, TYPE.OPT);
  view.setUint16(3, OWN_UDP_SIZE);
  view.setUint8(5, rcode >> 4);
  return bytes;
}

/** RDATA of a service (RFC 2782): its target must not be compressed. */
export function serviceData(port: number, target: string): Uint8Array<ArrayBuffer> {
  const fixed = new Uint8Array(6);
  viewOf(fixed).setUint16(4, port);
  return concat([fixed, encodeName(target)]);
}

/** What an upstream has sent, checked from end to end. */
export interface Answer {
  readonly id: number;
  readonly rcode: number;
  readonly truncated: boolean;
  /** undefined in an error of a server that has not understood the query. */
  readonly question: Question | undefined;
}

/** @throws {DnsFormatError} */
export function parseAnswer(bytes: Uint8Array): Answer {
  if (bytes.length < HEADER) throw new DnsFormatError("header is cut");
  const view = viewOf(bytes);
  const flags = view.getUint16(2);
  if ((flags & FLAG.QR) === 0 || (flags & OPCODE) !== 0) throw new DnsFormatError("no answer to a query");
  const { question, end } = answered(view, bytes);
  records(view, bytes, end);
  return { id: view.getUint16(0), rcode: flags & 0xf, truncated: (flags & FLAG.TC) !== 0, question };
}

function answered(view: DataView, bytes: Uint8Array): { question: Question | undefined; end: number } {
  const questions = view.getUint16(4);
  if (questions > 1) throw new DnsFormatError("two questions");
  if (questions === 0) return { question: undefined, end: HEADER };
  const question = readQuestion(view, bytes);
  return { question, end: question.end };
}

/** The same message under another id. */
export function withId(bytes: Uint8Array, id: number): Uint8Array<ArrayBuffer> {
  const copy = bytes.slice();
  viewOf(copy).setUint16(0, id);
  return copy;
}

/**
 * A checked answer in at most `limit` bytes, with TC where something was cut off. Whole records go from the end, so
 * what the names of the others point to stays; OPT, which points nowhere, stays as well.
 */
export function truncateAnswer(bytes: Uint8Array<ArrayBuffer>, limit: number): Uint8Array<ArrayBuffer> {
  if (bytes.length <= limit) return bytes;
  const view = viewOf(bytes);
  const { end: bodyStart } = answered(view, bytes);
  const all = records(view, bytes, bodyStart);
  const opt = all.find(({ type, start, end }) => type === TYPE.OPT && bodyStart + end - start <= limit);
  const optBytes = opt === undefined ? new Uint8Array() : bytes.subarray(opt.start, opt.end);
  let kept = 0;
  let end = bodyStart;
  for (const record of all) {
    if (record === opt || record.end + optBytes.length > limit) break;
    kept++;
    end = record.end;
  }
  // the additional section is given up whole: what it would hold is no answer
  const answers = Math.min(kept, view.getUint16(6));
  const authority = Math.min(kept - answers, view.getUint16(8));
  const last = answers + authority;
  end = last === 0 ? bodyStart : all[last - 1]?.end ?? end;
  return concat([
    header(view.getUint16(0), view.getUint16(2) | FLAG.TC, [
      view.getUint16(4),
      answers,
      authority,
      opt === undefined ? 0 : 1,
    ]),
    bytes.subarray(HEADER, end),
    optBytes,
  ]);
}
