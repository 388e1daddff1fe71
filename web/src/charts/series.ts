/** What one chart shows: history from the hub, then one point a second from the live state. */

import { numeric } from '../format/units';
import * as api from '../link/api';
import type { Process } from '../link/protocol';
import type { RawSeries } from './align';

export interface SeriesQuery {
  readonly bucket: string;
  readonly app: string;
  readonly server: string;
  readonly metric: string;
  readonly from: number;
  readonly to: number;
  readonly points: number;
}

type Dict = Record<string, unknown>;
const dict = (v: unknown): Dict => (typeof v === 'object' && v !== null && !Array.isArray(v) ? (v as Dict) : {});
const column = (v: unknown): (number | null)[] =>
  Array.isArray(v) ? v.map((x) => (typeof x === 'number' && Number.isFinite(x) ? x : null)) : [];

export function readSeries(answer: unknown): { readonly unit: string; readonly series: RawSeries[] } {
  const d = dict(answer);
  const list = Array.isArray(d.series) ? d.series : [];
  return {
    unit: typeof d.unit === 'string' ? d.unit : '',
    series: list.map((item) => {
      const s = dict(item);
      const t = column(s.t).map((x) => x ?? 0);
      const avg = column(s.avg);
      return {
        server: String(s.server ?? ''),
        app: String(s.app ?? ''),
        pm_id: Number(s.pm_id ?? 0),
        t,
        avg,
        min: Array.isArray(s.min) ? column(s.min) : avg,
        max: Array.isArray(s.max) ? column(s.max) : avg,
      };
    }),
  };
}

export async function loadSeries(q: SeriesQuery, signal: AbortSignal): Promise<ReturnType<typeof readSeries>> {
  const search = new URLSearchParams({
    app: q.app,
    metric: q.metric,
    from: String(Math.round(q.from)),
    to: String(Math.round(q.to)),
    points: String(q.points),
  });
  if (q.server !== '') search.set('server', q.server);
  return readSeries(await api.get(`api/bucket/${q.bucket}/series?${search}`, signal));
}

/** The present value of a metric of one process; `null` while it says nothing. */
export function liveValue(p: Process, metric: string): number | null {
  if (p.status !== 'online' || p.over_plan) return null;
  if (metric === 'cpu') return p.cpu;
  if (metric === 'memory') return p.memory;
  const m = p.metrics[metric];
  return m ? numeric(m.value) : null;
}

/** Points of the live state behind the history of the hub, oldest thrown away. */
export class Tail {
  private readonly limit: number;
  private readonly columns = new Map<
    string,
    { server: string; app: string; pm_id: number; t: number[]; v: (number | null)[] }
  >();

  constructor(limit = 4000) {
    this.limit = limit;
  }

  push(server: string, app: string, pm_id: number, at: number, value: number | null): void {
    const key = `${server}\n${pm_id}`;
    let c = this.columns.get(key);
    if (!c) {
      c = { server, app, pm_id, t: [], v: [] };
      this.columns.set(key, c);
    }
    const last = c.t[c.t.length - 1] ?? 0;
    if (at <= last) return;
    c.t.push(at);
    c.v.push(value);
    if (c.t.length > this.limit) {
      c.t.splice(0, c.t.length - this.limit);
      c.v.splice(0, c.v.length - this.limit);
    }
  }

  clear(): void {
    this.columns.clear();
  }

  /** History with the tail behind it; points of the tail that history already covers are left out. */
  behind(history: readonly RawSeries[], from: number): RawSeries[] {
    const left = new Set(this.columns.keys());
    const out: RawSeries[] = history.map((h) => {
      const key = `${h.server}\n${h.pm_id}`;
      const c = this.columns.get(key);
      if (!c) return h;
      left.delete(key);
      const end = h.t[h.t.length - 1] ?? 0;
      const start = c.t.findIndex((t) => t > end);
      if (start < 0) return h;
      const v = c.v.slice(start);
      return {
        ...h,
        t: [...h.t, ...c.t.slice(start)],
        avg: [...h.avg, ...v],
        min: [...h.min, ...v],
        max: [...h.max, ...v],
      };
    });
    for (const key of left) {
      const c = this.columns.get(key);
      if (c) out.push({ server: c.server, app: c.app, pm_id: c.pm_id, t: c.t, avg: c.v, min: c.v, max: c.v });
    }
    return out.map((s) => {
      const skip = s.t.findIndex((t) => t >= from);
      if (skip <= 0) return skip < 0 ? { ...s, t: [], avg: [], min: [], max: [] } : s;
      return { ...s, t: s.t.slice(skip), avg: s.avg.slice(skip), min: s.min.slice(skip), max: s.max.slice(skip) };
    });
  }
}
