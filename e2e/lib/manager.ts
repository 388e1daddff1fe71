// A process manager under a private home: the program under test (or another on the same home), run as a
// person at a terminal runs it.
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { alive, discard, processesWith, scratch } from './scratch.ts';
import { binary } from './under-test.ts';
import { until } from './until.ts';

export interface Outcome {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** One element of `jlist`, as far as the tests look at it. */
export interface Listed {
  pid: number;
  name: string;
  pm_id: number;
  monit: { memory: number; cpu: number };
  // biome-ignore lint/suspicious/noExplicitAny: an open set of attributes, looked at by name
  pm2_env: Record<string, any>;
}

export interface Program {
  path: string;
  node: boolean;
  /** Words before it, such as those that put it into a network of its own. */
  within?: readonly string[];
}

/** A verb that runs until it is ended. */
export interface Following {
  /** Both outputs so far. */
  text: () => string;
  stdout: () => string;
  stderr: () => string;
  pid: () => number;
  /** To its standard input. */
  type: (input: string) => void;
  closeInput: () => void;
  /** Its exit code. */
  ended: Promise<number | null>;
  end: (signal?: NodeJS.Signals) => boolean;
}

const onTerminal = path.join(path.dirname(fileURLToPath(import.meta.url)), 'on_terminal.py');

export class Manager {
  readonly home: string;
  readonly dir: string;
  private readonly running = new Set<ChildProcess>();
  private disposed = false;

  constructor(
    readonly program: Program = binary,
    private readonly extraEnv: Record<string, string> = {},
  ) {
    this.dir = scratch();
    this.home = path.join(this.dir, 'home');
  }

  env(): NodeJS.ProcessEnv {
    const env: NodeJS.ProcessEnv = {
      ...process.env,
      ...this.extraEnv,
      PM2_HOME: this.home,
      // As a shell has it; the original takes this for the working directory.
      PWD: this.dir,
      NO_COLOR: '1',
    };
    // The test runner's own marks would change what the programs do.
    for (const key of ['NODE_ENV', 'VITEST', 'FORCE_COLOR', 'PM2_SILENT', 'NODE_OPTIONS', 'TEST'])
      delete env[key];
    return env;
  }

  /** Runs a verb to its end. */
  run(...args: string[]): Promise<Outcome> {
    return this.with(this.program, args);
  }

  /** Runs a verb that needs no daemon, and forgets the home. */
  async runOnce(...args: string[]): Promise<Outcome> {
    try {
      return await this.run(...args);
    } finally {
      discard(this.dir);
    }
  }

  /** Runs a verb with standard input given. */
  runWithInput(input: string, ...args: string[]): Promise<Outcome> {
    return this.with(this.program, args, { input });
  }

  /** Runs a verb and throws unless it exits with 0. */
  async ok(...args: string[]): Promise<Outcome> {
    const outcome = await this.run(...args);
    if (outcome.code !== 0) {
      throw new Error(`${args.join(' ')} exited with ${outcome.code}\n${outcome.stdout}\n${outcome.stderr}`);
    }
    return outcome;
  }

  /** Runs another program on the same home, such as the real pm2 against our daemon. */
  with(
    program: Program,
    args: string[],
    { input, env = {}, cwd }: { input?: string; env?: Record<string, string>; cwd?: string } = {},
  ): Promise<Outcome> {
    const child = this.launch(program, args, env, cwd);
    let stdout = '';
    let stderr = '';
    child.stdout?.setEncoding('utf8').on('data', (text) => {
      stdout += text;
    });
    child.stderr?.setEncoding('utf8').on('data', (text) => {
      stderr += text;
    });
    // A verb that reads no input may be gone before it was given.
    child.stdin?.on('error', () => {});
    child.stdin?.end(input ?? '');
    return new Promise((resolve, reject) => {
      child.on('error', reject);
      child.on('exit', (code) => {
        // The pipes may be held by a daemon that inherited them; what was written is here by now.
        setTimeout(() => resolve({ code, stdout, stderr }), 5);
      });
    });
  }

