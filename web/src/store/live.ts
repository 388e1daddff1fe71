/**
 * The live state of the open bucket. Frames are reduced as they come, also in a hidden tab; the page is told at most once per
 * animation frame, which a hidden tab does not get.
 */
import { batch, computed, effect, signal } from '@preact/signals';
import { liveAddress } from '../link/api';
import type { Recent, Server } from '../link/protocol';
import { type Fleet, reduce } from '../link/reduce';
import { Link, type LinkState, type WatchHandle } from '../link/socket';
import { type App, appsOf } from './apps';
import { History } from './history';

/** Samples of a sparkline: one a second. */
export const SPARK_SECONDS = 60;

export const fleet = signal<Fleet | null>(null);
/** Grows by one with every flush; what draws values reads it. */
export const beat = signal(0);
/** The hub's time, advanced every second while the page is visible. */
export const now = signal(Date.now());
export const linkState = signal<LinkState>('idle');
export const retryAt = signal(0);
export const watchError = signal<{ readonly code: string; readonly message: string } | null>(null);
/** Values on the page are old: the socket is down, and was up before. */
export const stale = computed(() => linkState.value === 'lost' && fleet.value !== null);

export const cpuHistory = new History(SPARK_SECONDS);
export const memoryHistory = new History(SPARK_SECONDS);
export const latencyHistory = new History(SPARK_SECONDS);
export const loopHistory = new History(SPARK_SECONDS);
const HISTORIES = [cpuHistory, memoryHistory, latencyHistory, loopHistory] as const;

export const link = new Link({
  address: liveAddress,
  onState: (state, at) => {
    batch(() => {
      linkState.value = state;
      retryAt.value = at;
    });
  },
});

let pending: Fleet | null = null;
let handle: WatchHandle | null = null;
let opened = '';
let skew = 0;
let sampled = 0;
let scheduled = false;

const cache = new WeakMap<Server, readonly App[]>();

/** Apps of a server; computed once per state of the server. */
export function apps(server: Server): readonly App[] {
  let list = cache.get(server);
  if (!list) {
    list = appsOf(server);
    cache.set(server, list);
  }
  return list;
}

function flush(): void {
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(() => {
    scheduled = false;
    batch(() => {
      fleet.value = pending;
      now.value = Date.now() + skew;
      beat.value++;
    });
  });
}

/** Fills the minute before a snapshot with what the hub remembers of it. */
function seed(servers: ReadonlyMap<string, Server>, recent: readonly Recent[]): void {
  if (recent.length === 0) return;
  const groups = new Map<string, Recent[]>();
  for (const r of recent) {
    const name = servers.get(r.server)?.processes.get(r.key)?.name;
    if (name === undefined) continue;
    const key = `${r.server}/${name}`;
    const group = groups.get(key);
    if (group) group.push(r);
    else groups.set(key, [r]);
  }
  for (const [history, field] of [
    [cpuHistory, 'cpu'],
    [memoryHistory, 'memory'],
  ] as const) {
    history.clear();
    for (let i = 0; i < SPARK_SECONDS; i++) {
      history.advance();
      for (const [key, group] of groups) {
        let sum = 0;
        let n = 0;
        for (const r of group) {
          const v = r[field][r[field].length - SPARK_SECONDS + i];
          if (v === null || v === undefined) continue;
          history.write(`${r.server}:${r.key}`, v);
          sum += v;
          n++;
        }
        if (n > 0) history.write(key, sum / n);
      }
    }
  }
}

/** One sample a second of everything that is known, offline servers left as gaps. */
function sample(): void {
  const at = Date.now();
  if (at - sampled < 900) return;
  sampled = at;
  for (const h of HISTORIES) h.advance();
  if (pending === null || linkState.value !== 'open') return;
  let series = 0;
  for (const server of pending.servers.values()) {
    series += server.processes.size;
    for (const app of apps(server)) {
      series++;
      if (!server.online) continue;
      if (app.cpu !== null) cpuHistory.write(app.key, app.cpu);
      if (app.memory !== null) memoryHistory.write(app.key, app.memory);
      if (app.latency !== null) latencyHistory.write(app.key, app.latency);
      if (app.loop !== null) loopHistory.write(app.key, app.loop);
      for (const p of app.instances) {
        if (p.status !== 'online') continue;
        const key = `${server.id}:${p.key}`;
        if (p.cpu !== null) cpuHistory.write(key, p.cpu);
        if (p.memory !== null) memoryHistory.write(key, p.memory);
      }
    }
  }
  // More places than series: some belong to what is gone.
  if (HISTORIES.some((h) => h.size > series)) forgetGone(pending);
}

function forgetGone(fleet: Fleet): void {
  const alive = new Set<string>();
  for (const server of fleet.servers.values()) {
    for (const app of apps(server)) alive.add(app.key);
    for (const key of server.processes.keys()) alive.add(`${server.id}:${key}`);
  }
  for (const h of HISTORIES) h.release((key) => alive.has(key));
}

/** Makes a bucket the live one; '' closes. */
export function openBucket(bucket: string): void {
  if (bucket === opened) return;
  opened = bucket;
  handle?.close();
  handle = null;
  pending = null;
  for (const h of HISTORIES) h.clear();
  batch(() => {
    fleet.value = null;
    watchError.value = null;
  });
  if (bucket === '') return;
  const mine = link.watch(bucket, { topic: 'servers' }, (frame) => {
    if (frame.op === 'error') {
      watchError.value = { code: frame.code, message: frame.message };
      return;
    }
    if (frame.op !== 'snapshot' && frame.op !== 'changes') return;
    const next = reduce(pending, frame);
    if (next.kind === 'gap') {
      mine.renew();
      return;
    }
    if (next.kind === 'stale') return;
    pending = next.fleet;
    if (frame.at > 0) skew = frame.at - Date.now();
    if (watchError.value) watchError.value = null;
    if (frame.op === 'snapshot') seed(pending.servers, frame.recent);
    sample();
    flush();
  });
  handle = mine;
}

/** Asks for the state anew after an error. */
export function renewBucket(): void {
  watchError.value = null;
  handle?.renew();
}

export function startClock(): void {
  setInterval(() => {
    sample();
    if (document.visibilityState === 'visible') flush();
  }, 1000);
  document.addEventListener('visibilitychange', () => {
    if (document.visibilityState === 'visible') link.retryNow();
  });
  addEventListener('online', () => link.retryNow());
  effect(() => {
    document.documentElement.dataset.stale = stale.value ? 'yes' : 'no';
  });
}
