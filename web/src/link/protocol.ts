/**
 * The messages of the live socket (`/api/live`) and the cheap checks that every frame passes before it reaches the store.
 *
 * A frame is untrusted: a field of the wrong type becomes its neutral value, a record without identity is dropped, a frame
 * that makes no sense is `null`. Nothing here throws.
 */

export type ServerState = 'online' | 'offline' | 'stopped' | 'lost';

export interface Metric {
  readonly value: string | number;
  readonly unit: string;
  readonly type: string;
}

export interface Versioning {
  readonly url: string;
  readonly branch: string;
  readonly revision: string;
  readonly comment: string;
  readonly unstaged: boolean;
}

export interface Process {
  readonly key: string;
  readonly pm_id: number;
  readonly name: string;
  readonly namespace: string;
  readonly pid: number;
  readonly status: string;
  readonly exec_mode: string;
  /** Percent of one core; `null` while not measured. */
  readonly cpu: number | null;
  /** Bytes; `null` while not measured. */
  readonly memory: number | null;
  readonly restart_time: number;
  /** Start of the present run, ms since the epoch; 0 when not running. */
  readonly pm_uptime: number;
  readonly created_at: number;
  readonly monitored: boolean;
  readonly over_plan: boolean;
  readonly interpreter: string;
  readonly node_version: string;
  readonly version: string;
  readonly versioning: Versioning | null;
  readonly metrics: Readonly<Record<string, Metric>>;
  readonly actions: readonly AppAction[];
  readonly module: boolean;
}

/** An action that an app offers. */
export interface AppAction {
  readonly name: string;
  /** It tells what it does while it runs. */
  readonly scoped: boolean;
  /** It takes a parameter. */
  readonly param: boolean;
}

export interface Versions {
  readonly pm2: string;
  readonly node: string;
  readonly agent: string;
}

/** A time in which a server was away. Until it is back, the reason is mostly a guess. */
export interface Absence {
  readonly reason: 'stopped' | 'daemon_dead' | 'link_lost' | 'host_gone';
  /** Whether the reason is more than a guess. */
  readonly sure: boolean;
  /** When it was last heard, ms since the epoch by the hub's clock. */
  readonly since: number;
  /** When it was heard again; `null` while it is away. */
  readonly until: number | null;
  /** Most of what was measured meanwhile came in afterwards. */
  readonly filled: boolean;
}

export interface ServerFacts {
  readonly id: string;
  readonly name: string;
  readonly hostname: string;
  readonly username: string;
  readonly online: boolean;
  readonly state: ServerState;
  /** Its present absence, or the last one. */
  readonly absence: Absence | null;
  readonly last_seen: number;
  readonly agent: string;
  readonly versions: Versions;
  readonly cpus: number;
  readonly total_mem: number;
  readonly free_mem: number;
  readonly loadavg: readonly number[];
  readonly uptime: number;
  readonly public_ip: string;
  readonly internal_ip: string;
  /** Whether commands can reach the host. */
  readonly reverse: boolean;
  /** Commands were switched off on the host on purpose. */
  readonly reverse_disabled: boolean;
  /** How far the host's clock is ahead of the hub's, ms; `null` while not known. */
  readonly clock_ahead: number | null;
  /** What last went wrong between the server and the hub. */
  readonly failure: { readonly at: number; readonly text: string } | null;
  /** What may be asked of the host; `null` when that is not known. */
  readonly allowed: readonly string[] | null;
  /** The list of fields that the host says it sends, as it signed it; `null` when it says nothing. */
  readonly manifest: Manifest | null;
}

export interface Manifest {
  /** SHA-256 of the list. */
  readonly digest: string;
  /** Fingerprint of the host's key. */
  readonly key: string;
  /** It is the list that this hub knows. */
  readonly known: boolean;
  /** Since when both are as they are. */
  readonly since: number;
}

export interface Server extends ServerFacts {
  readonly processes: ReadonlyMap<string, Process>;
}

export type ProcessPatch = { readonly key: string } & Partial<Process>;
export type ServerPatch = { readonly id: string } & Partial<ServerFacts> & {
    readonly processes: readonly ProcessPatch[];
    readonly removed: readonly string[];
  };

export interface LogLine {
  readonly at: number;
  readonly server: string;
  readonly pm_id: number;
  readonly name: string;
  readonly stream: 'out' | 'err';
  readonly data: string;
}

/** CPU and memory of one process over the last minute, a value a second, oldest first. */
export interface Recent {
  readonly server: string;
  readonly key: string;
  readonly cpu: readonly (number | null)[];
  readonly memory: readonly (number | null)[];
}

