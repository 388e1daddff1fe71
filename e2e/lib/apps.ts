// Processes that cost next to nothing, for tests that only count them.
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Manager } from './manager.ts';

/** Starts apps that sleep, all by one command. */
export async function sleepers(pm: Manager, ...names: string[]) {
  const file = path.join(pm.dir, `${names[0]}.json`);
  const app = (name: string) => ({ name, script: '/bin/sleep', args: '1000', interpreter: 'none' });
  writeFileSync(file, JSON.stringify({ apps: names.map(app) }));
  await pm.ok('start', file);
}

/** A folder with a `node` that calls itself `version` and else is the one that runs the tests. */
export function oldNode(pm: Manager, version: string): string {
  const folder = path.join(pm.dir, `node-${version}`);
  mkdirSync(folder);
  const text = `#!/bin/sh\n[ "$1" = --version ] && exec echo ${version}\nexec '${process.execPath}' "$@"\n`;
  writeFileSync(path.join(folder, 'node'), text, { mode: 0o755 });
  return folder;
}
