/** Who tried to link lately, as the hub tells it, and what is to be said of each. Pure. */

export type StepState = 'done' | 'now' | 'later' | 'failed' | 'off';

export interface Attempt {
  readonly id: number;
  readonly agent: string;
  readonly address: string;
  readonly name: string;
  readonly hostname: string;
  /** When it last did something, by the hub's clock, ms since the epoch. */
  readonly at: number;
  readonly tries: number;
  readonly keys: boolean;
  /** `null`: not open yet; `false`: no socket gets through, data comes by requests. */
  readonly socket: boolean | null;
  readonly server: string;
  readonly data: boolean;
  readonly commands: boolean;
  readonly commandsDisabled: boolean;
  /** Servers that go by its name, itself included. */
  readonly sameName: number;
  readonly problem: { readonly code: string; readonly message: string } | null;
  readonly ended: boolean;
}

export interface Step {
  readonly text: string;
  readonly state: StepState;
  readonly hint: string;
}

type Dict = Record<string, unknown>;
const dict = (v: unknown): Dict => (typeof v === 'object' && v !== null ? (v as Dict) : {});
const str = (v: unknown): string => (typeof v === 'string' ? v : '');
const num = (v: unknown): number => (typeof v === 'number' && Number.isFinite(v) ? v : 0);

/** The hub's answer: its time, and the attempts, the latest first. */
export function readAttempts(v: unknown): { readonly at: number; readonly attempts: readonly Attempt[] } {
  const answer = dict(v);
  const list = Array.isArray(answer.attempts) ? answer.attempts : [];
  const attempts = list.map((item): Attempt => {
    const a = dict(item);
    const problem = a.problem === null || a.problem === undefined ? null : dict(a.problem);
    return {
      id: num(a.id),
      agent: str(a.agent),
      address: str(a.address),
      name: str(a.name),
      hostname: str(a.hostname),
      at: num(a.at),
      tries: num(a.tries),
      keys: a.keys === true,
      socket: typeof a.socket === 'boolean' ? a.socket : null,
      server: str(a.server),
      data: a.data === true,
      commands: a.commands === true,
      commandsDisabled: a.commands_disabled === true,
      sameName: num(a.same_name),
      problem: problem && { code: str(problem.code), message: str(problem.message) },
      ended: a.ended === true,
    };
  });
  return { at: num(answer.at), attempts: attempts.sort((a, b) => b.at - a.at) };
}

/** A failed attempt from before the page was opened is shown if it is not older than this, ms. */
const STILL_OF_INTEREST = 120_000;

/** Those that matter to somebody who has had the page open since `since`. */
export function ofInterest(attempts: readonly Attempt[], since: number): readonly Attempt[] {
  return attempts.filter((a) => a.at >= since || (a.problem !== null && a.at >= since - STILL_OF_INTEREST));
}

interface Stage {
  readonly done: boolean;
  /** It cannot be reached, and that is no fault of the attempt. */
  readonly off?: boolean;
  readonly hint?: string;
  readonly words: Readonly<Record<StepState, string>>;
}

const words = (done: string, now: string, failed: string, later: string, off = later): Stage['words'] => ({
  done,
  now,
  failed,
  later,
  off,
});

/** How far it came, in steps; at most one is failed, and at most one is under way. */
export function stepsOf(a: Attempt): readonly Step[] {
  const byRequests = a.socket === false;
  const stages: readonly Stage[] = [
    { done: a.keys, words: words('Keys are right', 'Looking at the keys', 'Keys are wrong', 'Keys') },
    {
      done: a.socket !== null,
      ...(byRequests ? { hint: 'No WebSocket gets through on the way.' } : {}),
      words: words(
        byRequests ? 'Data comes by requests' : 'Socket is open',
        'Opening the socket',
        'The socket did not open',
        'Socket',
      ),
    },
    {
      done: a.data,
      words: words(
        'First data has come',
        'Waiting for its data',
        a.problem ? 'It was not let in' : 'No data came',
        'First data',
      ),
    },
    {
      done: a.data && a.commands,
      off: a.data && (a.commandsDisabled || (byRequests && !a.commands)),
      ...(a.data && a.commandsDisabled
        ? { hint: 'Switched off on that host, on purpose.' }
        : a.data && byRequests && !a.commands
          ? { hint: 'Reverse connection not established.' }
          : {}),
      words: words(
        'Commands are possible',
        'Waiting for the way back',
        'No command can be given',
        'Commands',
        a.commandsDisabled ? 'Commands are off' : 'No commands',
      ),
    },
  ];
  let reached = true;
  return stages.map(({ done, off, hint = '', words: say }) => {
    const stop: StepState = a.problem || a.ended ? 'failed' : 'now';
    const state: StepState = off ? 'off' : done && reached ? 'done' : reached ? stop : 'later';
    if (state !== 'done' && state !== 'off') reached = false;
    return { text: say[state], hint, state };
  });
}

/** What is wrong, and what to do; '' when nothing is. */
export function troubleOf(a: Attempt): string {
  if (a.problem) {
    const { message } = a.problem;
    return message === '' ? 'The hub did not let it in.' : message.charAt(0).toUpperCase() + message.slice(1);
  }
  if (a.ended) return a.data ? 'The link has ended.' : 'It left before its first data came. Its agent.log says why.';
  if (a.sameName > 1) {
    return `${a.sameName} servers go by the name “${a.name}”. They are kept apart; give each its own name to tell them apart.`;
  }
  return '';
}

/** How it is called until it has said its name. */
export function titleOf(a: Attempt): string {
  if (a.name !== '') return a.name;
  return a.address === '' ? 'A server' : `A server at ${a.address}`;
}
