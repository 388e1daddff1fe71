/** Why a server is away, and why it was, in words. Pure. */
import type { Absence, ServerState } from '../link/protocol';
import { span } from './time';

/** The return of a server is worth a line for so long. */
const NEWS_FOR_MS = 600_000;

const BADGES = {
  stopped: 'stopped',
  daemon_dead: 'PM2 dead',
  link_lost: 'link lost',
  host_gone: 'host gone',
} as const;

/** Two words beside the name of a server that is away. */
export function badge(state: ServerState, absence: Absence | null): string {
  if (state === 'online') return 'online';
  return absence ? BADGES[absence.reason] : state === 'lost' ? 'link lost' : state;
}

/** Why it is away. What the hub cannot know from where it stands is said as a guess. */
export function away(absence: Absence | null): string {
  switch (absence?.reason) {
    case 'stopped':
      return 'Stopped on purpose: PM2 was ended or unlinked on the server itself.';
    case 'daemon_dead':
      return absence.sure
        ? 'PM2 on this server is dead: its agent is there, and PM2 does not answer.'
        : 'PM2 on this server seems dead: it ended without a word, and the host was still there.';
    case 'link_lost':
      return 'The link to this server seems lost: nothing comes through, its apps may well run on.';
    case 'host_gone':
      return 'The host seems gone: switched off, or cut off for too long to be a short loss.';
    default:
      return 'Server seems offline.';
  }
}

/** What its last absence was, once that is known and while it is news. `at` is the hub's time. */
export function back(absence: Absence | null, at: number): string | null {
  if (absence === null || absence.until === null || at - absence.until > NEWS_FOR_MS) return null;
  const length = span(absence.until - absence.since);
  const filled = absence.filled ? ' What was measured meanwhile is filled in.' : '';
  switch (absence.reason) {
    case 'stopped':
      return `Back after ${length}: it had been stopped on purpose.${filled}`;
    case 'daemon_dead':
      return `Back after ${length}: PM2 was dead there, the host ran on.${filled}`;
    case 'link_lost':
      return `Back after ${length}: the link was lost.${filled}`;
    case 'host_gone':
      return `Back after ${length}: the host was off, or started anew.${filled}`;
  }
}
