// Processes that cost next to nothing, for tests that only count them.
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Manager } from './manager.ts';

/** Starts apps that sleep, all by one command. */
export async function sleepers(pm: Manager, ...names: string[]) {
  const file = path.join(pm.dir, `${names[0]}.json`);
  const app = (name: string) => ({ name, script: '/bin/sleep', args: '1000', interpreter: 'none' });
  writeFileSync(file, JSON.stringify({ apps: names.map(app) }));
  await pm.ok('start', file);
}
