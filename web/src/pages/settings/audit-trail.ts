/** Pages of the audit trail as the hub tells them, and its verbs in words. */

export interface Entry {
  /** ms since 1970. */
  readonly at: number;
  readonly who: string;
  /** A verb of the hub: `restart`, `change_role`. */
  readonly what: string;
  readonly target: string;
  /** `ok`, or why it did not go well. */
  readonly outcome: string;
}

export interface TrailPage {
  /** Newest first. */
  readonly entries: readonly Entry[];
  /** What the next, older page is asked for with; '' when there is none. */
  readonly next: string;
}

type Dict = Record<string, unknown>;
const dict = (v: unknown): Dict => (typeof v === 'object' && v !== null ? (v as Dict) : {});
const text = (v: unknown): string => (typeof v === 'string' ? v : '');

export function readPage(answer: unknown): TrailPage {
  const { entries, next } = dict(answer);
  return {
    entries: (Array.isArray(entries) ? entries : []).map((v) => {
      const d = dict(v);
      const at = Date.parse(text(d.at));
      return {
        at: Number.isFinite(at) ? at : 0,
        who: text(d.who),
        what: text(d.what),
        target: text(d.target),
        outcome: text(d.outcome),
      };
    }),
    next: text(next),
  };
}

/** `change_role` as `change role`; the name of an action that an app defines is left as it is. */
export const words = (what: string): string => (/^[a-z]+(_[a-z]+)+$/.test(what) ? what.replaceAll('_', ' ') : what);
