/** The overview as a flat list of rows with known heights: servers, their apps, what is open below them. Pure. */
import { back } from '../../format/absence';
import { health } from '../../format/severity';
import type { AppAction, Process, Server } from '../../link/protocol';
import { type App, metricsOf } from '../../store/apps';

export type Strip = 'offline' | 'back' | 'reverse' | 'reverse-disabled' | 'conflict';

export type Row =
  | { readonly kind: 'server'; readonly key: string; readonly server: Server }
  | { readonly kind: 'strip'; readonly key: string; readonly server: Server; readonly strip: Strip }
  | { readonly kind: 'app'; readonly key: string; readonly server: Server; readonly app: App; readonly open: boolean }
  | { readonly kind: 'detail'; readonly key: string; readonly server: Server; readonly app: App }
  | { readonly kind: 'instances'; readonly key: string; readonly server: Server; readonly app: App }
  | {
      readonly kind: 'instance';
      readonly key: string;
      readonly server: Server;
      readonly app: App;
      readonly process: Process;
    }
  | { readonly kind: 'empty'; readonly key: string; readonly server: Server; readonly filtered: boolean };

export type SortBy = 'name' | 'cpu' | 'memory' | 'restarts';

export interface Wanted {
  readonly servers: readonly Server[];
  readonly apps: (server: Server) => readonly App[];
  readonly filter: string;
  readonly problemsOnly: boolean;
  readonly open: ReadonlySet<string>;
  readonly sort: SortBy;
  readonly descending: boolean;
  /** Place of an app in a live order that is refreshed now and then, so that rows do not jump under the pointer. */
  readonly rank: ReadonlyMap<string, number>;
  readonly narrow: boolean;
  /** The hub's time, ms since the epoch. */
  readonly at: number;
}

export interface Layout {
  readonly rows: readonly Row[];
  readonly heights: Float64Array;
}

const WIDE = {
  server: 60,
  strip: 34,
  away: 34,
  reverse: 54,
  app: 40,
  head: 142,
  metric: 28,
  action: 40,
  instances: 30,
  instance: 34,
  empty: 42,
};
const NARROW = {
  server: 84,
  strip: 54,
  away: 84,
  reverse: 112,
  app: 66,
  head: 268,
  metric: 28,
  action: 40,
  instances: 0,
  instance: 58,
  empty: 42,
};

export const METRIC_COLUMNS = { wide: 4, narrow: 1 } as const;

/** Height of an app's open part; the style sheet lays its strips out in exactly these steps. */
export function detailHeight(app: App, narrow: boolean): number {
  const h = narrow ? NARROW : WIDE;
  const columns = narrow ? METRIC_COLUMNS.narrow : METRIC_COLUMNS.wide;
  const metrics = Math.ceil(metricsOf(app).length / columns);
  const actions = actionsOf(app).length;
  return h.head + (metrics > 0 ? metrics * h.metric + 13 : 0) + (actions > 0 ? h.action + 1 : 0);
}

export function actionsOf(app: App): readonly AppAction[] {
  return app.instances.find((p) => p.actions.length > 0)?.actions ?? [];
}

/** An app that asks for attention: something failed, restarts or waits. */
export function troubled(app: App): boolean {
  return app.instances.some((p) => !p.over_plan && (health(p.status) === 'failed' || p.status === 'waiting restart'));
}

function matches(needle: string, ...texts: readonly string[]): boolean {
  return texts.some((t) => t.toLowerCase().includes(needle));
}

const byName = (
  a: { readonly name: string; readonly id: string },
  b: { readonly name: string; readonly id: string },
) => (a.name < b.name ? -1 : a.name > b.name ? 1 : a.id < b.id ? -1 : 1);

export function sortServers(servers: Iterable<Server>): Server[] {
  return [...servers].sort(byName);
}

/** Order of apps by a live value, highest first. */
export function ranks(apps: readonly App[], sort: SortBy): Map<string, number> {
  const value = (a: App): number => (sort === 'cpu' ? a.cpu : sort === 'memory' ? a.memory : a.restarts) ?? -1;
  const ordered = [...apps].sort((a, b) => value(b) - value(a));
  return new Map(ordered.map((a, i) => [a.key, i]));
}

export function layout(w: Wanted): Layout {
  const h = w.narrow ? NARROW : WIDE;
  const needle = w.filter.trim().toLowerCase();
  const names = new Map<string, number>();
  for (const s of w.servers) if (s.online) names.set(s.name, (names.get(s.name) ?? 0) + 1);

  const rows: Row[] = [];
  const heights: number[] = [];
  const push = (row: Row, height: number) => {
    rows.push(row);
    heights.push(height);
  };

  for (const server of w.servers) {
    const all = w.apps(server);
    const here = needle === '' || matches(needle, server.name, server.hostname);
    let list: readonly App[] = here ? all : all.filter((a) => matches(needle, a.name, a.instances[0]?.namespace ?? ''));
    if (w.problemsOnly) {
      list = list.filter(troubled);
      if (server.online && server.reverse && list.length === 0) continue;
    }
    if (!here && list.length === 0) continue;

    push({ kind: 'server', key: server.id, server }, h.server);
    if (!server.online) push({ kind: 'strip', key: `${server.id}!off`, server, strip: 'offline' }, h.away);
    else if (server.reverse_disabled)
      push({ kind: 'strip', key: `${server.id}!dis`, server, strip: 'reverse-disabled' }, h.strip);
    else if (!server.reverse) push({ kind: 'strip', key: `${server.id}!rev`, server, strip: 'reverse' }, h.reverse);
    if (server.online && back(server.absence, w.at) !== null)
      push({ kind: 'strip', key: `${server.id}!back`, server, strip: 'back' }, h.strip);
    if ((names.get(server.name) ?? 0) > 1 && server.online) {
      push({ kind: 'strip', key: `${server.id}!name`, server, strip: 'conflict' }, h.reverse);
    }

    if (list.length === 0) {
      push({ kind: 'empty', key: `${server.id}!empty`, server, filtered: all.length > 0 }, h.empty);
      continue;
    }
    if (w.sort !== 'name' || w.descending) {
      const ordered = [...list];
      if (w.sort !== 'name') ordered.sort((a, b) => (w.rank.get(a.key) ?? 1e9) - (w.rank.get(b.key) ?? 1e9));
      // Ranks have the highest first, names the first of the alphabet.
      if (w.descending === (w.sort === 'name')) ordered.reverse();
      list = ordered;
    }
    for (const app of list) {
      const open = w.open.has(app.key);
      push({ kind: 'app', key: app.key, server, app, open }, h.app);
      if (!open) continue;
      push({ kind: 'detail', key: `${app.key}!detail`, server, app }, detailHeight(app, w.narrow));
      if (h.instances > 0) push({ kind: 'instances', key: `${app.key}!list`, server, app }, h.instances);
      for (const process of app.instances) {
        push({ kind: 'instance', key: `${app.key}#${process.key}`, server, app, process }, h.instance);
      }
    }
  }
  return { rows, heights: Float64Array.from(heights) };
}
