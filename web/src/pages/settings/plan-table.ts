/** The table of the plan's use, as the hub tells it, and its rows. Pure. */

export type Side = 'monitored' | 'over' | 'free';

export const WORD: Readonly<Record<Side, string>> = {
  monitored: 'counts, monitored',
  over: 'counts, over the plan: listed, not monitored',
  free: 'free: does not count',
};

export interface Entry {
  readonly key: string;
  readonly pmId: number;
  readonly name: string;
  readonly module: boolean;
  readonly status: string;
  /** First seen, ms since the epoch. */
  readonly since: number;
  readonly plan: Side;
}

export interface PlanTable {
  readonly plan: string;
  readonly limit: number | null;
  readonly used: number;
  readonly overPlan: number;
  readonly free: number;
  readonly maxServers: number | null;
  readonly freeModules: readonly string[];
  readonly servers: readonly { readonly id: string; readonly name: string; readonly entries: readonly Entry[] }[];
}

export interface AppRow {
  readonly key: string;
  readonly name: string;
  readonly server: string;
  readonly module: boolean;
  readonly entries: readonly Entry[];
  readonly counted: number;
  readonly monitored: number;
  readonly over: number;
  readonly free: number;
  /** The oldest of them was first seen then. */
  readonly since: number;
}

type Dict = Record<string, unknown>;
const dict = (v: unknown): Dict => (typeof v === 'object' && v !== null ? (v as Dict) : {});
const list = (v: unknown): readonly unknown[] => (Array.isArray(v) ? v : []);
const str = (v: unknown): string => (typeof v === 'string' ? v : '');
const num = (v: unknown): number => (typeof v === 'number' && Number.isFinite(v) ? v : 0);
const limit = (v: unknown): number | null => (typeof v === 'number' ? v : null);

export function readPlanTable(v: unknown): PlanTable {
  const t = dict(v);
  return {
    plan: str(t.plan) || 'unlimited',
    limit: limit(t.limit),
    used: num(t.used),
    overPlan: num(t.over_plan),
    free: num(t.free),
    maxServers: limit(t.max_servers),
    freeModules: list(t.free_modules).map(str),
    servers: list(t.servers).map((s) => {
      const server = dict(s);
      const entries = list(server.processes).map((p): Entry => {
        const e = dict(p);
        const plan = e.plan === 'over' || e.plan === 'free' ? e.plan : 'monitored';
        return {
          key: str(e.key),
          pmId: num(e.pm_id),
          name: str(e.name),
          module: e.module === true,
          status: str(e.status),
          since: num(e.first_seen),
          plan,
        };
      });
      return { id: str(server.id), name: str(server.name), entries };
    }),
  };
}

/** One row for each app on each server; those with something over the plan come first, then by name. */
export function appRows(table: PlanTable, filter: string, overOnly: boolean): readonly AppRow[] {
  const needle = filter.trim().toLowerCase();
  const rows: AppRow[] = [];
  for (const server of table.servers) {
    const byName = new Map<string, Entry[]>();
    for (const e of server.entries) {
      const known = byName.get(e.name);
      if (known) known.push(e);
      else byName.set(e.name, [e]);
    }
    for (const [name, entries] of byName) {
      if (needle !== '' && !`${name} ${server.name}`.toLowerCase().includes(needle)) continue;
      const n = (side: Side) => entries.filter((e) => e.plan === side).length;
      const over = n('over');
      if (overOnly && over === 0) continue;
      entries.sort((a, b) => a.pmId - b.pmId);
      const seen = entries.map((e) => e.since).filter((at) => at > 0);
      rows.push({
        key: `${server.id}/${name}`,
        name,
        server: server.name,
        module: entries.some((e) => e.module),
        entries,
        counted: n('monitored') + over,
        monitored: n('monitored'),
        over,
        free: n('free'),
        since: seen.length === 0 ? 0 : Math.min(...seen),
      });
    }
  }
  const by = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);
  return rows.sort((a, b) => Number(b.over > 0) - Number(a.over > 0) || by(a.name, b.name) || by(a.server, b.server));
}
