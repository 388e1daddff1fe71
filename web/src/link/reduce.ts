/** What the fleet of one bucket looks like, and how one frame changes it. Pure: no clock, no socket, no DOM. */
import type { ChangesFrame, Process, Server, ServerFacts, ServerPatch, SnapshotFrame } from './protocol';

export interface Fleet {
  readonly rev: number;
  /** Server time of the newest frame, ms. */
  readonly at: number;
  readonly servers: ReadonlyMap<string, Server>;
}

export type Reduced =
  | { readonly kind: 'ok'; readonly fleet: Fleet }
  /** A revision is missing: only a new snapshot can help. */
  | { readonly kind: 'gap' }
  /** An old frame, already contained. */
  | { readonly kind: 'stale' };

export function reduce(fleet: Fleet | null, frame: SnapshotFrame | ChangesFrame): Reduced {
  if (frame.op === 'snapshot') {
    return {
      kind: 'ok',
      fleet: { rev: frame.rev, at: frame.at, servers: new Map(frame.servers.map((s) => [s.id, s])) },
    };
  }
  if (fleet === null) return { kind: 'gap' };
  if (frame.rev <= fleet.rev) return { kind: 'stale' };
  if (frame.rev !== fleet.rev + 1) return { kind: 'gap' };

  const servers = new Map(fleet.servers);
  for (const patch of frame.servers) servers.set(patch.id, patchServer(servers.get(patch.id), patch));
  for (const id of frame.gone) servers.delete(id);
  return { kind: 'ok', fleet: { rev: frame.rev, at: frame.at || fleet.at, servers } };
}

const NO_FACTS: Omit<ServerFacts, 'id'> = {
  name: '',
  hostname: '',
  username: '',
  online: false,
  state: 'offline',
  absence: null,
  last_seen: 0,
  agent: '',
  versions: { pm2: '', node: '', agent: '' },
  cpus: 0,
  total_mem: 0,
  free_mem: 0,
  loadavg: [],
  uptime: 0,
  public_ip: '',
  internal_ip: '',
  reverse: true,
  reverse_disabled: false,
  clock_ahead: null,
  failure: null,
  allowed: null,
  manifest: null,
};

const NO_PROCESS: Omit<Process, 'key'> = {
  pm_id: 0,
  name: '',
  namespace: '',
  pid: 0,
  status: '',
  exec_mode: '',
  cpu: null,
  memory: null,
  restart_time: 0,
  pm_uptime: 0,
  created_at: 0,
  monitored: true,
  over_plan: false,
  interpreter: '',
  node_version: '',
  version: '',
  versioning: null,
  metrics: {},
  actions: [],
  module: false,
};

function patchServer(old: Server | undefined, patch: ServerPatch): Server {
  const { processes: changed, removed, ...facts } = patch;
  const base: Server = old ?? { ...NO_FACTS, id: patch.id, processes: new Map() };
  let processes = base.processes;
  if (changed.length > 0 || removed.length > 0) {
    const next = new Map(processes);
    for (const key of removed) next.delete(key);
    for (const p of changed) next.set(p.key, { ...(next.get(p.key) ?? NO_PROCESS), ...p });
    processes = next;
  }
  return { ...base, ...facts, processes };
}