export interface SnapshotFrame {
  readonly op: 'snapshot';
  readonly id: number;
  readonly rev: number;
  readonly at: number;
  readonly servers: readonly Server[];
  readonly recent: readonly Recent[];
}

export interface ChangesFrame {
  readonly op: 'changes';
  readonly id: number;
  readonly rev: number;
  readonly at: number;
  readonly servers: readonly ServerPatch[];
  readonly gone: readonly string[];
}

export interface LogsFrame {
  readonly op: 'logs';
  readonly id: number;
  readonly dropped: number;
  readonly lines: readonly LogLine[];
}

export interface ErrorFrame {
  readonly op: 'error';
  readonly id: number;
  readonly code: string;
  readonly message: string;
}

export type Frame = SnapshotFrame | ChangesFrame | LogsFrame | ErrorFrame;

export type WatchRequest =
  | { readonly op: 'watch'; readonly id: number; readonly bucket: string; readonly topic: 'servers' }
  | {
      readonly op: 'watch';
      readonly id: number;
      readonly bucket: string;
      readonly topic: 'logs';
      readonly server: string;
      readonly app: string | null;
    };

/** Frames above this are dropped unread: 10,000 full processes are about 8 MB. */
export const MAX_FRAME_CHARS = 64 * 1024 * 1024;

type Dict = Record<string, unknown>;

const isDict = (v: unknown): v is Dict => typeof v === 'object' && v !== null && !Array.isArray(v);
const str = (v: unknown): string => (typeof v === 'string' ? v : typeof v === 'number' ? String(v) : '');
const num = (v: unknown): number => (typeof v === 'number' && Number.isFinite(v) ? v : 0);
const numOrNull = (v: unknown): number | null => (typeof v === 'number' && Number.isFinite(v) ? v : null);
const list = (v: unknown): readonly unknown[] => (Array.isArray(v) ? v : []);
const state = (v: unknown): ServerState => (v === 'online' || v === 'stopped' || v === 'lost' ? v : 'offline');

function absence(v: unknown): Absence | null {
  if (!isDict(v)) return null;
  const { reason } = v;
  if (reason !== 'stopped' && reason !== 'daemon_dead' && reason !== 'link_lost' && reason !== 'host_gone') return null;
  return {
    reason,
    sure: v.sure === true,
    since: num(v.since),
    until: numOrNull(v.until),
    filled: v.filled === true,
  };
}

const strings = (v: unknown): string[] => list(v).filter((s): s is string => typeof s === 'string');

function versions(v: unknown): Versions {
  const d = isDict(v) ? v : {};
  return { pm2: str(d.pm2), node: str(d.node), agent: str(d.agent) };
}

function metrics(v: unknown): Record<string, Metric> {
  const out: Record<string, Metric> = {};
  if (!isDict(v)) return out;
  for (const name of Object.keys(v)) {
    const m = v[name];
    if (!isDict(m)) continue;
    const value = typeof m.value === 'number' || typeof m.value === 'string' ? m.value : '';
    out[name] = { value, unit: str(m.unit), type: str(m.type) };
  }
  return out;
}

/** Actions arrive as plain names or as records, ours or PM2's `{action_name}`; internal ones are not for people. */
export function actions(v: unknown): AppAction[] {
  return list(v)
    .map((a) => {
      const d = isDict(a) ? a : { name: a };
      const scoped = str(d.action_type ?? d.type) === 'scoped';
      return { name: str(d.action_name ?? d.name), scoped, param: num(d.arity) >= 2 };
    })
    .filter(({ name }) => name !== '' && !name.startsWith('km:') && !name.startsWith('internal:'));
}

function versioning(v: unknown): Versioning | null {
  if (!isDict(v)) return null;
  const revision = str(v.revision);
  const url = str(v.url ?? v.repo);
  if (revision === '' && url === '') return null;
  return { url, branch: str(v.branch), revision, comment: str(v.comment), unstaged: v.unstaged === true };
}

const PROCESS_FIELDS: { readonly [K in Exclude<keyof Process, 'key'>]: (v: unknown) => Process[K] } = {
  pm_id: num,
  name: str,
  namespace: str,
  pid: num,
  status: str,
  exec_mode: str,
  cpu: numOrNull,
  memory: numOrNull,
  restart_time: num,
  pm_uptime: num,
  created_at: num,
  monitored: (v) => v !== false,
  over_plan: (v) => v === true,
  interpreter: str,
  node_version: str,
  version: str,
  versioning,
  metrics,
  actions,
  module: (v) => v === true,
};

