/** The last lines of a live log: bounded, counted, filtered as they come. Pure. */
import type { LogLine } from '../link/protocol';
import { stripAnsi } from './ansi';

export interface Entry {
  /** Grows by one with every line; a stable name while the buffer slides. */
  readonly seq: number;
  readonly at: number;
  readonly server: string;
  readonly pm_id: number;
  readonly name: string;
  readonly stream: 'out' | 'err' | 'note';
  readonly text: string;
}

export interface LogFilter {
  readonly text: string;
  /** Process number, `null` for all. */
  readonly pm_id: number | null;
  readonly stream: 'all' | 'out' | 'err';
}

export const ALL: LogFilter = { text: '', pm_id: null, stream: 'all' };

/** Longest line that is kept whole. */
export const MAX_LINE = 16_384;

/** The text in parts, with those that are what is looked for; case does not count. Pure. */
export function found(text: string, wanted: string): readonly { readonly text: string; readonly hit: boolean }[] {
  const needle = wanted.trim().toLowerCase();
  const low = text.toLowerCase();
  // Few letters have another length when they are small: then nothing is marked rather than the wrong thing.
  if (needle === '' || low.length !== text.length) return [{ text, hit: false }];
  const parts: { text: string; hit: boolean }[] = [];
  let from = 0;
  for (let at = low.indexOf(needle); at >= 0; at = low.indexOf(needle, from)) {
    if (at > from) parts.push({ text: text.slice(from, at), hit: false });
    from = at + needle.length;
    parts.push({ text: text.slice(at, from), hit: true });
  }
  if (from < text.length) parts.push({ text: text.slice(from), hit: false });
  return parts;
}

export function matcher(filter: LogFilter): (e: Entry) => boolean {
  const needle = filter.text.trim().toLowerCase();
  return (e) => {
    if (e.stream === 'note') return true;
    if (filter.pm_id !== null && e.pm_id !== filter.pm_id) return false;
    if (filter.stream !== 'all' && e.stream !== filter.stream) return false;
    return needle === '' || stripAnsi(e.text).toLowerCase().includes(needle);
  };
}

export class LogBuffer {
  readonly limit: number;
  private entries: Entry[] = [];
  private shown: Entry[] = [];
  private match = matcher(ALL);
  private next = 0;
  private lost = 0;
  private slid = 0;
  private cutRows = 0;

  constructor(limit = 10_000) {
    this.limit = limit;
  }

  /** Lines that pass the filter, oldest first. */
  get visible(): readonly Entry[] {
    return this.shown;
  }

  get size(): number {
    return this.entries.length;
  }

  /** Lines that were thrown away on the way here, as the hub and the agent counted them. */
  get dropped(): number {
    return this.lost;
  }

  /** Lines that slid out at the old end of this buffer. */
  get forgotten(): number {
    return this.slid;
  }

  /** How many visible lines slid out so far: what a reader's place has moved up by. */
  get cut(): number {
    return this.cutRows;
  }

  setFilter(filter: LogFilter): void {
    this.match = matcher(filter);
    this.shown = this.entries.filter(this.match);
  }

  note(text: string, at: number): void {
    this.add([{ seq: this.next++, at, server: '', pm_id: -1, name: '', stream: 'note', text }]);
  }

  push(lines: readonly LogLine[], dropped: number): void {
    this.lost += dropped;
    const fresh: Entry[] = [];
    for (const l of lines) {
      // One write of an app may hold many lines; a line that ends in CR LF is one line.
      for (const raw of l.data.replace(/\r?\n$/, '').split(/\r?\n/)) {
        const text = raw.length > MAX_LINE ? `${raw.slice(0, MAX_LINE)}…` : raw;
        fresh.push({
          seq: this.next++,
          at: l.at,
          server: l.server,
          pm_id: l.pm_id,
          name: l.name,
          stream: l.stream,
          text,
        });
      }
    }
    this.add(fresh);
  }

  clear(): void {
    this.entries = [];
    this.shown = [];
    this.lost = 0;
    this.slid = 0;
  }

  private add(fresh: readonly Entry[]): void {
    this.entries.push(...fresh);
    this.shown.push(...fresh.filter(this.match));
    const excess = this.entries.length - this.limit;
    if (excess <= 0) return;
    this.slid += excess;
    this.entries.splice(0, excess);
    const oldest = this.entries[0]?.seq ?? this.next;
    let cut = 0;
    while (cut < this.shown.length && (this.shown[cut]?.seq ?? 0) < oldest) cut++;
    this.cutRows += cut;
    this.shown.splice(0, cut);
  }
}
