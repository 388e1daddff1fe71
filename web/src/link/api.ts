/**
 * REST calls. The access token lives in this module's memory only; the refresh token is a cookie that scripts cannot read.
 * A 401 is answered by one refresh and one retry; if that fails the session is over and `onExpired` says so.
 */

import { type Dict, events } from './events';

/** `status` 0 means that no answer came. `message` is a sentence for people. */
export class ApiError extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** The folder that the dashboard is served from, so that a hub under a sub-path works. */
export function at(path: string): string {
  return new URL(path, document.baseURI.replace(/#.*$/, '')).href;
}

let token = '';
let expiresAt = 0;
let refreshing: Promise<boolean> | null = null;
let expired: () => void = () => {};

export function onExpired(handler: () => void): void {
  expired = handler;
}

function keep(body: unknown): boolean {
  const answer = (typeof body === 'object' && body !== null ? body : {}) as Record<string, unknown>;
  if (typeof answer.access_token !== 'string' || answer.access_token === '') return false;
  token = answer.access_token;
  const until = Date.parse(String(answer.expire_at ?? ''));
  expiresAt = Number.isFinite(until) ? until : Date.now() + 10 * 60_000;
  return true;
}

function forget(): void {
  token = '';
  expiresAt = 0;
}

async function send(
  method: string,
  path: string,
  body: unknown,
  signal?: AbortSignal,
  accept = 'application/json',
): Promise<Response> {
  const headers: Record<string, string> = { Accept: accept };
  if (token !== '') headers.Authorization = `Bearer ${token}`;
  const init: RequestInit = { method, headers, credentials: 'same-origin', cache: 'no-store' };
  if (signal) init.signal = signal;
  if (body !== undefined) {
    headers['Content-Type'] = 'application/json';
    init.body = JSON.stringify(body);
  }
  try {
    return await fetch(at(path), init);
  } catch (cause) {
    if (signal?.aborted) throw cause;
    throw new ApiError(0, 'The hub does not answer. Check that it runs and that this browser can reach it.');
  }
}

async function answerOf(response: Response): Promise<unknown> {
  const text = await response.text();
  let body: unknown = null;
  try {
    body = text === '' ? null : JSON.parse(text);
  } catch {
    body = null;
  }
  if (response.ok) return body;
  const said = (typeof body === 'object' && body !== null ? body : {}) as Record<string, unknown>;
  const message = [said.error_description, said.msg, said.message, said.error].find(
    (m) => typeof m === 'string' && m !== '',
  );
  throw new ApiError(response.status, typeof message === 'string' ? message : `The hub answered ${response.status}.`);
}

/** Trades the cookie for a new access token. False when there is no session. Network failures are thrown. */
export function refresh(): Promise<boolean> {
  refreshing ??= (async () => {
    try {
      const response = await send('POST', 'api/auth/refresh', {});
      if (response.status >= 500) throw new ApiError(response.status, `The hub answered ${response.status}.`);
      return response.ok && keep(await response.json().catch(() => null));
    } finally {
      refreshing = null;
    }
  })();
  return refreshing;
}

export async function login(username: string, password: string): Promise<void> {
  forget();
  const response = await send('POST', 'api/auth/login', { username, email: username, password });
  if (!keep(await answerOf(response))) throw new ApiError(response.status, 'The hub gave no session.');
}

export async function logout(): Promise<void> {
  try {
    await send('POST', 'api/auth/logout', {});
  } finally {
    forget();
  }
}

async function request(
  method: string,
  path: string,
  body?: unknown,
  signal?: AbortSignal,
  accept?: string,
): Promise<Response> {
  const response = await send(method, path, body, signal, accept);
  if (response.status === 401) {
    if (!(await refresh())) {
      forget();
      expired();
      throw new ApiError(401, 'Your session has ended. Sign in again.');
    }
    return send(method, path, body, signal, accept);
  }
  return response;
}

const call = async (method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<unknown> =>
  answerOf(await request(method, path, body, signal));

/** Has the browser keep what `path` answers as a file of this name. */
export async function download(path: string, name: string): Promise<void> {
  const response = await request('GET', path, undefined, undefined, '*/*');
  if (!response.ok) {
    await answerOf(response);
    return;
  }
  const address = URL.createObjectURL(await response.blob());
  const link = document.createElement('a');
  link.href = address;
  link.download = name;
  link.click();
  URL.revokeObjectURL(address);
}

/** Sends a request whose answer is told bit by bit, as server-sent events that each hold a JSON object. */
export async function follow(path: string, body: unknown, onEvent: (event: Dict) => void): Promise<void> {
  const response = await request('POST', path, body, undefined, 'text/event-stream');
  const reader = response.ok ? response.body?.getReader() : undefined;
  if (!reader) {
    await answerOf(response);
    throw new ApiError(response.status, 'The hub gave no answer.');
  }
  const split = events();
  const decoder = new TextDecoder();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      for (const event of split(decoder.decode(value, { stream: true }))) onEvent(event);
    }
  } catch {
    throw new ApiError(0, 'The connection to the hub broke; what was asked for goes on.');
  }
}

export const get = (path: string, signal?: AbortSignal): Promise<unknown> => call('GET', path, undefined, signal);
export const post = (path: string, body: unknown, signal?: AbortSignal): Promise<unknown> =>
  call('POST', path, body, signal);
export const put = (path: string, body: unknown): Promise<unknown> => call('PUT', path, body);
export const del = (path: string, body: unknown): Promise<unknown> => call('DELETE', path, body);

/** Address of the live socket with a token that is good for at least a minute; `renew` when the hub refused the present one. */
export async function liveAddress(renew: boolean): Promise<string> {
  if (renew || token === '' || expiresAt - Date.now() < 60_000) {
    if (!(await refresh())) {
      forget();
      expired();
      throw new ApiError(401, 'Your session has ended. Sign in again.');
    }
  }
  const address = new URL(at('api/live'));
  address.protocol = address.protocol === 'https:' ? 'wss:' : 'ws:';
  address.searchParams.set('token', token);
  return address.href;
}
