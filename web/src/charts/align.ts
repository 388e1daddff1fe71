/** Series of different processes brought onto one time axis, for one chart. Pure. */

export interface RawSeries {
  readonly server: string;
  readonly app: string;
  readonly pm_id: number;
  /** Epoch ms, ascending. */
  readonly t: readonly number[];
  readonly min: readonly (number | null)[];
  readonly max: readonly (number | null)[];
  readonly avg: readonly (number | null)[];
}

export interface Line {
  readonly key: string;
  readonly label: string;
  readonly avg: readonly (number | null)[];
  readonly min: readonly (number | null)[];
  readonly max: readonly (number | null)[];
}

export interface Aligned {
  /** Epoch seconds, as the chart wants them. */
  readonly t: readonly number[];
  readonly lines: readonly Line[];
}

/** The usual distance of two points; the median is not fooled by gaps. */
export function stepOf(t: readonly number[]): number {
  if (t.length < 2) return 1000;
  const steps: number[] = [];
  const stride = Math.max(1, Math.floor(t.length / 64));
  for (let i = 1; i < t.length; i += stride) steps.push((t[i] ?? 0) - (t[i - 1] ?? 0));
  steps.sort((a, b) => a - b);
  return Math.max(1, steps[steps.length >> 1] ?? 1000);
}

/** Times at which a series says nothing for longer than three of its steps, as places for a gap. */
export function gaps(t: readonly number[]): number[] {
  const step = stepOf(t);
  const out: number[] = [];
  for (let i = 1; i < t.length; i++) {
    const before = t[i - 1] ?? 0;
    if ((t[i] ?? 0) - before > step * 3 + 1500) out.push(before + step);
  }
  return out;
}

class Cell {
  sum = 0;
  n = 0;
  min = Number.POSITIVE_INFINITY;
  max = Number.NEGATIVE_INFINITY;
}

/**
 * One line per group. Within a group, the average is the mean of its members at that time, least and greatest are over all.
 * `bucket` (ms) is what times are rounded to, so that members sampled some ms apart meet; 0 leaves them as they are.
 */
export function align(
  series: readonly RawSeries[],
  groupOf: (s: RawSeries) => { readonly key: string; readonly label: string },
  bucket: number,
): Aligned {
  const place = (ms: number) => (bucket > 0 ? Math.round(ms / bucket) * bucket : ms);
  const times = new Set<number>();
  const groups = new Map<string, { label: string; cells: Map<number, Cell>; holes: Set<number> }>();
  for (const s of series) {
    const { key, label } = groupOf(s);
    let g = groups.get(key);
    if (!g) {
      g = { label, cells: new Map(), holes: new Set() };
      groups.set(key, g);
    }
    for (let i = 0; i < s.t.length; i++) {
      const at = place(s.t[i] ?? 0);
      times.add(at);
      const v = s.avg[i];
      if (v === null || v === undefined) {
        g.holes.add(at);
        continue;
      }
      let cell = g.cells.get(at);
      if (!cell) {
        cell = new Cell();
        g.cells.set(at, cell);
      }
      cell.sum += v;
      cell.n++;
      cell.min = Math.min(cell.min, s.min[i] ?? v);
      cell.max = Math.max(cell.max, s.max[i] ?? v);
    }
    for (const hole of gaps(s.t)) {
      const at = place(hole);
      times.add(at);
      g.holes.add(at);
    }
  }
  const t = [...times].sort((a, b) => a - b);
  const lines: Line[] = [];
  for (const [key, g] of [...groups].sort(([, a], [, b]) => (a.label < b.label ? -1 : a.label > b.label ? 1 : 0))) {
    const avg: (number | null)[] = [];
    const min: (number | null)[] = [];
    const max: (number | null)[] = [];
    for (const at of t) {
      const cell = g.cells.get(at);
      // Where the group merely has no point of its own the line runs on (undefined); a hole breaks it (null).
      const none = (g.holes.has(at) ? null : undefined) as null;
      avg.push(cell ? cell.sum / cell.n : none);
      min.push(cell ? cell.min : none);
      max.push(cell ? cell.max : none);
    }
    lines.push({ key, label: g.label, avg, min, max });
  }
  return { t: t.map((ms) => ms / 1000), lines };
}
