/**
 * Actions that are followed while they run, each on one or several targets. One target is one leg; each leg ends in exactly one of:
 * done, refused, timed out.
 */
import { signal } from '@preact/signals';
import { ApiError, follow } from '../link/api';
import type { Dict } from '../link/events';
import { tell } from './actions';

export type Phase = 'waiting' | 'sent' | 'running' | 'ok' | 'failed' | 'timeout';

/** One target of a run and how far it is. */
export interface Leg {
  readonly key: string;
  /** How the target is called on the page: `server / 3`. */
  readonly label: string;
  readonly phase: Phase;
  /** What it said so far; the beginning is dropped when it is too long. */
  readonly said: string;
  readonly cut: boolean;
  /** What it returned, as text. */
  readonly result: string;
  readonly error: string;
  readonly tookMs: number;
}

/** What is asked of one target. */
export interface Order {
  readonly key: string;
  readonly label: string;
  readonly server: string;
  readonly action: string;
  readonly app?: string;
  readonly process?: string;
  readonly params?: unknown;
  readonly custom?: boolean;
}

export const legs = signal<readonly Leg[]>([]);

const MAX_SAID = 200_000;
const MAX_RESULT = 100_000;
/** Browsers open six connections to one host; some are left for everything else. */
const AT_ONCE = 4;

let generation = 0;
/** Runs whose dialog was closed before their end: that is told when it comes. */
const left = new Map<number, string>();
let title = '';

export const over = (leg: Leg): boolean => leg.phase === 'ok' || leg.phase === 'failed' || leg.phase === 'timeout';

/** A piece of output as text: what an app says is one line each, what the process manager says comes with its own line ends. */
export function pieceText(data: unknown, custom: boolean): string {
  // What is short stays on one line.
  const line = typeof data === 'string' ? data : JSON.stringify(data);
  const text = typeof data === 'string' || line.length <= 100 ? line : JSON.stringify(data, null, 2);
  return custom && !text.endsWith('\n') ? `${text}\n` : text;
}

export function resultText(result: unknown, custom: boolean): string {
  if (result === null || result === undefined) return '';
  // The last words of a verb were told while it ran.
  if (!custom) return '';
  const text = typeof result === 'string' ? result : JSON.stringify(result, null, 2);
  return text.length > MAX_RESULT ? `${text.slice(0, MAX_RESULT)}…` : text;
}

/** Why a leg failed, without the words that it said itself: those are shown as such. */
export function reasonOf(leg: Leg): string {
  const [first = '', ...rest] = leg.error.split('\n');
  const words = rest.join('\n').trim();
  return words !== '' && leg.said.includes(words) ? first.replace(/:$/, '.') : leg.error;
}

/** What an event changes. Pure. */
export function advance(leg: Leg, event: Dict, custom: boolean): Leg {
  switch (event.state) {
    case 'sent':
      return leg.phase === 'waiting' ? { ...leg, phase: 'sent' } : leg;
    case 'output': {
      const said = leg.said + pieceText(event.data, custom);
      const cut = said.length > MAX_SAID;
      return { ...leg, phase: 'running', said: cut ? said.slice(-MAX_SAID) : said, cut: leg.cut || cut };
    }
    case 'ended': {
      const lost = typeof event.lost === 'number' && event.lost > 0;
      const tookMs = typeof event.took_ms === 'number' ? event.took_ms : 0;
      if (event.ok === true) {
        return { ...leg, phase: 'ok', result: resultText(event.result, custom), cut: leg.cut || lost, tookMs };
      }
      const error = String(event.error ?? 'the host gave no reason');
      return { ...leg, phase: event.timed_out === true ? 'timeout' : 'failed', error, cut: leg.cut || lost, tookMs };
    }
    default:
      return leg;
  }
}

/** The dialog closes; what still runs goes on, and its end is told. */
export function leave(): void {
  if (legs.value.some((leg) => !over(leg))) left.set(generation, title);
  legs.value = [];
  generation++;
}

/** Begins a run. */
export function begin(bucket: string, called: string, orders: readonly Order[]): void {
  const mine = ++generation;
  title = called;
  legs.value = orders.map(({ key, label }) => ({
    key,
    label,
    phase: 'waiting',
    said: '',
    cut: false,
    result: '',
    error: '',
    tookMs: 0,
  }));
  let own = legs.value;
  const change = (key: string, to: (leg: Leg) => Leg) => {
    own = own.map((leg) => (leg.key === key ? to(leg) : leg));
    if (mine === generation) legs.value = own;
    const name = left.get(mine);
    if (name === undefined || !own.every(over)) return;
    left.delete(mine);
    const bad = own.find((leg) => leg.phase !== 'ok');
    tell(bad ? 'failed' : 'ok', `${name}: ${bad ? 'failed' : 'completed'}`, bad ? `${bad.label}: ${bad.error}` : '');
  };
  const queue = [...orders];
  const work = async () => {
    for (let order = queue.shift(); order; order = queue.shift()) await carryOut(bucket, order, change);
  };
  for (let i = 0; i < AT_ONCE; i++) void work();
}

async function carryOut(
  bucket: string,
  order: Order,
  change: (key: string, to: (leg: Leg) => Leg) => void,
): Promise<void> {
  const { key, action, app, process, params, custom } = order;
  const path = `api/bucket/${bucket}/servers/${encodeURIComponent(order.server)}/actions`;
  try {
    await follow(path, { action, app, process, params, custom }, (event) =>
      change(key, (leg) => advance(leg, event, custom === true)),
    );
    change(key, (leg) => (over(leg) ? leg : { ...leg, phase: 'failed', error: 'The hub ended the answer too soon.' }));
  } catch (error) {
    const timeout = error instanceof ApiError && (error.status === 504 || error.status === 408);
    const why = error instanceof Error ? error.message : String(error);
    change(key, (leg) => (over(leg) ? leg : { ...leg, phase: timeout ? 'timeout' : 'failed', error: why }));
  }
}
