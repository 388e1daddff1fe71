// The two sides of each comparison: a program that manages processes under a private home.
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';

class Side {
  constructor(name, file, first) {
    Object.assign(this, { name, file, first });
  }

  /** Runs `work` with a fresh home that ends with it. */
  async home(work, env = {}) {
    const dir = mkdtempSync(path.join(tmpdir(), 'phb-'));
    const home = new Home(this, dir, env);
    try {
      return await work(home);
    } finally {
      home.run('kill');
      for (const pid of home.processes()) process.kill(pid, 'SIGKILL');
      rmSync(dir, { recursive: true, force: true });
    }
  }
}

class Home {
  constructor(side, dir, env) {
    this.side = side;
    this.dir = dir;
    this.path = path.join(dir, 'home');
    this.env = { ...process.env, ...env, PM2_HOME: this.path, NO_COLOR: '1', PM2_DISABLE_VERSION_CHECK: 'true' };
  }

  /** Runs a verb to its end; throws when it fails. */
  run(...args) {
    const { file, first } = this.side;
    const done = spawnSync(file, [...first, ...args], { env: this.env, cwd: this.dir, encoding: 'utf8', maxBuffer: 1 << 28 });
    if (done.status !== 0 && args[0] !== 'kill') throw new Error(`${this.side.name}: ${args.join(' ')}: ${done.stdout}${done.stderr}`);
    return done.stdout;
  }

  /** Runs a verb and gives its wall time in ms. */
  time(...args) {
    const begin = performance.now();
    this.run(...args);
    return performance.now() - begin;
  }

  spawn(...args) {
    const { file, first } = this.side;
    return spawn(file, [...first, ...args], { env: this.env, cwd: this.dir, stdio: 'ignore' });
  }

  list() {
    const text = this.run('jlist');
    return JSON.parse(text.slice(text.indexOf('[{') === -1 ? text.lastIndexOf('[]') : text.indexOf('[{')));
  }

  /** Pids of all processes of this home: the manager's own and the apps. */
  processes() {
    const mark = `PM2_HOME=${this.path}`;
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
      .filter((pid) => read(`/proc/${pid}/environ`).split('\0').includes(mark))
      .map(Number);
  }

  /** Pids of the manager alone: daemon, and keeper where there is one. */
  managers() {
    const apps = new Set(this.list().map((entry) => entry.pid));
    return this.processes().filter((pid) => !apps.has(pid) && !apps.has(parent(pid)));
  }

  file(...parts) {
    return path.join(this.path, ...parts);
  }
}

/** A file's text, or nothing when it is gone. */
export function read(file) {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

function parent(pid) {
  return Number(read(`/proc/${pid}/stat`).split(') ')[1]?.split(' ')[1] ?? 0);
}

/** Proportional set size in MB: shared pages counted by share. */
export function pss(pid) {
  return Number(/^Pss:\s+(\d+)/m.exec(read(`/proc/${pid}/smaps_rollup`))?.[1] ?? 0) / 1024;
}

/** CPU seconds a process has used. */
export function cpuSeconds(pid) {
  const fields = read(`/proc/${pid}/stat`).split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/** Waits for a fact. */
export async function until(check, within = 60_000) {
  const deadline = performance.now() + within;
  for (;;) {
    const value = await check();
    if (value) return value;
    if (performance.now() > deadline) throw new Error(`not within ${within} ms: ${check}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** A port of the loopback that nobody listens on. */
export const freePort = () =>
  new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });

const here = import.meta.dirname;
export const theirs = new Side('theirs', process.execPath, [path.join(here, 'node_modules/pm2/bin/pm2')]);
export const ours = new Side('ours', process.env.PILOTHOUSE_BIN ?? path.join(here, '../target/release/pilothouse'), []);
