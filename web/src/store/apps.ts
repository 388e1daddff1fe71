/** Processes of one server grouped by app name: CPU and memory are means per instance, restarts a sum. Pure. */
import { numeric } from '../format/units';
import type { Metric, Process, Server } from '../link/protocol';

export interface App {
  /** `<server id>/<name>`, stable while the app exists. */
  readonly key: string;
  readonly server: string;
  readonly name: string;
  readonly instances: readonly Process[];
  /** Instances whose values may be shown. */
  readonly shown: number;
  readonly overPlan: number;
  readonly online: number;
  readonly errored: number;
  readonly cpu: number | null;
  readonly memory: number | null;
  readonly restarts: number;
  /** Start of the instance that runs longest, ms since the epoch; 0 when none runs. */
  readonly since: number;
  readonly latency: number | null;
  readonly loop: number | null;
}

const LATENCY = ['HTTP Mean Latency', 'HTTP mean latency', 'pmx:http:latency'] as const;
const LOOP = ['Event Loop Latency', 'Loop delay', 'Event loop latency'] as const;

function firstOf(metrics: Readonly<Record<string, Metric>>, names: readonly string[]): number | null {
  for (const name of names) {
    const m = metrics[name];
    if (m) return numeric(m.value);
  }
  return null;
}

class Mean {
  private sum = 0;
  private n = 0;
  add(v: number | null): void {
    if (v === null) return;
    this.sum += v;
    this.n++;
  }
  get value(): number | null {
    return this.n === 0 ? null : this.sum / this.n;
  }
}

export function app(server: string, name: string, instances: readonly Process[]): App {
  const cpu = new Mean();
  const memory = new Mean();
  const latency = new Mean();
  const loop = new Mean();
  let shown = 0;
  let overPlan = 0;
  let online = 0;
  let errored = 0;
  let restarts = 0;
  let since = 0;
  for (const p of instances) {
    if (p.over_plan) {
      overPlan++;
      continue;
    }
    shown++;
    restarts += p.restart_time;
    if (p.status === 'errored') errored++;
    if (p.status !== 'online') continue;
    online++;
    cpu.add(p.cpu);
    memory.add(p.memory);
    latency.add(firstOf(p.metrics, LATENCY));
    loop.add(firstOf(p.metrics, LOOP));
    if (p.pm_uptime > 0 && (since === 0 || p.pm_uptime < since)) since = p.pm_uptime;
  }
  return {
    key: `${server}/${name}`,
    server,
    name,
    instances,
    shown,
    overPlan,
    online,
    errored,
    cpu: cpu.value,
    memory: memory.value,
    restarts,
    since,
    latency: latency.value,
    loop: loop.value,
  };
}

/** Apps of a server by name; instances by their number. */
export function appsOf(server: Server): App[] {
  const byName = new Map<string, Process[]>();
  for (const p of server.processes.values()) {
    const list = byName.get(p.name);
    if (list) list.push(p);
    else byName.set(p.name, [p]);
  }
  const out: App[] = [];
  for (const [name, list] of byName) {
    list.sort((a, b) => a.pm_id - b.pm_id);
    out.push(app(server.id, name, list));
  }
  return out.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
}

/** One value per metric name over all instances that report it: the mean of numbers, else the first text. */
export function metricsOf(a: App): { name: string; value: number | string; unit: string }[] {
  const out = new Map<string, { sum: number; n: number; text: string; unit: string }>();
  for (const p of a.instances) {
    if (p.over_plan) continue;
    for (const name in p.metrics) {
      const m = p.metrics[name];
      if (!m) continue;
      let slot = out.get(name);
      if (!slot) {
        slot = { sum: 0, n: 0, text: String(m.value), unit: m.unit };
        out.set(name, slot);
      }
      const n = typeof m.value === 'number' ? m.value : m.value === '' ? Number.NaN : Number(m.value);
      if (Number.isFinite(n)) {
        slot.sum += n;
        slot.n++;
      }
    }
  }
  return [...out].map(([name, s]) => ({ name, value: s.n > 0 ? s.sum / s.n : s.text, unit: s.unit }));
}

/** Words for the state of all instances together, and whether they ask for attention. */
export function statusOf(a: App): { readonly text: string; readonly status: string } {
  const states = new Map<string, number>();
  for (const p of a.instances) if (!p.over_plan) states.set(p.status, (states.get(p.status) ?? 0) + 1);
  if (states.size === 0) return { text: 'over plan', status: 'stopped' };
  const [first] = states.keys();
  if (states.size === 1 && first !== undefined) return { text: first, status: first };
  if (a.errored > 0) return { text: `${a.online}/${a.shown} online`, status: 'errored' };
  return { text: `${a.online}/${a.shown} online`, status: 'waiting restart' };
}
