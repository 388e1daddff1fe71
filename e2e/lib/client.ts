// Programs that use the unmodified `require('pm2')` from npm on a manager's home.
import { fork } from 'node:child_process';
import { mkdtempSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Manager } from './manager.ts';
import { root } from './under-test.ts';

/**
 * Runs the body of an async function that may use `pm2` and `call(method, ...args)`, connected; resolves with
 * what it returns, or with `{ error }`.
 */
export function clientProgram(pm: Manager, body: string): Promise<Record<string, unknown>> {
  const file = path.join(mkdtempSync(path.join(pm.dir, 'client-')), 'client.cjs');
  writeFileSync(
    file,
    `const pm2 = require(${JSON.stringify(path.join(root, 'e2e/node_modules/pm2'))});
const call = (method, ...args) => new Promise((ok, no) => pm2[method](...args, (e, v) => (e ? no(e) : ok(v))));
const main = async () => { await call('connect'); ${body} };
main().then(
  (found) => process.send(found ?? {}, () => { pm2.disconnect(); process.exit(0); }),
  (error) => process.send({ error: error.stack || String(error) }, () => process.exit(1)),
);`,
  );
  const child = fork(file, { env: { ...pm.env(), PM2_PROGRAMMATIC: 'true' }, cwd: pm.dir, silent: true });
  return new Promise((resolve, reject) => {
    child.once('message', (message) => resolve(message as Record<string, unknown>));
    child.once('exit', (code) => reject(new Error(`the program exited with ${code} without findings`)));
  });
}