  /** Starts a verb that runs until it is ended, such as `logs`; collects what it prints. */
  follow(...args: string[]): Following {
    return this.followWith(this.program, {}, ...args);
  }

  /** Runs a verb on a terminal of its own; what is typed goes to its keyboard. */
  onTerminal(columns: number, rows: number, ...args: string[]): Following {
    const words = this.program.node
      ? [process.execPath, this.program.path, ...args]
      : [this.program.path, ...args];
    const python = { path: 'python3', node: false };
    return this.followWith(python, {}, onTerminal, String(columns), String(rows), ...words);
  }

  /** Another program on a terminal of its own, such as a shell in which this one is typed. */
  otherOnTerminal(
    columns: number,
    rows: number,
    where: { env?: Record<string, string>; cwd?: string },
    ...words: string[]
  ): Following {
    const python = { path: 'python3', node: false };
    return this.followWith(python, where, onTerminal, String(columns), String(rows), ...words);
  }

  /** The same with another program on this home, in another folder, or with more in its environment. */
  followWith(
    program: Program,
    { env = {}, cwd }: { env?: Record<string, string>; cwd?: string },
    ...args: string[]
  ): Following {
    const child = this.launch(program, args, env, cwd);
    const texts = { all: '', stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr'] as const) {
      child[name]?.setEncoding('utf8').on('data', (chunk) => {
        texts.all += chunk;
        texts[name] += chunk;
      });
    }
    const ended = new Promise<number | null>((resolve) => child.on('exit', resolve));
    return {
      text: () => texts.all,
      stdout: () => texts.stdout,
      stderr: () => texts.stderr,
      pid: () => Number(child.pid),
      type: (input) => child.stdin?.write(input),
      closeInput: () => child.stdin?.end(),
      ended,
      end: (signal = 'SIGKILL') => child.kill(signal),
    };
  }

  private launch(
    program: Program,
    args: string[],
    env: Record<string, string> = {},
    cwd = this.dir,
  ): ChildProcess {
    const words = [...(program.within ?? []), ...(program.node ? [process.execPath] : []), program.path];
    const [file = program.path, ...argv] = [...words, ...args];
    const child = spawn(file, argv, { env: { ...this.env(), ...env }, cwd });
    this.running.add(child);
    child.on('exit', () => this.running.delete(child));
    return child;
  }

  async list(): Promise<Listed[]> {
    const { stdout } = await this.ok('jlist');
    // The first call in a home prints notices before the list.
    return JSON.parse(
      stdout.slice(stdout.indexOf('[{') === -1 ? stdout.lastIndexOf('[]') : stdout.indexOf('[{')),
    );
  }

  async app(name: string): Promise<Listed> {
    const found = (await this.list()).find((entry) => entry.name === name);
    if (!found) throw new Error(`no app named ${name}`);
    return found;
  }

  /** Waits until the app has this status, and gives it back. */
  status(name: string, status: string): Promise<Listed> {
    return until(`${name} is ${status}`, async () => {
      const entry = await this.app(name);
      return entry.pm2_env.status === status && entry;
    });
  }

  daemonPid(): number {
    return Number(readFileSync(path.join(this.home, 'pm2.pid'), 'utf8'));
  }

  file(...parts: string[]): string {
    return readFileSync(path.join(this.home, ...parts), 'utf8');
  }

  /** Ends everything of this home and says when something would not end with `kill`. Once: later calls do nothing. */
  async dispose() {
    if (this.disposed) return;
    this.disposed = true;
    for (const child of this.running) child.kill('SIGKILL');
    await this.run('kill');
    const left = await this.remaining();
    for (const pid of left) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // ended by itself meanwhile
      }
    }
    discard(this.dir);
    if (left.length > 0) throw new Error(`still running after kill: ${left.join(', ')}`);
  }

  private async remaining(): Promise<number[]> {
    const mine = () => processesWith(`PM2_HOME=${this.home}`).filter(alive);
    try {
      await until('all processes of the home ended', () => mine().length === 0, { within: 5000 });
      return [];
    } catch {
      return mine();
    }
  }
}
