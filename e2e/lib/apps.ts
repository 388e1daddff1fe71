// Processes that cost next to nothing, for tests that only count them.
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Manager, Program } from './manager.ts';
import { root } from './under-test.ts';

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

const releases = path.join(root, 'e2e/nodes/node_modules');

/** The folder with the real `node` of a release that `e2e/nodes` brings. */
export function realNode(release: string): string {
  const folder = path.join(releases, `node-${release}/bin`);
  if (!existsSync(path.join(folder, 'node'))) throw new Error('run `npm ci` in e2e/nodes first');
  return folder;
}

/** A pm2 from npm, run by a Node of another release. */
export const runBy = (release: string, pm2: string): Program => ({
  path: pm2,
  node: false,
  within: [path.join(realNode(release), 'node')],
});

/** The first pm2 whose agent speaks as those of today; it needs a Node of its time. */
export const oldestPm2 = () => runBy('12', path.join(releases, 'pm2-3/bin/pm2'));

/** Where the packages of `e2e/nodes` have binaries. */
export const hasReleases = process.platform === 'linux' && process.arch === 'x64';
