// What the programs share that run inside the machines of lib/machine.ts.
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';

/** What the test told its program. */
export const parameters = JSON.parse(readFileSync('/srv/parameters.json', 'utf8'));

/** The text of a file without blanks around it; null where there is none. */
export const read = (file) => (existsSync(file) ? readFileSync(file, 'utf8').trim() : null);

/** A manager under a home of its own; `words` come before the program, to run it as somebody else. */
export function manager(home, words = []) {
  const env = { ...process.env, PM2_HOME: home, NO_COLOR: '1' };
  const run = (...args) => {
    const [file, ...rest] = [...words, parameters.pm2, ...args];
    const { status, stdout, stderr } = spawnSync(file, rest, { env, encoding: 'utf8', cwd: '/' });
    return { status, stdout, stderr };
  };
  const list = () => {
    const { stdout } = run('jlist');
    return JSON.parse(stdout.slice(Math.max(stdout.indexOf('[{'), 0)));
  };
  const app = (name) => list().find((entry) => entry.name === name);
  return { home, run, list, app };
}

/** The first truthy answer of `check`, which is asked for a minute. */
export function until(what, check) {
  const deadline = Date.now() + 60_000;
  for (;;) {
    let found;
    try {
      found = check();
      if (found) return found;
    } catch (error) {
      // A verb that was under way when the daemon died; asked again, there is another one.
      found = error;
    }
    if (Date.now() > deadline) throw new Error(`never: ${what}; last seen: ${found}`);
    execFileSync('sleep', ['0.1']);
  }
}

/** Runs each step by its name; one that throws leaves its error, and the next ones run. */
export function inTurn(steps, ...words) {
  const results = { took: {} };
  for (const [name, step] of Object.entries(steps)) {
    const began = Date.now();
    try {
      results[name] = step(...words);
    } catch (error) {
      results[name] = { error: String(error?.stack ?? error) };
    }
    results.took[name] = Date.now() - began;
  }
  return results;
}