const SERVER_FIELDS: { readonly [K in Exclude<keyof ServerFacts, 'id'>]: (v: unknown) => ServerFacts[K] } = {
  name: str,
  hostname: str,
  username: str,
  online: (v) => v === true,
  state,
  absence,
  last_seen: num,
  agent: str,
  versions,
  cpus: num,
  total_mem: num,
  free_mem: num,
  loadavg: (v) => list(v).map(num),
  uptime: num,
  public_ip: str,
  internal_ip: str,
  reverse: (v) => v !== false,
  reverse_disabled: (v) => v === true,
  clock_ahead: numOrNull,
  failure: (v) => (isDict(v) && str(v.text) !== '' ? { at: num(v.at), text: str(v.text) } : null),
  allowed: (v) => (Array.isArray(v) ? strings(v) : null),
  manifest: (v): Manifest | null =>
    isDict(v) && str(v.key) !== ''
      ? { digest: str(v.digest), key: str(v.key), known: v.known === true, since: num(v.since) }
      : null,
};

function complete<T>(fields: { readonly [k: string]: (v: unknown) => unknown }, from: Dict): T {
  const out: Dict = {};
  for (const name in fields) out[name] = fields[name]?.(from[name]);
  return out as T;
}

function partial<T>(fields: { readonly [k: string]: (v: unknown) => unknown }, from: Dict): T {
  const out: Dict = {};
  for (const name in from) {
    const read = Object.hasOwn(fields, name) ? fields[name] : undefined;
    if (read) out[name] = read(from[name]);
  }
  return out as T;
}

/** A process record with every field filled in. */
export function readProcess(v: unknown): Process | null {
  if (!isDict(v) || str(v.key) === '') return null;
  return { ...complete<Process>(PROCESS_FIELDS, v), key: str(v.key) };
}

/** A server record with every field filled in, also used for REST answers. */
export function readServer(v: unknown): Server | null {
  if (!isDict(v) || str(v.id) === '') return null;
  const processes = new Map<string, Process>();
  for (const item of list(v.processes)) {
    const p = readProcess(item);
    if (p) processes.set(p.key, p);
  }
  return { ...complete<ServerFacts>(SERVER_FIELDS, v), id: str(v.id), processes };
}

/** The last minutes that came with the processes of a snapshot. */
function readRecent(servers: readonly unknown[]): Recent[] {
  const out: Recent[] = [];
  for (const s of servers) {
    if (!isDict(s)) continue;
    for (const p of list(s.processes)) {
      if (!isDict(p) || !isDict(p.recent)) continue;
      const cpu = list(p.recent.cpu).map(numOrNull);
      const memory = list(p.recent.memory).map(numOrNull);
      out.push({ server: str(s.id), key: str(p.key), cpu, memory });
    }
  }
  return out;
}

function readServerPatch(v: unknown): ServerPatch | null {
  if (!isDict(v) || str(v.id) === '') return null;
  const processes: ProcessPatch[] = [];
  for (const item of list(v.processes)) {
    if (!isDict(item) || str(item.key) === '') continue;
    processes.push({ ...partial<Partial<Process>>(PROCESS_FIELDS, item), key: str(item.key) });
  }
  const facts = partial<Partial<ServerFacts>>(SERVER_FIELDS, v);
  return { ...facts, id: str(v.id), processes, removed: strings(v.removed) };
}

function readLine(v: unknown): LogLine | null {
  if (!isDict(v) || typeof v.data !== 'string') return null;
  const at = typeof v.at === 'number' ? v.at : Date.parse(str(v.at));
  return {
    at: Number.isFinite(at) ? at : 0,
    server: str(v.server),
    pm_id: num(v.pm_id),
    name: str(v.name),
    stream: v.stream === 'err' ? 'err' : 'out',
    data: v.data,
  };
}

const present = <T>(v: T | null): v is T => v !== null;

/** Reads one text frame of the live socket; `null` for anything that is not one of ours. */
export function readFrame(text: string): Frame | null {
  if (text.length > MAX_FRAME_CHARS) return null;
  let v: unknown;
  try {
    v = JSON.parse(text);
  } catch {
    return null;
  }
  if (!isDict(v)) return null;
  const id = num(v.id);
  switch (v.op) {
    case 'snapshot':
      return {
        op: 'snapshot',
        id,
        rev: num(v.rev),
        at: num(v.at),
        servers: list(v.servers).map(readServer).filter(present),
        recent: readRecent(list(v.servers)),
      };
    case 'changes':
      return {
        op: 'changes',
        id,
        rev: num(v.rev),
        at: num(v.at),
        servers: list(v.servers).map(readServerPatch).filter(present),
        gone: strings(v.gone),
      };
    case 'logs':
      return { op: 'logs', id, dropped: num(v.dropped), lines: list(v.lines).map(readLine).filter(present) };
    case 'error':
      return { op: 'error', id, code: str(v.code), message: str(v.message) };
    default:
      return null;
  }
}
