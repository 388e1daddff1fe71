/** Addresses live in the hash, so that the hub serves one page and PM2's links (`/#/bucket/<id>`, `/#/r/<public key>`) keep working. */
import { signal } from '@preact/signals';

export type Route =
  | { readonly page: 'home' }
  | { readonly page: 'redirect'; readonly publicKey: string }
  | { readonly page: 'invite'; readonly code: string }
  | { readonly page: 'servers'; readonly bucket: string }
  | { readonly page: 'logs'; readonly bucket: string; readonly query: URLSearchParams }
  | { readonly page: 'settings'; readonly bucket: string; readonly tab: string }
  | { readonly page: 'app'; readonly bucket: string; readonly app: string; readonly query: URLSearchParams }
  | { readonly page: 'unknown' };

export type BucketRoute = Extract<Route, { bucket: string }>;

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

export function parse(hash: string): Route {
  const [path = '', search = ''] = hash.replace(/^#/, '').split('?', 2);
  const parts = path
    .split('/')
    .filter((p) => p !== '')
    .map(decode);
  const query = new URLSearchParams(search);
  const [head, id, a, b] = parts;
  if (head === undefined) return { page: 'home' };
  if (head === 'r' && id !== undefined) return { page: 'redirect', publicKey: id };
  if (head === 'invite' && id !== undefined) return { page: 'invite', code: id };
  if (head !== 'bucket' || id === undefined) return { page: 'unknown' };
  // PM2's own addresses: /bucket/<id>/backend/overview/servers
  if (a === undefined || a === 'backend' || a === 'servers') return { page: 'servers', bucket: id };
  if (a === 'logs') return { page: 'logs', bucket: id, query };
  if (a === 'settings') return { page: 'settings', bucket: id, tab: b ?? 'servers' };
  if (a === 'app' && b !== undefined) return { page: 'app', bucket: id, app: b, query };
  return { page: 'unknown' };
}

export const route = signal<Route>({ page: 'home' });

export const to = {
  servers: (bucket: string): string => `#/bucket/${bucket}`,
  settings: (bucket: string, tab = 'servers'): string => `#/bucket/${bucket}/settings/${tab}`,
  logs: (bucket: string, where: { server?: string; app?: string; pm_id?: number } = {}): string =>
    `#/bucket/${bucket}/logs${query(where)}`,
  app: (bucket: string, app: string, where: { server?: string } = {}): string =>
    `#/bucket/${bucket}/app/${encodeURIComponent(app)}${query(where)}`,
};

function query(values: Readonly<Record<string, string | number | undefined>>): string {
  const q = new URLSearchParams();
  for (const name in values) {
    const v = values[name];
    if (v !== undefined) q.set(name, String(v));
  }
  const text = q.toString();
  return text === '' ? '' : `?${text}`;
}

export function go(address: string, replace = false): void {
  if (replace) {
    history.replaceState(null, '', address);
    route.value = parse(location.hash);
  } else {
    location.hash = address;
  }
}

/** Changes the query of the present address without a new entry in the history. */
export function setQuery(changes: Readonly<Record<string, string | null>>): void {
  const [path = '', search = ''] = location.hash.split('?', 2);
  const q = new URLSearchParams(search);
  for (const name in changes) {
    const v = changes[name];
    if (v === null || v === undefined) q.delete(name);
    else q.set(name, v);
  }
  const text = q.toString();
  go(text === '' ? path : `${path}?${text}`, true);
}

export function listen(): void {
  addEventListener('hashchange', () => {
    route.value = parse(location.hash);
  });
  route.value = parse(location.hash);
}
