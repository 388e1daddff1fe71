/** Commands to hosts and what became of them. Each command ends in exactly one of: ok, refused, timed out. */
import { signal } from '@preact/signals';
import { ApiError, post } from '../link/api';

export type Outcome = 'pending' | 'ok' | 'failed' | 'timeout';

export interface Note {
  readonly id: number;
  readonly outcome: Outcome;
  readonly title: string;
  readonly detail: string;
  /** What a custom action returned. */
  readonly output: string;
}

export interface Command {
  readonly bucket: string;
  readonly server: string;
  readonly serverName: string;
  readonly action: string;
  readonly app?: string;
  /** Key of one process; without it the whole app is meant. */
  readonly process?: string;
  /** How the target is called on the page. */
  readonly label: string;
  readonly params?: Readonly<Record<string, unknown>>;
  /** An action that the app defines. */
  readonly custom?: boolean;
}

export const notes = signal<readonly Note[]>([]);

const KEPT = 6;
let nextId = 1;

const DONE: Readonly<Record<string, string>> = {
  restart: 'restarted',
  reload: 'reloaded',
  stop: 'stopped',
  start: 'started',
  scale: 'scaled',
  reset: 'counters reset',
  delete: 'deleted',
  unmonitor: 'not monitored any more',
};

function put(note: Note): void {
  const rest = notes.value.filter((n) => n.id !== note.id);
  notes.value = [...rest, note].slice(-KEPT);
}

export function dismiss(id: number): void {
  notes.value = notes.value.filter((n) => n.id !== id);
}

export function tell(outcome: 'ok' | 'failed', title: string, detail = ''): void {
  const id = nextId++;
  put({ id, outcome, title, detail, output: '' });
  if (outcome === 'ok') setTimeout(() => dismiss(id), 5000);
}

const seconds = (ms: number): string => (ms < 950 ? `${Math.round(ms)}ms` : `${(ms / 1000).toFixed(1)}s`);

function outputOf(result: unknown): string {
  if (result === null || result === undefined || result === true) return '';
  if (typeof result === 'string') return result.slice(0, 4000);
  if (typeof result === 'object' && Object.keys(result).length === 0) return '';
  return JSON.stringify(result, null, 2).slice(0, 4000);
}

export async function run(command: Command): Promise<void> {
  const id = nextId++;
  const what = `${command.label} on ${command.serverName}`;
  put({ id, outcome: 'pending', title: `${command.action} ${command.label}`, detail: command.serverName, output: '' });
  const begun = performance.now();
  const end = (outcome: Outcome, title: string, detail: string, output = '') => {
    put({ id, outcome, title, detail, output });
    if (outcome === 'ok' && output === '') setTimeout(() => dismiss(id), 5000);
  };
  try {
    const path = `api/bucket/${command.bucket}/servers/${encodeURIComponent(command.server)}/actions`;
    const answer = ((await post(path, {
      action: command.action,
      ...(command.app === undefined ? {} : { app: command.app }),
      ...(command.process === undefined ? {} : { process: command.process }),
      ...(command.params === undefined ? {} : { params: command.params }),
      // An app may name its own action like one of the process manager.
      ...(command.custom ? { custom: true } : {}),
    })) ?? {}) as Record<string, unknown>;
    const took = seconds(typeof answer.took_ms === 'number' ? answer.took_ms : performance.now() - begun);
    if (answer.ok === false) {
      const why = String(answer.error ?? 'the host gave no reason');
      const late = /\b(timed? ?out|no answer)\b/i.test(why);
      end(late ? 'timeout' : 'failed', `${command.action} ${late ? 'timed out' : 'refused'}: ${what}`, why);
    } else {
      const done = command.custom ? `${command.action} completed` : `${command.label} ${DONE[command.action]}`;
      end('ok', done, `${command.serverName} · ${took}`, command.custom ? outputOf(answer.result) : '');
    }
  } catch (error) {
    const status = error instanceof ApiError ? error.status : 0;
    const detail = error instanceof Error ? error.message : String(error);
    if (status === 504 || status === 408) end('timeout', `${command.action} timed out: ${what}`, detail);
    else end('failed', `${command.action} ${status === 0 ? 'not sent' : 'refused'}: ${what}`, detail);
  }
}
