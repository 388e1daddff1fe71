/** Who is signed in. The address in the hash is left alone, so that a new sign-in returns to where one was. */
import { signal } from '@preact/signals';
import * as api from './link/api';

export type Session = 'checking' | 'in' | 'out' | 'expired' | 'unreachable';

export interface User {
  readonly username: string;
  readonly email: string;
}

export const session = signal<Session>('checking');
export const user = signal<User>({ username: '', email: '' });

api.onExpired(() => {
  if (session.value === 'in') session.value = 'expired';
});

// The cookie of the session is hidden from scripts; this says whether asking for its token is worth a try.
const MARK = 'pilothouse.session';

function mark(on: boolean): void {
  try {
    if (on) localStorage.setItem(MARK, 'yes');
    else localStorage.removeItem(MARK);
  } catch {
    // Without storage it is always tried.
  }
}

function worthATry(): boolean {
  try {
    return localStorage.getItem(MARK) !== null;
  } catch {
    return true;
  }
}

let again: ReturnType<typeof setTimeout> | undefined;

/** Takes up the session of the cookie; goes on trying while the hub does not answer. */
export async function begin(): Promise<void> {
  if (session.value !== 'unreachable') session.value = 'checking';
  clearTimeout(again);
  if (!worthATry()) {
    session.value = 'out';
    return;
  }
  try {
    if (await api.refresh()) {
      await enter();
    } else {
      mark(false);
      session.value = 'out';
    }
  } catch {
    session.value = 'unreachable';
    again = setTimeout(begin, 4000);
  }
}

async function enter(): Promise<void> {
  session.value = 'in';
  try {
    const me = ((await api.get('api/users/isLogged')) ?? {}) as Record<string, unknown>;
    const record = (typeof me.user === 'object' && me.user !== null ? me.user : me) as Record<string, unknown>;
    user.value = {
      username: typeof record.username === 'string' ? record.username : '',
      email: typeof record.email === 'string' ? record.email : '',
    };
  } catch {
    // The name in the menu is a nicety; every page asks for what it needs itself.
  }
}

export async function signIn(username: string, password: string): Promise<void> {
  await api.login(username, password);
  mark(true);
  await enter();
}

export async function signOut(): Promise<void> {
  try {
    await api.logout();
  } finally {
    mark(false);
    user.value = { username: '', email: '' };
    session.value = 'out';
  }
}
