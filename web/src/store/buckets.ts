/** The buckets of the account, and what is known of the one that is open. */
import { computed, signal } from '@preact/signals';
import * as api from '../link/api';
import type { Server } from '../link/protocol';
import { type BucketRoute, route } from '../router';

export type Role = 'user' | 'developer' | 'admin' | 'owner';

export interface Bucket {
  readonly id: string;
  readonly name: string;
  readonly comment: string;
  readonly publicKey: string;
  readonly secretKey: string;
  /** Plan id: `unlimited`, `pro_4`, … */
  readonly plan: string;
  /** Processes that are monitored at once; `null` sets no limit. */
  readonly limit: number | null;
  /** A limit that goes before the plan's; 0 leaves it to the plan. */
  readonly maxProcesses: number;
  /** Where agents link to: the root of this hub as they must name it. */
  readonly endpoint: string;
  /** Seconds of silence. */
  readonly offlineAfter: number;
  /** A server that goes offline is forgotten. */
  readonly deleteOffline: boolean;
  /** Servers that may be linked; 0 sets no limit. */
  readonly maxServers: number;
}

const RANK: Readonly<Record<Role, number>> = { user: 0, developer: 1, admin: 2, owner: 3 };

export const buckets = signal<readonly Bucket[] | null>(null);
export const bucketsError = signal<string>('');
const roles = signal<Readonly<Record<string, Role>>>({});

type Dict = Record<string, unknown>;
const dict = (v: unknown): Dict => (typeof v === 'object' && v !== null && !Array.isArray(v) ? (v as Dict) : {});
const str = (v: unknown): string => (typeof v === 'string' ? v : '');

export function readBucket(v: unknown): Bucket | null {
  const d = dict(v);
  const id = str(d._id) || str(d.id);
  if (id === '') return null;
  const endpoints = dict(dict(d.node).endpoints);
  const after = Number(d.offline_after ?? 120);
  const most = Number(d.max_servers ?? 0);
  const plan = str(dict(d.credits).offer_type) || str(dict(d.payment).offer_type) || 'unlimited';
  return {
    id,
    name: str(d.name) || id,
    comment: str(d.comment),
    publicKey: str(d.public_id),
    secretKey: str(d.secret_id),
    plan,
    // The bucket's own limit goes before that of its plan.
    limit: typeof d.limit === 'number' ? d.limit : allowance(plan),
    endpoint: str(endpoints.web),
    offlineAfter: Number.isFinite(after) && after > 0 ? after : 120,
    deleteOffline: d.delete_offline === true,
    maxProcesses: typeof d.max_processes === 'number' ? d.max_processes : 0,
    maxServers: Number.isFinite(most) && most > 0 ? most : 0,
  };
}

/** Processes that a plan allows: `pro_N` allows N, everything else sets no limit. */
export function allowance(plan: string): number | null {
  const n = /^pro_(\d+)(?:_yearly)?$/.exec(plan)?.[1];
  return n === undefined ? null : Number(n);
}

/** Modules that no plan counts. */
const FREE: ReadonlySet<string> = new Set(['pm2-logrotate', 'pm2-auto-pull']);

/** Processes that count for the plan, whatever their state. */
export function counted(servers: Iterable<Server>): number {
  let n = 0;
  for (const s of servers) for (const p of s.processes.values()) if (!FREE.has(p.name)) n++;
  return n;
}

export async function loadBuckets(): Promise<void> {
  bucketsError.value = '';
  try {
    const answer = await api.get('api/bucket/');
    const list = Array.isArray(answer) ? answer : [];
    buckets.value = list.map(readBucket).filter((b): b is Bucket => b !== null);
  } catch (error) {
    bucketsError.value = error instanceof Error ? error.message : 'The list of buckets could not be read.';
  }
}

export async function createBucket(name: string, comment: string): Promise<Bucket> {
  const answer = dict(await api.post('api/bucket/create_classic', { name, comment }));
  const made = readBucket(answer.bucket ?? answer);
  if (!made) throw new api.ApiError(200, 'The hub did not say which bucket it made.');
  await loadBuckets();
  return made;
}

export async function loadRole(bucket: string): Promise<void> {
  if (roles.value[bucket]) return;
  try {
    const answer = await api.get(`api/bucket/${bucket}/current_role`);
    const role = str(typeof answer === 'string' ? answer : dict(answer).role) as Role;
    if (role in RANK) roles.value = { ...roles.value, [bucket]: role };
  } catch {
    // Without a known role the page offers nothing that needs one; the hub decides anyway.
  }
}

export function forgetBuckets(): void {
  buckets.value = null;
  roles.value = {};
}

export const bucketId = computed<string>(() => ('bucket' in route.value ? (route.value as BucketRoute).bucket : ''));
export const bucket = computed<Bucket | null>(() => buckets.value?.find((b) => b.id === bucketId.value) ?? null);
export const role = computed<Role>(() => roles.value[bucketId.value] ?? 'user');

export const may = (least: Role): boolean => RANK[role.value] >= RANK[least];
