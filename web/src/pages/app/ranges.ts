/** Time ranges of charts, kept in the address so that a link shows what its sender saw. Pure. */

export interface Preset {
  readonly id: string;
  readonly text: string;
  readonly ms: number;
}

const MIN = 60_000;
const HOUR = 60 * MIN;
const DAY = 24 * HOUR;

export const PRESETS: readonly Preset[] = [
  { id: '10m', text: '10 min', ms: 10 * MIN },
  { id: '1h', text: '1 h', ms: HOUR },
  { id: '6h', text: '6 h', ms: 6 * HOUR },
  { id: '24h', text: '24 h', ms: DAY },
  { id: '7d', text: '7 d', ms: 7 * DAY },
  { id: '14d', text: '14 d', ms: 14 * DAY },
];

export const DEFAULT_PRESET = '10m';

export type Range =
  | { readonly kind: 'preset'; readonly id: string; readonly ms: number }
  | { readonly kind: 'fixed'; readonly from: number; readonly to: number };

export function readRange(query: URLSearchParams): Range {
  const from = Number(query.get('from') ?? Number.NaN);
  const to = Number(query.get('to') ?? Number.NaN);
  if (Number.isFinite(from) && Number.isFinite(to) && from > 0 && to - from >= 1000) return { kind: 'fixed', from, to };
  const id = query.get('range') ?? DEFAULT_PRESET;
  const preset = PRESETS.find((p) => p.id === id) ?? PRESETS[0];
  return { kind: 'preset', id: preset?.id ?? DEFAULT_PRESET, ms: preset?.ms ?? 10 * MIN };
}

export function bounds(range: Range, now: number): readonly [from: number, to: number] {
  return range.kind === 'fixed' ? [range.from, range.to] : [now - range.ms, now];
}

/** Up to an hour the live second is drawn; above, a second is less than a pixel. */
export function isLive(range: Range): boolean {
  return range.kind === 'preset' && range.ms <= HOUR;
}

/** How often history is asked for again while it moves on. */
export function refreshEvery(range: Range): number {
  return range.kind === 'fixed' ? 0 : Math.max(60_000, range.ms / 500);
}
