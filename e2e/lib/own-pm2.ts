// A copy of the real pm2 that a test may change: some of its verbs install packages into the folder of pm2 itself.
import { cpSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Program } from './manager.ts';
import { root } from './under-test.ts';

/** Makes one below `dir`, which has the packages of its dependencies, and beside them those of `more` (folders in a `node_modules`). */
export function ownPm2(dir: string, ...more: string[]): Program {
  const from = path.join(root, 'e2e/node_modules');
  const modules = path.join(dir, 'own/node_modules');
  mkdirSync(modules, { recursive: true });
  for (const name of readdirSync(from)) {
    if (name !== 'pm2' && !name.startsWith('.')) symlinkSync(path.join(from, name), path.join(modules, name));
  }
  for (const folder of more) symlinkSync(folder, path.join(modules, path.basename(folder)));
  const pm2 = path.join(modules, 'pm2');
  cpSync(path.join(from, 'pm2'), pm2, { recursive: true, verbatimSymlinks: true });
  // What it needs is beside it: npm is not to fetch that again.
  const file = path.join(pm2, 'package.json');
  const {
    dependencies: _,
    devDependencies: __,
    optionalDependencies: ___,
    ...manifest
  } = JSON.parse(readFileSync(file, 'utf8'));
  writeFileSync(file, JSON.stringify(manifest));
  return { path: path.join(pm2, 'bin/pm2'), node: true };
}
