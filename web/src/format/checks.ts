/** What the hub knows about the link of a server, as a list to go through, each with its mend. Pure. */
import type { Server } from '../link/protocol';
import { lacks } from './needs';
import { ago, spanWords, stamp } from './time';
import { bare, versionNote } from './versions';

export interface Check {
  readonly area: string;
  /** `idle`: not known, or of no concern. */
  readonly state: 'good' | 'warn' | 'bad' | 'idle';
  readonly text: string;
  /** What to do, as a sentence. */
  readonly mend?: string;
  /** What to run on the server. */
  readonly run?: string;
}

/** A clock that is off by more misplaces what is reported; far beyond it history is of no use. */
const CLOCK_MS = { warn: 5_000, bad: 60_000 };

export interface Around {
  /** Every server of this name that is there. */
  readonly twins: readonly Server[];
  /** Processes that the plan allows; `null` sets no limit. */
  readonly limit: number | null;
  readonly now: number;
}

export function checksOf(server: Server, { twins, limit, now }: Around): readonly Check[] {
  return [
    link(server, now),
    reverse(server),
    name(server, twins),
    plan(server, limit),
    versions(server),
    clock(server),
    sends(server),
  ];
}

/** How many of them ask for attention. */
export const ill = (checks: readonly Check[]): number =>
  checks.filter((check) => check.state === 'warn' || check.state === 'bad').length;

/** What is typed on that server. */
const program = (s: Server): string => (s.agent === 'pm2' ? 'pm2' : 'pilothouse');

/** How to find out there what stands in the way. */
const doctor = (s: Server): { readonly mend?: string; readonly run: string } =>
  s.agent === 'pm2'
    ? { mend: 'Look into ~/.pm2/agent.log on the server, then link again.', run: 'pm2 link' }
    : { run: 'pilothouse link doctor' };

function link(s: Server, now: number): Check {
  const last = s.failure ? ` What last went wrong, ${ago(s.failure.at, now)}: ${s.failure.text}` : '';
  if (s.online) return { area: 'Data', state: 'good', text: `It arrives.${last}` };
  if (s.state === 'stopped')
    return {
      area: 'Data',
      state: 'warn',
      text: `The agent was stopped on the server, or its daemon ended.${last}`,
      run: `${program(s)} link`,
    };
  return {
    area: 'Data',
    state: 'bad',
    text: `None has come for ${spanWords(Math.max(0, now - s.last_seen))}.${last}`,
    ...doctor(s),
  };
}

function reverse(s: Server): Check {
  const area = 'Commands';
  if (!s.online) return { area, state: 'idle', text: 'Not known while no data arrives.' };
  if (s.reverse_disabled) return { area, state: 'idle', text: 'Disabled on this host (PM2_REVERSE_INTERACT=false).' };
  if (s.reverse) return { area, state: 'good', text: 'They can be sent.' };
  return {
    area,
    state: 'bad',
    text: 'Reverse connection not established: no WebSocket gets through, or port 43554 is closed outbound.',
    ...doctor(s),
  };
}

function name(s: Server, twins: readonly Server[]): Check {
  const others = twins.filter((t) => t.id !== s.id);
  if (others.length === 0) return { area: 'Name', state: 'good', text: `No other server is linked as “${s.name}”.` };
  const where = others.map((t) => (t.username ? `${t.username}@${t.hostname}` : t.hostname)).join(', ');
  return {
    area: 'Name',
    state: 'warn',
    text: `Linked as “${s.name}” as well: ${where}.`,
    mend: 'Link each under its own name.',
    run: `PM2_MACHINE_NAME=<another name> ${program(s)} link`,
  };
}

function plan(s: Server, limit: number | null): Check {
  let over = 0;
  for (const p of s.processes.values()) if (p.over_plan) over++;
  const area = 'Plan';
  if (over > 0)
    return {
      area,
      state: 'warn',
      text: `${over} of its processes are not monitored: the plan allows ${limit ?? 'fewer'}.`,
      mend: lacks(s, 'unmonitor') || 'Choose a larger plan in the settings, or unmonitor what need not be seen.',
      run: `${program(s)} unmonitor <app>`,
    };
  return { area, state: 'good', text: 'Every process is monitored.' };
}

function versions(s: Server): Check {
  const note = versionNote(s.versions.pm2, s.versions.node);
  const area = 'Versions';
  const text = [
    s.agent === 'pm2' ? `PM2 ${s.versions.pm2}` : `Pilothouse ${s.versions.agent}`,
    s.versions.node ? `Node.js ${bare(s.versions.node)}` : '',
  ]
    .filter(Boolean)
    .join(', ');
  if (note?.kind === 'bad')
    return {
      area,
      state: 'bad',
      text: `${note.hint}, and this server has ${s.versions.node}.`,
      mend: 'Install a newer Node.js, restart the apps with it, then link again.',
      run: `${program(s)} link`,
    };
  if (note && s.agent === 'pm2')
    return { area, state: 'warn', text: `${text} is old.`, run: 'npm install -g pm2 && pm2 update' };
  return { area, state: text === '' ? 'idle' : 'good', text: text === '' ? 'Not told.' : `${text}.` };
}

function clock(s: Server): Check {
  const area = 'Clock';
  if (s.clock_ahead === null) return { area, state: 'idle', text: 'Not known yet.' };
  const off = Math.abs(s.clock_ahead);
  if (off < CLOCK_MS.warn) return { area, state: 'good', text: 'As the hub’s.' };
  return {
    area,
    state: off < CLOCK_MS.bad ? 'warn' : 'bad',
    text: `The server’s clock is ${spanWords(off)} ${s.clock_ahead > 0 ? 'ahead of' : 'behind'} the hub’s.`,
    run: 'timedatectl set-ntp true',
  };
}

/** The list of what leaves the host is part of its program: the host signs it, and can print it. */
function sends(s: Server): Check {
  const area = 'Fields';
  if (!s.manifest) {
    const why =
      s.agent === 'pm2' ? 'PM2’s agents do not say what they send.' : 'This agent does not say what it sends.';
    return { area, state: 'idle', text: why };
  }
  const { key, since, known } = s.manifest;
  const list = known ? 'It sends what the list of this release names' : 'It sends by a list of another release';
  return {
    area,
    state: 'good',
    text: `${list}, unchanged since ${stamp(since)}. Signed by its key ${key}.`,
    mend: 'The server prints list and key:',
    run: 'pilothouse link inspect --fields',
  };
}
